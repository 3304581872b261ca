"""Layers that networks are built of, initialization, and padding to a size that an architecture takes."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, instance_norm, pad

from cyclegan.errors import UsageError
from cyclegan.networks.channels_last import InstanceNorm2d

MakeNorm = Callable[[int], nn.Module]


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that uses each image's own statistics in eval mode too; running statistics are kept, but not used.

    [R] translates this way: one image at a time, in training mode.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if self.training:
            return super().forward(x)
        return instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


class Dropout(nn.Dropout):
    """Dropout that can stay on in eval mode, as the noise of [P 3.1].

    `noise_seed` then decides what is dropped, the same in every image, so that translations are reproducible; with
    None nothing is dropped.
    """

    noise_seed: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if self.training or self.noise_seed is None:
            return super().forward(x)
        kept = torch.stack(list(self.kept(*x.shape[1:])))
        return x * kept.to(x) / (1 - self.p)

    def kept(self, channels: int, height: int, width: int) -> Iterator[Tensor]:
        """Masks (H, W) of what the noise keeps, one channel after the other."""
        assert self.noise_seed is not None
        rng = torch.Generator().manual_seed(self.noise_seed)  # on the CPU: all devices drop the same values
        for _ in range(channels):
            yield torch.rand(height, width, generator=rng) >= self.p


NORMS: dict[str, MakeNorm] = {
    # Statistics of one image, no learned scale: a result never depends on the other images of its batch.
    "instance": partial(InstanceNorm2d, affine=False, track_running_stats=False),
    "batch": BatchNorm,
    "none": lambda channels: nn.Identity(),
}


def needs_bias(norm: str) -> bool:
    """Whether convolutions before this norm have a bias; batch norm has a shift of its own [R]."""
    return norm != "batch"


def initialize(network: nn.Module, init: Literal["normal", "xavier", "kaiming", "orthogonal"], gain: float) -> None:
    """Initialize all weights: convolutions by `init`, biases 0, affine norms N(1, `gain`) and 0 [R].

    `gain` is the standard deviation of ``normal`` and the gain of ``xavier`` and ``orthogonal``.
    """
    initializer = {
        "normal": partial(nn.init.normal_, mean=0.0, std=gain),
        "xavier": partial(nn.init.xavier_normal_, gain=gain),
        "kaiming": partial(nn.init.kaiming_normal_, a=0, mode="fan_in"),
        "orthogonal": partial(nn.init.orthogonal_, gain=gain),
    }[init]
    if any(parameter.is_meta for parameter in network.parameters()):
        return  # there are no values, and drawing none would import all of torch's compiler
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            initializer(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, gain)
            nn.init.zeros_(module.bias)


class Residual(nn.Module):
    """x + body(x), for a body that keeps the shape."""

    def __init__(self, *body: nn.Module):
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x + self.body(x)


class ChannelScale(nn.Module):
    """A learned factor for each channel, initially 1."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x * self.scale[:, None, None]


class UNetLevel(nn.Module):
    """up(deeper(down(x))), with `skip` concatenated to x: (N, C, H, W) to (N, 2C, H, W)."""

    def __init__(self, down: nn.Module, deeper: nn.Module, up: nn.Module, *, skip: bool):
        super().__init__()
        self.down, self.deeper, self.up, self.skip = down, deeper, up, skip

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y: Tensor = self.up(self.deeper(self.down(x)))
        return torch.cat([x, y], 1) if self.skip else y


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
        return conv_transpose2d(_repeat_border(x), self.kernel, stride=2, padding=3, groups=x.shape[1])


def _repeat_border(x: Tensor) -> Tensor:
    """(N, C, H, W) with a border of one pixel: (N, C, H + 2, W + 2)."""
    if not torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return pad(x, (1, 1, 1, 1), mode="replicate")
    # torch.compile expects a contiguous gradient of this padding, and gets one with channels last.
    x = torch.cat([x[..., :1, :], x, x[..., -1:, :]], 2)
    return torch.cat([x[..., :1], x, x[..., -1:]], 3)


def _blur(weights: Sequence[float], channels: int) -> Tensor:
    """The same two-dimensional kernel, of sum 1, for each channel: (C, 1, K, K)."""
    one = torch.tensor(weights, dtype=torch.float32)
    kernel = torch.outer(one, one)
    return (kernel / kernel.sum()).repeat(channels, 1, 1, 1)


def pad_to_multiple(x: Tensor, multiple: int, min_size: int) -> Tensor:
    """Extend (N, C, H, W) at the right and bottom by reflection until H and W are multiples and at least `min_size`.

    Unlike in `torch.nn.functional.pad`, the extension may be longer than the image, which is then reflected repeatedly.
    """
    for dim in (2, 3):
        size = x.shape[dim]
        padded = torch.sym_max(min_size, (size + multiple - 1) // multiple * multiple)  # type: ignore[no-untyped-call]
        if torch.compiler.is_exporting() or padded != size:  # an exported graph must hold for sizes of both kinds
            x = x.index_select(dim, _reflected_index(size, padded, x.device))
    return x


def _reflected_index(size: int, padded: int, device: torch.device) -> Tensor:
    # As tensors, and without a branch for a single pixel, because sizes are symbolic in an export.
    period = torch.full((1,), torch.sym_max(2 * size - 2, 1), device=device)  # type: ignore[no-untyped-call]
    position = torch.arange(padded, device=device) % period
    return torch.minimum(position, 2 * size - 2 - position)


def require_size(x: Tensor, min_size: int, network: str) -> None:
    """Raise `UsageError` for images (N, C, H, W) that are too small for a network."""
    height, width = x.shape[-2:]
    if min(height, width) < min_size:
        raise UsageError(
            f"{network} needs images of at least {min_size}x{min_size} pixels; this one has {width}x{height}."
        )
