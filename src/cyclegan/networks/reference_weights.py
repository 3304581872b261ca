"""State dicts of the authors' PyTorch repositories [R, CUT] and ours: the same tensors under different names.

The architecture is inferred from the tensors. Theirs number the layers of one `Sequential`; ours name its parts
(`stem`, `blocks`, `head`), in the same order. All functions are pure functions on state dicts.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from cyclegan.config.schema import NetworkConfig
from cyclegan.errors import UsageError
from cyclegan.networks.discriminator import build_discriminator
from cyclegan.networks.generator import build_generator
from cyclegan.networks.layers import BlurDown, BlurUp

Tensors = Mapping[str, Tensor]
Part = Literal["generator", "discriminator"]

PROJECTION_SIZE = 256  # dimensions of the vectors that [CUT] compares
UNETS = {8: "unet_256", 7: "unet_128"}  # by levels; [R] has no others
RESNETS = {9: "resnet_9blocks", 6: "resnet_6blocks"}  # by residual blocks
_SETTINGS: dict[Part, tuple[str, ...]] = {
    "generator": ("generator", "generator_width", "blocks", "norm", "dropout", "antialias"),
    "discriminator": ("discriminator", "discriminator_width", "discriminator_layers", "norm", "antialias"),
}
_FIRST = ("stem.1.weight", "levels.down.1.weight", "body.0.weight")  # layers of ResNets, U-Nets, discriminators
_LAST = ("head.1.bias", "levels.up.1.bias")


@dataclass(frozen=True)
class Network:
    """A generator or discriminator as its tensors describe it; `settings` are those of `NetworkConfig` it has."""

    part: Part
    settings: dict[str, Any]
    in_channels: int
    out_channels: int = 1

    def __str__(self) -> str:
        has = self.settings
        parts = [has[self.part], f"width {has[f'{self.part}_width']}", f"channels {self.in_channels}"]
        if self.part == "generator":
            parts[-1] += f" to {self.out_channels}"
        parts += [f"{has['blocks']} blocks"] if parts[0] == "resnet" else []
        parts += [f"{has['discriminator_layers']} layers"] if parts[0] == "n_layers" else []
        return ", ".join([*parts, f"norm {has['norm']}", *(n for n in ("dropout", "antialias") if has.get(n))])


def recognize(tensors: Tensors) -> Network:
    """The network of a state dict of the authors' code.

    Raises `UsageError`, naming tensors, for other state dicts.
    """
    tensors = clean_state_dict(tensors)
    for hint, infer in _INFER.items():
        if hint in tensors:
            try:
                network = infer(tensors)
            except (KeyError, IndexError, ValueError):  # unknown shapes or names
                break
            _match(tensors, network)
            return network
    raise UsageError(f"These tensors are not a generator or discriminator of the authors' code: {_listed(tensors)}.")


def describe(ours: Tensors, part: Part, config: NetworkConfig) -> Network:
    """The network of our own state dict, which `config` built."""
    first = next((ours[name] for name in _FIRST if name in ours), None)
    if first is None:
        raise UsageError(
            f"The authors' code has no {getattr(config, part)!r} networks; these weights cannot be exported."
        )
    last = next((len(ours[name]) for name in _LAST if name in ours), 1)
    settings = {name: getattr(config, name) for name in _SETTINGS[part]}
    if settings.get("generator") in RESNETS.values():
        settings["blocks"] = {name: blocks for blocks, name in RESNETS.items()}[settings["generator"]]
    return Network(part, settings, first.shape[1], last)


def from_reference(tensors: Tensors, network: Network) -> dict[str, Tensor]:
    """The authors' state dict of this network as ours, in float32.

    Raises `UsageError`, naming the tensors, for missing and unexpected ones and for other shapes.
    """
    tensors = clean_state_dict(tensors)
    names = _match(tensors, network)
    ours = {}
    for name, expected in _empty(network).items():
        found = tensors.get(names[name]) if name in names else None
        # Without norm [R] has no bias there, and old files have no num_batches_tracked: both are zero.
        value = torch.zeros(expected.shape) if found is None else found
        ours[name] = value.detach().to(expected.dtype).contiguous()
    return ours


def to_reference(ours: Tensors, network: Network) -> dict[str, Tensor]:
    """Our state dict of this network as the authors', float32 on the CPU.

    Raises `UsageError` for networks that the authors' code does not have.
    """
    names = _names(network)
    for name in _empty(network).keys() - names.keys():
        if ours[name].count_nonzero():
            raise UsageError(
                f"Without norm, the authors' networks have no biases in most layers, but {name} is not zero; "
                "these weights cannot be exported."
            )
    return {theirs: ours[name].detach().cpu().contiguous() for name, theirs in names.items()} | _blurs(network)


def projections_from_reference(tensors: Tensors, generator: Network) -> dict[str, Tensor]:
    """[CUT]'s projections of patches, two-layer networks for the generator's layers 0, 4, 8, 12 and 16, as ours.

    Raises `UsageError` when they are for other layers, or of another size.
    """
    tensors, width = clean_state_dict(tensors), generator.settings["generator_width"]
    shapes: dict[str, tuple[int, ...]] = {}
    for number, channels in enumerate((generator.in_channels, 2 * width, *3 * [4 * width])):
        for layer, size in ((0, channels), (2, PROJECTION_SIZE)):
            shapes[f"mlp_{number}.{layer}.weight"] = (PROJECTION_SIZE, size)
            shapes[f"mlp_{number}.{layer}.bias"] = (PROJECTION_SIZE,)
    if shapes != {name: tuple(value.shape) for name, value in tensors.items()}:
        raise UsageError(f"They do not project the layers 0, 4, 8, 12 and 16 to {PROJECTION_SIZE} dimensions.")
    return {name.removeprefix("mlp_"): value.detach().float().contiguous() for name, value in tensors.items()}


def projections_to_reference(ours: Tensors) -> dict[str, Tensor]:
    """Our projections of patches as [CUT]'s."""
    return {f"mlp_{name}": value.detach().cpu().contiguous() for name, value in ours.items()}


