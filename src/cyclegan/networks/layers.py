"""What all networks are made of: normalization, initialization, and padding to a size an architecture allows."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, instance_norm, pad

from cyclegan.errors import UsageError

MakeNorm = Callable[[int], nn.Module]


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that takes each image's own statistics when it is not trained.

    So [R] translates: one image at a time, and not in eval mode. The running statistics are kept, but not used.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if self.training:
            return super().forward(x)
        return instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


class Dropout(nn.Dropout):
    """Dropout that can stay at work when it is not trained: the only noise that pix2pix has [P 3.1].

    `noise_seed` decides what is dropped then, the same in every image, so that translations can be repeated; None
    drops nothing.
    """

    noise_seed: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if self.training or self.noise_seed is None:
            return super().forward(x)
        kept = torch.stack(list(self.kept(*x.shape[1:])))
        return x * kept.to(x) / (1 - self.p)

    def kept(self, channels: int, height: int, width: int) -> Iterator[Tensor]:
        """What the noise keeps of each channel in turn, (H, W) of truth values."""
        assert self.noise_seed is not None
        draw = torch.Generator().manual_seed(self.noise_seed)  # on the CPU, so that all devices drop alike
        for _ in range(channels):
            yield torch.rand(height, width, generator=draw) >= self.p


NORMS: dict[str, MakeNorm] = {
    # Statistics of one image, no learned scale: the result for an image never depends on its batch.
    "instance": partial(nn.InstanceNorm2d, affine=False, track_running_stats=False),
    "batch": BatchNorm,
    "none": lambda channels: nn.Identity(),
}


def needs_bias(norm: str) -> bool:
    """Whether convolutions before this norm have a bias; batch norm brings its own shift [R]."""
    return norm != "batch"


def initialize(network: nn.Module, init: Literal["normal", "xavier", "kaiming", "orthogonal"], gain: float) -> None:
    """Draw all weights anew: convolutions by `init`, biases 0, affine norms N(1, `gain`) and 0 [R].

    `gain` is the standard deviation of ``normal`` and the gain of ``xavier`` and ``orthogonal``.
    """
    draw = {
        "normal": partial(nn.init.normal_, mean=0.0, std=gain),
        "xavier": partial(nn.init.xavier_normal_, gain=gain),
        "kaiming": partial(nn.init.kaiming_normal_, a=0, mode="fan_in"),
        "orthogonal": partial(nn.init.orthogonal_, gain=gain),
    }[init]
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, gain)
            nn.init.zeros_(module.bias)


class BlurDown(nn.Module):
    """Halve (N, C, H, W) after blurring by [1, 2, 1] in both directions, on reflected borders (Zhang 2019)."""

    kernel: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("kernel", _blur([1, 2, 1], channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """To (N, C, ceil(H / 2), ceil(W / 2))."""
        return conv2d(pad(x, (1, 1, 1, 1), mode="reflect"), self.kernel, stride=2, groups=x.shape[1])


class BlurUp(nn.Module):
    """Double (N, C, H, W), blurring by [1, 3, 3, 1] in both directions, on repeated borders (Zhang 2019)."""

    kernel: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("kernel", 4 * _blur([1, 3, 3, 1], channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """To (N, C, 2 H, 2 W)."""
        wide = pad(x, (1, 1, 1, 1), mode="replicate")
        return conv_transpose2d(wide, self.kernel, stride=2, padding=3, groups=x.shape[1])


def _blur(weights: Sequence[float], channels: int) -> Tensor:
    """The same two-dimensional kernel, of sum 1, for each channel: (C, 1, K, K)."""
    one = torch.tensor(weights, dtype=torch.float32)
    kernel = torch.outer(one, one)
    return (kernel / kernel.sum()).repeat(channels, 1, 1, 1)


def reflect_to_multiple(x: Tensor, multiple: int, least: int) -> Tensor:
    """Extend (N, C, H, W) at the right and bottom by reflection until H and W are multiples and at least `least`.

    Unlike `torch.nn.functional.pad` the reflection may be longer than the image: it goes back and forth.
    """
    for dim in (2, 3):
        size = x.shape[dim]
        wanted = torch.sym_max(least, (size + multiple - 1) // multiple * multiple)  # type: ignore[no-untyped-call]
        if torch.compiler.is_exporting() or wanted != size:  # an exported graph must hold for sizes of both kinds
            x = x.index_select(dim, _back_and_forth(size, wanted, x.device))
    return x


def _back_and_forth(size: int, wanted: int, device: torch.device) -> Tensor:
    # As tensors, and without a branch for a single pixel, because in an export these numbers are unknowns.
    period = torch.full((1,), torch.sym_max(2 * size - 2, 1), device=device)  # type: ignore[no-untyped-call]
    position = torch.arange(wanted, device=device) % period
    return torch.minimum(position, 2 * size - 2 - position)


def require_size(x: Tensor, least: int, who: str) -> None:
    """Raise `UsageError` when an image is smaller than the architecture can take."""
    height, width = x.shape[-2:]
    if min(height, width) < least:
        raise UsageError(f"{who} needs images of at least {least}x{least} pixels, this one has {width}x{height}.")
