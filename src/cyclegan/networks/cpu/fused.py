"""Images between two convolutions: pointwise operations are deferred and fused into the next copy.

A normalization, a ReLU, the sum of a residual block and the border that a convolution needs would each pass over the
image once more, and each into fresh memory, which costs more than what is computed in it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cyclegan.networks.winograd import scratch

STRIP_BYTES = 2**21  # written at once, so that the next operation finds it in the cache


@dataclass(frozen=True)
class DeferredEpilogue:
    """An image (H, W, C) of which each value v stands for ReLU(residual + scale v + shift).

    `scale` and `shift` (C) are given together; they and `residual` (H, W, C) are None, and `relu` False, where there
    is nothing to apply.
    """

    values: Tensor
    scale: Tensor | None = None
    shift: Tensor | None = None
    residual: Tensor | None = None
    relu: bool = False

    def write(self, out: Tensor) -> None:
        """Write the final values to (H, W, C), which may be the memory of `residual`."""
        rows = max(1, STRIP_BYTES // out[0].nbytes)
        for first in range(0, len(out), rows):
            self._write_strip(slice(first, first + rows), out[first : first + rows])

    def _write_strip(self, strip: slice, out: Tensor) -> None:
        values, residual = self.values[strip], None if self.residual is None else self.residual[strip]
        if self.scale is not None and self.shift is not None:
            torch.addcmul(self.shift if residual is None else residual, values, self.scale, out=out)
            if residual is not None:
                out.add_(self.shift)
        elif residual is not None:
            torch.add(residual, values, out=out)
        else:
            out.copy_(values)
        if self.relu:
            out.relu_()

    def materialize(self, buffer: str) -> "DeferredEpilogue":
        """The final values, in the scratch buffer of that name."""
        out = scratch.take(buffer, self.values.shape, self.values.dtype)
        self.write(out)
        return DeferredEpilogue(out)

    def tensor(self) -> Tensor:
        """The final values as (1, C, H, W), which may be in scratch memory."""
        deferred = self.scale is not None or self.residual is not None or self.relu
        return (self.materialize("whole") if deferred else self).values.permute(2, 0, 1)[None]

    def padded(self, border: int, reflect: bool, height: int, width: int) -> Tensor:
        """The final values with a border of reflected values or zeros, and zeros beyond it, as (height, width, C).

        In scratch memory.
        """
        sides = self.values.shape[:2]
        sheet = scratch.take("sheet", (height, width, self.values.shape[2]), self.values.dtype)
        self.write(sheet[border : border + sides[0], border : border + sides[1]])
        for side, lines in zip(sides, (sheet, sheet.transpose(0, 1)), strict=True):
            if len(lines) > border + side + (border if reflect else 0):
                lines[border + side :] = 0
            if not reflect:
                lines[:border] = 0
            for step in range(1, border + 1 if reflect else 1):
                lines[border - step] = lines[border + step]
                lines[border + side - 1 + step] = lines[border + side - 1 - step]
        return sheet