def clean_state_dict(tensors: Tensors) -> dict[str, Tensor]:
    """The tensors without data-parallel prefixes and the unused statistics of instance norms before PyTorch 0.4."""
    renamed = {re.sub(r"^((module|_orig_mod)\.)+", "", name): value for name, value in tensors.items()}
    statistics = {"running_mean", "running_var", "num_batches_tracked"}

    def unused(name: str) -> bool:
        layer, _, leaf = name.rpartition(".")
        return leaf in statistics and f"{layer}.weight" not in renamed

    return {name: value for name, value in renamed.items() if not unused(name)}


def _resnet(t: Tensors) -> Network:
    width, in_channels = t["model.1.weight"].shape[:2]
    blocks = {m[1] for name in t if (m := re.match(r"model\.(\d+)\.conv_block\.", name))}
    last = max((int(name.split(".")[1]) for name in t if name.endswith(".bias")), default=0)
    settings = {
        "generator": RESNETS.get(len(blocks), "resnet"),
        "generator_width": width,
        "blocks": len(blocks),
        "norm": _norm(t, "model.1", "model.2"),
        # A dropout layer in the middle of a block moves the second convolution, from 5 to 6.
        "dropout": any(name.endswith("conv_block.6.weight") and value.ndim == 4 for name, value in t.items()),
        "antialias": _is_blurred(t),
    }
    return Network("generator", settings, in_channels, t[f"model.{last}.weight"].shape[0])


def _unet(t: Tensors) -> Network:
    width, in_channels = t["model.model.0.weight"].shape[:2]
    levels = 1 + max(name.count(".model.") - 1 for name in t if name.endswith(".weight"))
    if levels not in UNETS:
        raise UsageError(f"The authors' code has U-Nets of 7 and 8 levels; this one has {levels}.")
    inner = "model.model.1.model"
    # Its dropout layers come after the norms and shift no numbers, so they cannot be inferred.
    settings = {
        "generator": UNETS[levels],
        "generator_width": width,
        "norm": _norm(t, f"{inner}.1", f"{inner}.2"),
    }
    return Network("generator", settings, in_channels, t["model.model.3.weight"].shape[1])


