"""Files of weights as the authors' PyTorch repositories [R] name them, read into a model and written from one."""

import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.methods.registry import method_spec
from cyclegan.methods.specs import BUILTIN, MethodSpec, ReferenceFiles, ReferenceNetworks
from cyclegan.networks.reference_weights import (
    RESNETS,
    Network,
    Part,
    described,
    from_reference,
    projections_from_reference,
    projections_to_reference,
    recognize,
    to_reference,
)
from cyclegan.runs.model import Model
from cyclegan.system.atomic import staged_file

SINGLE = {"G": "generators.G", "D": "discriminators.D"}  # names in files of one generator alone
DOMAINS = {"G": "AB", "G_A": "AB", "G_B": "BA", "D_A": "B", "D_B": "A"}  # what a network takes and makes
LATEST = "latest"

_FILE = re.compile(r"(?P<epoch>.+)_net_(?P<name>G_A|G_B|D_A|D_B|G|D|F)\.(pth|safetensors)")


@dataclass(frozen=True)
class Files:
    """The files of one epoch by the reference's name of the network, and those that are left out, with the reason."""

    paths: dict[str, Path]
    left_out: list[str]


def import_model(source: Path, epoch: str = LATEST) -> tuple[Model, list[str]]:
    """The model in a file or folder of the reference, and sentences about what was recognized.

    A file holds one generator; a folder (``checkpoints/NAME`` there) what there is of an epoch. Files are ``.pth``,
    of which nothing but tensors is loaded, or ``.safetensors``. Raises `UsageError` for what is not the reference's,
    `CycleGANError` for files that cannot be read.
    """
    files = find_files(source, epoch)
    tensors = {name: load_tensors(path) for name, path in files.paths.items()}
    patches = tensors.pop("F", None)  # what CUT compares patches with; not a network of images
    networks = {name: _recognized(name, files.paths[name], tensors[name]) for name in tensors}
    said = [f"{files.paths[name].name}: {network}." for name, network in networks.items()] + files.left_out
    spec, reference = _method(networks)
    agreed = _settings(networks, files)
    if spec.defaults.get("dropout_at_test"):
        if "dropout" not in agreed:
            said.append(f"Whether a U-Net has dropout cannot be seen; it is assumed, as in {spec.title}.")
        dropout = agreed.setdefault("dropout", True)
        agreed["dropout_at_test"] = dropout  # as there, without --eval
    channels = {} if spec.layout == "single domain" else _channels(networks)
    settings = {"networks": agreed, "data": channels, "loss": {"method": spec.name}}
    weights: dict[str, Tensor] = {}
    for name, network in networks.items():
        weights |= _within({**SINGLE, **reference.networks}[name], from_reference(tensors[name], network))
    if patches is not None:
        try:
            weights |= _within("projections", projections_from_reference(patches, networks["G"]))
        except UsageError as error:
            said.append(f"{files.paths['F'].name} is left out. {error}")
    imported = f"imported from {', '.join(path.name for path in files.paths.values())} of the authors' PyTorch code"
    return Model(settings, weights, imported), said


