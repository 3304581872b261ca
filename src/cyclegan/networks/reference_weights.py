"""State dicts of the authors' PyTorch repositories [R, CUT] and ours: the same tensors under different names.

The architecture is inferred from the tensors. Theirs number the layers of one `Sequential`; ours name its parts
(`stem`, `blocks`, `head`), in the same order. All functions are pure functions on state dicts.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from cyclegan.config.schema import NetworkConfig
from cyclegan.errors import UsageError
from cyclegan.networks.discriminator import build_discriminator
from cyclegan.networks.generator import build_generator
from cyclegan.networks.layers import BlurDown, BlurUp, Residual, UNetLevel
from cyclegan.system.text import listed

Tensors = Mapping[str, Tensor]
Part = Literal["generator", "discriminator"]

PROJECTION_SIZE = 256  # dimensions of the vectors that [CUT] compares
UNETS = {8: "unet_256", 7: "unet_128"}  # by levels; [R] has no others
RESNETS = {9: "resnet_9blocks", 6: "resnet_6blocks"}  # by residual blocks
NOT_EXPORTED = "these weights cannot be exported."  # the end of messages about networks that [R] does not have
KINDS = {*UNETS.values(), *RESNETS.values(), "resnet", "basic", "n_layers", "pixel"}
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
        raise UsageError(f"The authors' code has no {getattr(config, part)!r} networks; {NOT_EXPORTED}")
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
    for name, expected in names.empty.items():
        found = tensors.get(names.theirs.get(name, ""))
        # Without norm [R] has no bias there, and old files have no num_batches_tracked: both are zero.
        value = torch.zeros(expected.shape) if found is None else found
        ours[name] = value.detach().to(expected.dtype).contiguous()
    return ours


def to_reference(ours: Tensors, network: Network) -> dict[str, Tensor]:
    """Our state dict of this network as the authors', float32 on the CPU.

    Raises `UsageError` for networks that the authors' code does not have.
    """
    names = _names(network)
    for name in names.empty.keys() - names.theirs.keys():
        if ours[name].count_nonzero():
            raise UsageError(
                f"Without norm, the authors' networks have no biases in most layers, but {name} is not zero; "
                f"{NOT_EXPORTED}"
            )
    return {theirs: ours[name].detach().cpu().contiguous() for name, theirs in names.theirs.items()} | names.blurs


def projections_from_reference(tensors: Tensors, generator: Network, layers: Sequence[int]) -> dict[str, Tensor]:
    """[CUT]'s projections of patches, two-layer networks for these of the generator's layers, as ours.

    Layer 0 is the image, 4 the first convolution to half the resolution, and 8, 12 and 16 follow the second.
    Raises `UsageError` when they are for other layers, or of another size.
    """
    tensors, width = clean_state_dict(tensors), generator.settings["generator_width"]
    shapes: dict[str, tuple[int, ...]] = {}
    widths = {0: generator.in_channels, 4: 2 * width}
    for number, channels in enumerate(widths.get(layer, 4 * width) for layer in layers):
        for layer, size in ((0, channels), (2, PROJECTION_SIZE)):
            shapes[f"mlp_{number}.{layer}.weight"] = (PROJECTION_SIZE, size)
            shapes[f"mlp_{number}.{layer}.bias"] = (PROJECTION_SIZE,)
    if shapes != {name: tuple(value.shape) for name, value in tensors.items()}:
        raise UsageError(f"They do not project the layers {listed(layers)} to {PROJECTION_SIZE} dimensions.")
    return {name.removeprefix("mlp_"): value.detach().float().contiguous() for name, value in tensors.items()}


def projections_to_reference(ours: Tensors) -> dict[str, Tensor]:
    """Our projections of patches as [CUT]'s."""
    return {f"mlp_{name}": value.detach().cpu().contiguous() for name, value in ours.items()}