def _patchgan(t: Tensors) -> Network:
    width, in_channels = t["model.0.weight"].shape[:2]
    step = 4 if _is_blurred(t) else 3
    layers = sum(value.ndim == 4 and name.endswith(".weight") for name, value in t.items()) - 2
    settings = {
        "discriminator": "basic" if layers == 3 else "n_layers",
        "discriminator_width": width,
        "discriminator_layers": layers,
        "norm": _norm(t, f"model.{step - 1}", f"model.{step}"),
        "antialias": _is_blurred(t),
    }
    return Network("discriminator", settings, in_channels)


def _pixel(t: Tensors) -> Network:
    width, in_channels = t["net.0.weight"].shape[:2]
    settings = {"discriminator": "pixel", "discriminator_width": width, "norm": _norm(t, "net.2", "net.3")}
    return Network("discriminator", settings, in_channels)


_INFER: dict[str, Callable[[Tensors], Network]] = {
    "model.model.0.weight": _unet,
    "model.1.weight": _resnet,
    "net.0.weight": _pixel,
    "model.0.weight": _patchgan,
}


def _is_blurred(t: Tensors) -> bool:
    return any(name.endswith(".filt") for name in t)


def _norm(t: Tensors, conv: str, norm: str) -> str:
    """Instance norm has no tensors, but only with it [R] has a bias in the convolution before."""
    return "batch" if f"{norm}.weight" in t else "instance" if f"{conv}.bias" in t else "none"


def layers_of(network: Network) -> list[str]:
    """The authors' names of the layers that have weights, in order.

    Raises `UsageError` for an architecture that the authors' code does not have.
    """
    settings = network.settings
    kind, batch = settings[network.part], settings["norm"] == "batch"
    if kind in UNETS.values():
        layers = _unet_layers({name: levels for levels, name in UNETS.items()}[kind])
    elif kind in {*RESNETS.values(), "resnet"}:
        layers = _resnet_layers(settings["blocks"], settings["dropout"], settings["antialias"])
    elif kind == "pixel":
        layers = [("net.0", None), ("net.2", "net.3"), ("net.5", None)]
    elif kind in ("basic", "n_layers"):
        layers = _patchgan_layers(3 if kind == "basic" else settings["discriminator_layers"], settings["antialias"])
    else:
        raise UsageError(f"The authors' code has no {kind!r} networks; these weights cannot be exported.")
    return [name for conv, norm in layers for name in (conv, norm) if name and (batch or name != norm)]


Layers = list[tuple[str, str | None]]  # convolutions, and the norms after them if there are any


def _resnet_layers(blocks: int, dropout: bool, antialias: bool) -> Layers:
    step = 4 if antialias else 3  # layers per stage: convolution, norm, ReLU and a blur, which upsampling has first
    second = 6 if dropout else 5  # the second convolution of a block
    first = 4 + 2 * step
    up = first + blocks
    layers = [("1", "2"), *((f"{i}", f"{i + 1}") for i in (4, 4 + step))]
    for block in range(first, up):
        layers += [(f"{block}.conv_block.{i}", f"{block}.conv_block.{i + 1}") for i in (1, second)]
    layers += [(f"{i + antialias}", f"{i + antialias + 1}") for i in (up, up + step)]
    return [*((f"model.{conv}", f"model.{norm}") for conv, norm in layers), (f"model.{up + 2 * step + 1}", None)]


def _unet_layers(levels: int) -> Layers:
    """Each level is a list: its down-convolution, the next level, its up-convolution. The outermost has no norms."""
    down: Layers = [("model.model.0", None)]
    up: Layers = [("model.model.3", None)]
    level = "model.model.1.model"
    for _ in range(levels - 2):
        down.append((f"{level}.1", f"{level}.2"))
        up.append((f"{level}.5", f"{level}.6"))
        level += ".3.model"
    return [*down, (f"{level}.1", None), (f"{level}.3", f"{level}.4"), *reversed(up)]