def _within(place: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{place}.{name}": value for name, value in tensors.items()}


def _recognized(name: str, path: Path, tensors: Mapping[str, Tensor]) -> Network:
    """What is in a file that is named as a generator's or a discriminator's."""
    try:
        network = recognize(tensors)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    if network.part[0].upper() != name[0]:
        raise UsageError(f"{path} is a {network.part}; give a generator's file, or the folder.")
    return network


def find_files(source: Path, epoch: str) -> Files:
    """The files to read. Raises `UsageError` when there are none, or it is not clear which."""
    if source.is_file():
        named = _FILE.fullmatch(source.name)
        if named and named["name"] == "F":
            raise UsageError(f"{source} is what CUT compares patches with; give a generator's file, or the folder.")
        return Files({named["name"] if named else "G": source}, [])
    if not source.is_dir():
        raise UsageError(f"{source} does not exist; give a .pth file or a folder checkpoints/NAME.")
    by_epoch: dict[str, dict[str, Path]] = {}
    for path in sorted(source.iterdir()):
        if named := _FILE.fullmatch(path.name):
            by_epoch.setdefault(named["epoch"], {})[named["name"]] = path
    if not by_epoch:
        raise UsageError(f"{source} has no files such as latest_net_G_A.pth; give one file, or a folder that has them.")
    if epoch not in by_epoch:
        raise UsageError(f"{source} has no {epoch}_net_….pth; choose with --epoch from {', '.join(by_epoch)}.")
    return _chosen(by_epoch[epoch], source, epoch)


def _chosen(paths: dict[str, Path], source: Path, epoch: str) -> Files:
    """Of both kinds of names those of a CycleGAN: people copy `latest_net_G_A.pth` to `latest_net_G.pth` for tests."""
    if not any(name.startswith("G") for name in paths):
        raise UsageError(f"{source} has no generator {epoch}_net_G….pth; there is nothing to translate with.")
    of_two = any("_" in name for name in paths)
    taken = {name: path for name, path in paths.items() if ("_" in name) == of_two}
    left_out = [f"{path.name} is left out; nothing here uses it." for n, path in paths.items() if n not in taken]
    return Files(taken, left_out)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. Of a ``.pth`` file nothing else is loaded, and nothing in it is run.

    Raises `CycleGANError` when the file is damaged or holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        with warnings.catch_warnings():  # of odd pickles; they load or they don't
            warnings.simplefilter("ignore")
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CycleGANError(
            f"{path} holds more than tensors; it is not loaded, since that could run a program."
        ) from None
    except (OSError, SafetensorError) as error:
        raise CycleGANError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    except Exception as error:  # a damaged archive can make torch's reader raise anything
        raise CycleGANError(f"{path} is no file of weights, or damaged ({type(error).__name__}).") from None
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise CycleGANError(f"{path} holds no plain state dict, of tensors by name.")
    return {str(name): value for name, value in found.items()}


def _method(networks: Mapping[str, Network]) -> tuple[MethodSpec, ReferenceFiles]:
    """The method that makes such networks, and its names in the reference."""
    generator, discriminator = networks.get("G"), networks.get("D")
    found = generator and ReferenceNetworks(
        generator.in_channels,
        generator.out_channels,
        discriminator.in_channels if discriminator else None,
        generator.settings,
    )
    for spec in BUILTIN.values():
        reference = spec.reference
        if reference and (reference.matches(found) if found else networks.keys() <= reference.networks.keys()):
            return spec, reference
    assert discriminator is not None
    raise UsageError(
        f"The discriminator takes {discriminator.in_channels} channels: neither the generator's output, nor its input "
        "and output together; give the generator's file alone."
    )


def _settings(networks: Mapping[str, Network], files: Files) -> dict[str, Any]:
    """The settings of all networks, which must agree."""
    settings: dict[str, Any] = {}
    said_by: dict[str, str] = {}
    for name, network in networks.items():
        for setting, value in network.settings.items():
            other = said_by.setdefault(setting, files.paths[name].name)
            if settings.setdefault(setting, value) != value:
                raise UsageError(
                    f"{files.paths[name]} has {setting} {value}, but {other} has {settings[setting]}; "
                    "one model has one of each. Give a single generator's file instead."
                )
    return settings


def _channels(networks: Mapping[str, Network]) -> dict[str, int]:
    """Channels of the domains A and B, on which all networks must agree."""
    counts: dict[str, set[int]] = {"A": set(), "B": set()}
    for name, network in networks.items():
        for domain, count in zip(DOMAINS.get(name, ""), (network.in_channels, network.out_channels), strict=False):
            counts[domain].add(count)
    for domain, found in counts.items():
        if len(found) > 1:
            raise UsageError(f"The networks disagree on the channels of domain {domain}: {sorted(found)}.")
    return {f"channels_{domain.lower()}": found.pop() for domain, found in counts.items()}


@dataclass(frozen=True)
class Export:
    """Files by name, each a state dict of the reference, and the options with which its scripts load them."""

    files: dict[str, dict[str, Tensor]]
    options: list[str]


def export_model(model: Model, epoch: str = LATEST) -> Export:
    """The model as the reference's files. Raises `UsageError` for what the reference does not have."""
    networks, files = {}, {}
    reference = _reference(model.method)
    for name, place in reference.networks.items():
        ours = model.network(place)
        if ours and name == "F":
            files[f"{epoch}_net_F.pth"] = projections_to_reference(ours)
        elif ours:
            part: Part = "generator" if name.startswith("G") else "discriminator"
            networks[name] = described(ours, part, model.config.networks)
            files[f"{epoch}_net_{name}.pth"] = to_reference(ours, networks[name])
    return Export(files, options(model.method, networks))


def options(method: str, networks: Mapping[str, Network]) -> list[str]:
    """The words with which the reference's `test.py` builds these networks; CUT's is a repository of its own."""
    generators = {name: network for name, network in networks.items() if name.startswith("G")}
    generator = next(iter(generators.values()))
    settings, reference = generator.settings, _reference(method)
    of_cut = reference.repository == "contrastive-unpaired-translation"
    judge = next((network.settings for name, network in networks.items() if name.startswith("D")), None)
    if settings["antialias"] and not of_cut:
        raise UsageError(f"The authors' {method} has no blurs (--antialias); these weights cannot be exported.")
    words = [
        _model_option(reference, list(generators), settings["dropout"]),
        f"--netG {_generator_there(settings)}",
        f"--ngf {settings['generator_width']}",
        *_norm_and_dropout(settings, of_cut),
        f"--input_nc {generator.in_channels}",
        f"--output_nc {generator.out_channels}",
    ]
    if judge:
        words += [f"--netD {judge['discriminator']}", f"--ndf {judge['discriminator_width']}"]
        words += [f"--n_layers_D {judge['discriminator_layers']}"] if judge["discriminator"] == "n_layers" else []
    return words


def _reference(method: str) -> ReferenceFiles:
    """A method's names in the reference. Raises `UsageError` for a method that the reference does not have."""
    reference = method_spec(method).reference
    if reference is None:
        raise UsageError(f"The authors' code has no method {method}; these weights cannot be exported.")
    return reference


def _model_option(reference: ReferenceFiles, generators: list[str], dropout: bool) -> str:
    suffix = generators[0].removeprefix("G")
    if not suffix or (len(generators) == 2 and not dropout):
        return f"--model {reference.model}"
    return f"--model test --model_suffix {suffix}"  # `cycle_gan` there needs both generators, and takes no dropout


def _norm_and_dropout(settings: Mapping[str, Any], of_cut: bool) -> list[str]:
    norm, dropout = settings["norm"], settings["dropout"]
    if not of_cut:
        return [f"--norm {norm}", *([] if dropout else ["--no_dropout"])]
    words = [f"--normG {norm}", f"--normD {norm}", *(["--no_dropout False"] if dropout else [])]
    return words + ([] if settings["antialias"] else ["--no_antialias", "--no_antialias_up"])


def _generator_there(settings: Mapping[str, Any]) -> str:
    if settings["generator"] != "resnet":
        return str(settings["generator"])
    if settings["blocks"] not in RESNETS:
        raise UsageError(
            f"The reference has ResNets of 6 and 9 blocks, these have {settings['blocks']}; they cannot be exported."
        )
    return RESNETS[settings["blocks"]]


def write_files(files: Mapping[str, Mapping[str, Tensor]], folder: Path, *, overwrite: bool = False) -> None:
    """Save state dicts as ``.pth`` files, each whole or not at all.

    Raises `UsageError`, before anything is written, when one exists (unless `overwrite`), `CycleGANError` when it
    cannot be written.
    """
    present = [folder / name for name in files if (folder / name).exists()]
    if present and not overwrite:
        raise UsageError(f"{present[0]} exists; choose another -o or --epoch, or replace it with --overwrite.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, tensors in files.items():
            with staged_file(folder / name) as temporary, temporary.open("wb") as file:
                torch.save(dict(tensors), file)
    except (OSError, RuntimeError) as error:  # torch's writer says "disk full" by a RuntimeError
        raise CycleGANError(f"{folder} cannot be written: {getattr(error, 'strerror', None) or error}.") from None