def clean_state_dict(tensors: Tensors) -> dict[str, Tensor]:
    """The tensors without data-parallel prefixes and the unused statistics of instance norms before PyTorch 0.4."""
    renamed = {re.sub(r"^((module|_orig_mod)\.)+", "", name): value for name, value in tensors.items()}
    with_weight = {name.removesuffix(".weight") for name in renamed}
    statistics = re.compile(r"(.*)\.(running_mean|running_var|num_batches_tracked)")
    return {
        name: value
        for name, value in renamed.items()
        if not (match := statistics.fullmatch(name)) or match[1] in with_weight
    }


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


class _Names(NamedTuple):
    """Our state dict of a network without values, on the meta device, and the names of the authors' tensors."""

    empty: dict[str, Tensor]
    theirs: dict[str, str]  # by our names
    blurs: dict[str, Tensor]  # the fixed kernels, which [CUT] stores with the weights, by their names


def _names(network: Network) -> _Names:
    """Raises `UsageError` for an architecture that the authors' code does not have."""
    kind = network.settings[network.part]
    if kind not in KINDS:
        raise UsageError(f"The authors' code has no {kind!r} networks; {NOT_EXPORTED}")
    return _derive_names(network.part, NetworkConfig(**network.settings), network.in_channels, network.out_channels)


@lru_cache(maxsize=16)
def _derive_names(part: Part, config: NetworkConfig, in_channels: int, out_channels: int) -> _Names:
    def build(config: NetworkConfig) -> Any:
        if part == "generator":
            return build_generator(config, in_channels, out_channels)
        return build_discriminator(config, in_channels)

    with torch.device("meta"):
        empty = build(config).state_dict()
        network = build(replace(config, norm="batch"))  # in which all norms are layers, as in the authors' networks
    if part == "discriminator":
        numbers = _number([network.body], "net" if config.discriminator == "pixel" else "model")
    elif config.generator in UNETS.values():
        numbers = _number(network.levels.children(), "model.model")
    else:
        numbers = _number(network.stages(), "model")
    blurs = {
        f"{name}.filt": type(layer)(len(layer.kernel)).kernel
        for layer, name in numbers.items()
        if isinstance(layer, BlurDown | BlurUp)
    }
    # Without norm [R] has the biases that it would have with batch norm.
    shared = [name for name in empty if config.norm != "none" or name in network.state_dict()]
    split = {name: name.rpartition(".") for name in shared}
    theirs = {name: f"{numbers[network.get_submodule(layer)]}.{leaf}" for name, (layer, _, leaf) in split.items()}
    return _Names(empty, theirs, blurs)


def _number(parts: Iterable[nn.Module], prefix: str) -> dict[nn.Module, str]:
    """The authors' names of layers: their places in one sequence, in which blocks and levels are sequences again."""
    names: dict[nn.Module, str] = {}
    for number, layer in enumerate(_flatten(parts)):
        name = f"{prefix}.{number}"
        if isinstance(layer, Residual):
            names |= _number([layer.body], f"{name}.conv_block")
        elif isinstance(layer, UNetLevel):
            names |= _number(layer.children(), f"{name}.model")
        else:
            names[layer] = name
    return names


def _flatten(parts: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for part in parts:
        if isinstance(part, nn.Sequential):
            yield from _flatten(part)
        elif not isinstance(part, nn.Identity):
            yield part


def _match(tensors: Tensors, network: Network) -> _Names:
    """`_names`, after checking that the tensors are those of the network. Raises `UsageError` that names the others."""
    names = _names(network)
    empty, theirs, blurs = names
    shapes = {theirs[name]: empty[name].shape for name in theirs}
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
    found = [f"{_listed(wrong)} {problem}" for problem, wrong in problems.items() if wrong]
    if found:
        raise UsageError(f"This looks like a {network.part} ({network}), but {'; '.join(found)}.")
    return names


def _listed(names: Iterable[str]) -> str:
    first, *more = sorted(names) or ["nothing"]
    shown = ", ".join([first, *more[:4]])
    return shown + (f" and {len(more) - 4} more" if len(more) > 4 else "")