def _patchgan_layers(layers: int, antialias: bool) -> Layers:
    step = 4 if antialias else 3
    between: Layers = [(f"model.{step * n - 1}", f"model.{step * n}") for n in range(1, layers + 1)]
    return [("model.0", None), *between, (f"model.{step * layers + 2}", None)]


def _blurs(network: Network) -> dict[str, Tensor]:
    """The fixed blur kernels, which [CUT] stores with the weights."""
    settings = network.settings
    if not settings.get("antialias") or settings[network.part] in {*UNETS.values(), "pixel"}:
        return {}
    if network.part == "generator":
        width, up = settings["generator_width"], 12 + settings["blocks"]
        down = {7: 2 * width, 11: 4 * width}
        kernels = {layer: BlurDown(channels).kernel for layer, channels in down.items()}
        kernels |= {up: BlurUp(4 * width).kernel, up + 4: BlurUp(2 * width).kernel}
    else:
        width, layers = settings["discriminator_width"], settings["discriminator_layers"]
        layers = 3 if settings["discriminator"] == "basic" else layers
        kernels = {4 * n + 2: BlurDown(width * min(2**n, 8)).kernel for n in range(layers)}
    return {f"model.{layer}.filt": kernel for layer, kernel in kernels.items()}


def _names(network: Network) -> dict[str, str]:
    """Our names of the tensors that the authors' network has too, and theirs."""
    empty = _empty(network)
    shared = set(empty)
    if network.settings["norm"] == "none":  # [R] has the biases that it would have with batch norm
        shared &= set(_empty(replace(network, settings=network.settings | {"norm": "batch"})))
    ours = dict.fromkeys(name.rpartition(".")[0] for name in empty)
    theirs = dict(zip(ours, layers_of(network), strict=True))
    split = {name: name.rpartition(".") for name in empty if name in shared}
    return {name: f"{theirs[layer]}.{leaf}" for name, (layer, _, leaf) in split.items()}


def _empty(network: Network) -> dict[str, Tensor]:
    """Our network's state dict on the meta device: shapes without values."""
    return _build(network.part, NetworkConfig(**network.settings), network.in_channels, network.out_channels)


@lru_cache(maxsize=16)
def _build(part: Part, config: NetworkConfig, in_channels: int, out_channels: int) -> dict[str, Tensor]:
    with torch.device("meta"):
        if part == "generator":
            return build_generator(config, in_channels, out_channels).state_dict()
        return build_discriminator(config, in_channels).state_dict()


def _match(tensors: Tensors, network: Network) -> dict[str, str]:
    """`_names`, after checking that the tensors are those of the network. Raises `UsageError` that names the others."""
    names, empty, blurs = _names(network), _empty(network), _blurs(network)
    shapes = {theirs: empty[ours].shape for ours, theirs in names.items()}
    shapes |= {name: kernel.shape for name, kernel in blurs.items()}
    present = tensors.keys() & shapes.keys()
    wrong_shape = {name for name in present if tensors[name].shape != shapes[name]}
    problems = {
        "are missing": {name for name in shapes.keys() - present if not name.endswith("num_batches_tracked")},
        "are unexpected": tensors.keys() - present,
        "have another shape": wrong_shape,
        "are other blurs than the authors'": {
            name
            for name in (blurs.keys() & present) - wrong_shape
            if not torch.allclose(tensors[name].float(), blurs[name])
        },
    }
    found = [f"{_listed(names)} {problem}" for problem, names in problems.items() if names]
    if found:
        raise UsageError(f"This looks like a {network.part} ({network}), but {'; '.join(found)}.")
    return names


def _listed(names: Iterable[str]) -> str:
    first, *more = sorted(names) or ["nothing"]
    shown = ", ".join([first, *more[:4]])
    return shown + (f" and {len(more) - 4} more" if len(more) > 4 else "")
