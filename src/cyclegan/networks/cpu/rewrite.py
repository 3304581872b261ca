"""Generators rewritten for inference on CPUs: the same numbers in less time, without a compiler.

Where time is saved, and where that is implemented:

- 3x3 convolutions of stride 1 use Winograd's F(6x8, 3x3) or similar, strip by strip in the cache (`winograd_tiles`).
- Images are processed one at a time with channels last, in reused buffers: fresh memory costs more than most of what
  is computed in it (`DirectConv`).
- Normalization, ReLU, residual sum and border are applied in one pass, in the copy into the next convolution's input
  buffer (`fused`). A normalization itself only computes statistics (`ImageNorm`), and biases before it, which it
  would subtract again, are dropped.
- The last convolution, whose few outputs leave vector units idle, computes all rows of its kernel at once
  (`FewOutputsConv`).
- Learned scales of channels are folded into the convolutions before them.
- U-Nets stay as they are, except for the convolutions at their deepest levels (`small_images`).
"""

import copy
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from cyclegan.networks.channels_last import computes_on_cpu
from cyclegan.networks.cpu.fused import DeferredEpilogue
from cyclegan.networks.cpu.layers import DirectConv, EagerLayer, FewOutputsConv, ImageNorm, Layer, ResidualSum, relu
from cyclegan.networks.cpu.small_images import with_matrix_products
from cyclegan.networks.cpu.winograd_tiles import WinogradConv
from cyclegan.networks.generator import Generator
from cyclegan.networks.layers import BatchNorm, ChannelScale, Dropout, Residual, UNetLevel, pad_to_multiple
from cyclegan.networks.winograd import scratch

MIN_CHANNELS = 32  # with fewer, the transforms cost more than the products save
MAX_SCRATCH = 2**27  # bytes of each scratch buffer kept for the next call: enough for images of 512x512
FEW = 8  # outputs of a convolution that leave vector units idle


class CpuGenerator(Generator):
    """A generator for CPU inference: (N, C, H, W) float32 to the same result as the generator that it is made from.

    It is built at the first call, and keeps kernels of four to nine times the generator's size. Later changes to the
    generator have no effect. On another device, in another precision or with gradients the generator itself is used.
    """

    def __init__(self, generator: Generator):
        super().__init__()
        self.generator = generator
        self.size_multiple, self.min_size = generator.size_multiple, generator.min_size
        self.layers: list[Layer] = []

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch, one image after the other."""
        trains = self.generator.training or torch.is_grad_enabled()
        if trains or not computes_on_cpu(x, next(self.generator.parameters())):
            y: Tensor = self.generator(x)
            return y
        self.layers = self.layers or rewrite(self.generator.stages() or ())
        padded = pad_to_multiple(x, self.size_multiple, self.min_size)
        return run(self.layers, padded)[..., : x.shape[2], : x.shape[3]].contiguous()


def run(layers: Sequence[Layer], x: Tensor) -> Tensor:
    """The rewritten layers applied to a batch (N, C, H, W), one image after the other."""
    results = []
    for image in x:
        y = DeferredEpilogue(image.permute(1, 2, 0))
        for layer in layers:
            y = layer(y)
        results.append(y.tensor().clone(memory_format=torch.contiguous_format))  # out of scratch memory
    scratch.release(MAX_SCRATCH)
    return torch.cat(results)


def rewrite_for_cpu(generator: Generator) -> Generator:
    """The generator for CPU inference, or itself if it cannot be rewritten; it may share the weights."""

    def change(network: Generator) -> Generator:
        if any(isinstance(module, UNetLevel) for module in network.modules()):
            return with_matrix_products(network)
        return CpuGenerator(network) if is_rewritable(network) else network

    return generator.map_network(change)


def is_rewritable(network: Generator) -> bool:
    """Whether a generator has stages, is not a U-Net, and has no dropout that stays on."""
    modules = list(network.modules())
    noisy = any(isinstance(m, Dropout) and m.noise_seed is not None for m in modules)
    return network.stages() is not None and not noisy and not any(isinstance(m, UNetLevel) for m in modules)


@torch.no_grad()
def rewrite(stages: Sequence[nn.Module]) -> list[Layer]:
    """The layers to apply to one image after the other, with weights of their own."""
    own = [copy.deepcopy(stage).requires_grad_(False) for stage in stages]
    return list(_replace_all(_flatten(own)))


def _flatten(layers: Iterable[nn.Module]) -> list[nn.Module]:
    """The layers of nested sequences, without those that do nothing."""
    flat: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.Sequential):
            flat += _flatten(layer)
        elif not isinstance(layer, nn.Identity | Dropout):
            flat.append(layer)
    return flat


def _replace_all(layers: list[nn.Module]) -> Iterator[Layer]:
    """Equivalents of a list of layers; reflection is merged into the convolution after it."""
    while layers:
        layer, *layers = layers
        border = 0
        if isinstance(layer, nn.ReflectionPad2d) and layers:
            border, (layer, *layers) = layer.padding[0], layers
        if isinstance(layer, nn.Conv2d) and layers and isinstance(following := layers[0], ChannelScale):
            layer.weight.mul_(following.scale[:, None, None, None])
            if layer.bias is not None:
                layer.bias.mul_(following.scale)
            layers = layers[1:]
        yield _replace(layer, border, normed=bool(layers) and isinstance(layers[0], nn.InstanceNorm2d | BatchNorm))


def _replace(layer: nn.Module, border: int, normed: bool) -> Layer:
    """With `normed` the next layer subtracts the mean of each channel, and a bias with it."""
    if isinstance(layer, Residual):
        return ResidualSum(list(_replace_all(_flatten(layer.body))))
    if isinstance(layer, nn.InstanceNorm2d | BatchNorm):
        return ImageNorm(layer)
    if isinstance(layer, nn.ReLU):
        return relu
    if isinstance(layer, nn.Conv2d) and _is_winograd(layer, border):
        return WinogradConv(layer, reflect=border > 0, bias=not normed)
    if isinstance(layer, nn.Conv2d) and border and layer.out_channels <= FEW:
        return FewOutputsConv(layer, border)
    if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        return EagerLayer(layer)
    layer.bias = None if normed else layer.bias
    return DirectConv(layer.to(memory_format=torch.channels_last), border)  # type: ignore[call-overload]


def _is_winograd(conv: nn.Conv2d, border: int) -> bool:
    return (
        (conv.kernel_size, conv.stride, conv.groups) == ((3, 3), (1, 1), 1)
        and (conv.padding == (0, 0) if border == 1 else border == 0 and conv.padding == (1, 1))
        and min(conv.in_channels, conv.out_channels) >= MIN_CHANNELS
    )
