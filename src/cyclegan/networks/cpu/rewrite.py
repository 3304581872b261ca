"""ResNet generators rewritten for translation on processors: the same numbers in less time, without a compiler.

Where the time is saved, and where that is written:

- 3x3 convolutions of stride 1 go by Winograd's F(6x8, 3x3) or the like, strip by strip in the cache (`tiles`).
- Images are walked one at a time with channels last, in memory that is used again: new memory costs more than most of
  what is computed in it (`DirectConv`).
- Normalization, ReLU, residual sum and border are done in one pass, on the way into the next convolution's memory
  (`pending`). Of a normalization only the statistics are taken where it stands (`ImageNorm`), and biases before it,
  which it takes away again, are left out.
- The last convolution, whose few outputs leave vector units idle, does all rows of its kernel at once
  (`FewOutputsConv`).
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cyclegan.networks.cpu.fused import Pending
from cyclegan.networks.cpu.layers import DirectConv, FewOutputsConv, ImageNorm, Layer, Plain, Residual, relu
from cyclegan.networks.cpu.winograd_tiles import WinogradConv
from cyclegan.networks.layers import BatchNorm, Dropout, reflect_to_multiple
from cyclegan.networks.resnet import ResidualBlock, ResNetGenerator, SeparableResidualBlock
from cyclegan.networks.winograd import scratch

LEAST_CHANNELS = 64  # with fewer, the transforms cost more than the products save
KEPT = 2**27  # bytes of each scratch memory kept for the next call: enough for images of 512x512
FEW = 8  # outputs of a convolution that leave vector units idle


class OnProcessor(nn.Module):
    """A generator as it translates on processors; (N, C, H, W) float32 to the same as the generator it was made of.

    It is made at the first call, and keeps kernels of four to nine times the size of the generator's. Later changes
    of the generator do not reach it. What it cannot do (another device or precision, a gradient) the generator does.
    """

    def __init__(self, generator: ResNetGenerator):
        super().__init__()
        self.generator = generator
        self.layers: list[Layer] = []

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch, one image after the other."""
        if not _can_run(x, self.generator):
            return self.generator(x)
        self.layers = self.layers or rewritten(self.generator)
        y = torch.cat([self._translated(image) for image in x]).contiguous()
        scratch.release(KEPT)
        return y

    def _translated(self, image: Tensor) -> Tensor:
        """(C, H, W) to (1, C, H, W)."""
        _, height, width = image.shape
        y = Pending(reflect_to_multiple(image[None], multiple=4, least=8)[0].permute(1, 2, 0))
        for layer in self.layers:
            y = layer(y)
        return y.finished()[..., :height, :width]


def fast_for_translation(generator: nn.Module) -> nn.Module:
    """The generator rewritten, or itself where that is of no use: U-Nets, and dropout that stays at work."""
    noisy = any(isinstance(m, Dropout) and m.noise_seed is not None for m in generator.modules())
    if not isinstance(generator, ResNetGenerator) or noisy:
        return generator
    return OnProcessor(generator)


def _can_run(x: Tensor, generator: nn.Module) -> bool:
    weight = next(generator.parameters())
    return (
        x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not generator.training
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    )


@torch.no_grad()
def rewritten(generator: ResNetGenerator) -> list[Layer]:
    """Layers that one image after the other goes through, with weights of their own."""
    own = copy.deepcopy(generator).requires_grad_(False)
    parts = (own.stem, own.down, own.blocks, own.up, own.head)
    return list(_faster([layer for part in parts for layer in _flat(part)]))


def _flat(layer: nn.Module) -> Iterator[nn.Module]:
    """The layers of nested sequences, without those that do nothing."""
    if isinstance(layer, nn.Sequential):
        for child in layer:
            yield from _flat(child)
    elif not isinstance(layer, nn.Identity | Dropout):
        yield layer


def _faster(layers: list[nn.Module]) -> Iterator[Layer]:
    """What does the same as a list of layers; reflection is joined with the convolution after it."""
    while layers:
        layer, *layers = layers
        border = 0
        if isinstance(layer, nn.ReflectionPad2d) and layers:
            border, (layer, *layers) = layer.padding[0], layers
        yield _replaced(layer, border, normed=bool(layers) and isinstance(layers[0], nn.InstanceNorm2d | BatchNorm))


def _replaced(layer: nn.Module, border: int, normed: bool) -> Layer:
    """`normed` says that the next layer takes the mean of each channel away, and a bias with it."""
    if isinstance(layer, ResidualBlock | SeparableResidualBlock):
        return Residual(list(_faster(list(_flat(layer.body)))))
    if isinstance(layer, nn.InstanceNorm2d | BatchNorm):
        return ImageNorm(layer)
    if isinstance(layer, nn.ReLU):
        return relu
    if isinstance(layer, nn.Conv2d) and _is_winograd(layer, border):
        return WinogradConv(layer, reflect=border > 0, bias=not normed)
    if isinstance(layer, nn.Conv2d) and border and layer.out_channels <= FEW:
        return FewOutputsConv(layer, border)
    if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        return Plain(layer)
    layer.bias = None if normed else layer.bias
    return DirectConv(layer.to(memory_format=torch.channels_last), border)  # type: ignore[call-overload]


def _is_winograd(conv: nn.Conv2d, border: int) -> bool:
    return (
        (conv.kernel_size, conv.stride, conv.groups) == ((3, 3), (1, 1), 1)
        and (conv.padding == (0, 0) if border == 1 else border == 0 and conv.padding == (1, 1))
        and min(conv.in_channels, conv.out_channels) >= LEAST_CHANNELS
    )
