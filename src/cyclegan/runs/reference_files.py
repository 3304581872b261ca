"""Weight files of the authors' PyTorch repositories [R, CUT, DCL]: imported as models, and exported from them."""

import io
import pickle
import re
import warnings
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from cyclegan.config.schema import Config, LossConfig
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.methods.method import build_method
from cyclegan.methods.registry import method_spec
from cyclegan.methods.specs import BUILTIN, MethodSpec, ReferenceFiles
from cyclegan.networks.reference_weights import (
    NOT_EXPORTED,
    RESNETS,
    Network,
    describe,
    from_reference,
    projections_from_reference,
    projections_to_reference,
    recognize,
    to_reference,
)
from cyclegan.runs.checkpoint import load_tensors
from cyclegan.runs.model import Model, model_settings
from cyclegan.system.atomic import write_file

SINGLE = {"G": "generators.G", "D": "discriminators.D"}  # names for one generator without its method's others
DOMAINS = {"G": "ab", "G_A": "ab", "G_B": "ba", "D_A": "b", "D_B": "a"}  # of a network's input and output
ENCODERS = {"F": "G", "F1": "G_A", "F2": "G_B"}  # projections of patches, and the generator whose layers they take
LATEST = "latest"

_FILE = re.compile(r"(?P<epoch>.+)_net_(?P<name>G_A|G_B|D_A|D_B|G|D|F1|F2|F)\.(pth|safetensors)")


def import_model(source: Path, epoch: str = LATEST) -> tuple[Model, list[str]]:
    """The model in a file or folder of the authors' code, and sentences about what was recognized.

    A file holds one generator, a folder (``checkpoints/NAME``) the networks of an epoch. Files are ``.pth``, of which
    only tensors are loaded, or ``.safetensors``. Raises `UsageError` for other files, `CycleGANError` for those that
    cannot be read.
    """
    paths, left_out = _find_files(source, epoch)
    tensors = {name: _load_file(path) for name, path in paths.items()}
    networks: dict[str, Network] = {}
    for name, path in paths.items():
        if name in ENCODERS:
            continue
        try:
            networks[name] = recognize(tensors[name])
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
        if networks[name].part[0].upper() != name[0]:
            raise UsageError(f"{path} is a {networks[name].part}; give a generator's file, or the folder.")
    notes = [f"{paths[name].name}: {network}." for name, network in networks.items()] + left_out
    spec, reference = _method(networks, paths)
    settings = _shared_settings(networks, paths, spec)
    agreed = settings["networks"]
    if spec.defaults.get("dropout_at_test"):
        if "dropout" not in agreed:
            notes.append(f"Dropout in a U-Net cannot be recognized; it is assumed, as in {spec.title}.")
        dropout = agreed.setdefault("dropout", True)
        agreed["dropout_at_test"] = dropout  # as the authors' test.py without --eval
    names = {**SINGLE, **reference.networks}
    states = {names[name]: from_reference(tensors[name], network) for name, network in networks.items()}
    layers = spec.defaults.get("nce_layers", LossConfig().nce_layers)
    if any(name in paths for name in ENCODERS):
        settings["loss"]["nce_layers"] = layers
    for name, generator in ENCODERS.items():
        if name in paths and generator in networks:
            try:
                states[names[name]] = projections_from_reference(tensors[name], networks[generator], layers)
            except UsageError as error:
                notes.append(f"{paths[name].name} is left out. {error}")
    weights = {f"{name}.{key}": value for name, state in states.items() for key, value in state.items()}
    imported = f"imported from {', '.join(path.name for path in paths.values())} of the authors' PyTorch code"
    return Model(settings, weights, imported), notes


def _find_files(source: Path, epoch: str) -> tuple[dict[str, Path], list[str]]:
    """The files to import by the authors' names of their networks, and a sentence for each that is left out.

    Raises `UsageError` when there is no generator.
    """
    if source.is_file():
        match = _FILE.fullmatch(source.name)
        if match and match["name"] in ENCODERS:
            raise UsageError(f"{source} holds projections of patches; give a generator's file, or the folder.")
        return {match["name"] if match else "G": source}, []
    if not source.is_dir():
        raise UsageError(f"{source} does not exist; give a .pth file or a folder checkpoints/NAME.")
    by_epoch: dict[str, dict[str, Path]] = {}
    for path in sorted(source.iterdir()):
        if match := _FILE.fullmatch(path.name):
            by_epoch.setdefault(match["epoch"], {})[match["name"]] = path
    if not by_epoch:
        raise UsageError(f"{source} has no files such as latest_net_G_A.pth; give one file, or a folder that has them.")
    if epoch not in by_epoch:
        raise UsageError(f"{source} has no {epoch}_net_….pth; choose with --epoch from {', '.join(by_epoch)}.")
    paths = by_epoch[epoch]
    if not any(name.startswith("G") for name in paths):
        raise UsageError(f"{source} has no generator {epoch}_net_G….pth; there is nothing to translate with.")
    # People copy a CycleGAN's latest_net_G_A.pth to latest_net_G.pth for tests.
    two = any("_" in name for name in paths)
    chosen = {name: path for name, path in paths.items() if (len(name) > 1) == two}
    notes = [f"{path.name} is left out; it is not part of this model." for n, path in paths.items() if n not in chosen]
    return chosen, notes


def _load_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. Nothing else in a ``.pth`` file is loaded, and no code in it is executed.

    Raises `CycleGANError` when the file is damaged or holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_tensors(path)
        with warnings.catch_warnings():  # about unusual pickles
            warnings.simplefilter("ignore")
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CycleGANError(
            f"{path} holds more than tensors; it is not loaded, since that could execute code."
        ) from None
    except (OSError, SafetensorError) as error:
        raise CycleGANError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    except Exception as error:  # a damaged archive can make torch's reader raise anything
        raise CycleGANError(f"{path} is not a file of weights, or damaged ({type(error).__name__}).") from None
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise CycleGANError(f"{path} is not a state dict (tensors by name).")
    return {str(name): value for name, value in found.items()}


def _method(networks: Mapping[str, Network], names: Collection[str]) -> tuple[MethodSpec, ReferenceFiles]:
    """The method that has such networks, and files of these names, and the authors' names of its networks."""
    generator, discriminator = networks.get("G"), networks.get("D")
    found = [
        (spec, reference)
        for spec in BUILTIN.values()
        if (reference := spec.reference) is not None
        and (reference.matches(generator, discriminator) if generator else reference.networks.keys() >= {*names})
    ]
    if found:  # of two generators, CycleGAN's have no blurs, and DCLGAN's have
        blurred = not generator and any(network.settings.get("antialias") for network in networks.values())
        return found[-1 if blurred else 0]
    assert discriminator is not None
    raise UsageError(
        f"The discriminator takes {discriminator.in_channels} channels: neither the generator's output, nor its input "
        "and output together; give the generator's file alone."
    )


def _shared_settings(
    networks: Mapping[str, Network], paths: Mapping[str, Path], spec: MethodSpec
) -> dict[str, dict[str, Any]]:
    """The settings of a model by section, on which all networks must agree."""
    sections: dict[str, dict[str, Any]] = {"networks": {}, "data": {}, "loss": {"method": spec.name}}
    origin: dict[str, str] = {}
    for name, network in networks.items():
        channels = zip(DOMAINS.get(name, ""), (network.in_channels, network.out_channels), strict=False)
        found = [("networks", setting, value) for setting, value in network.settings.items()]
        found += [("data", f"channels_{domain}", count) for domain, count in channels if spec.layout != "single domain"]
        for section, setting, value in found:
            other = origin.setdefault(setting, paths[name].name)
            if sections[section].setdefault(setting, value) != value:
                raise UsageError(
                    f"{paths[name]} has {setting} {value}, but {other} has {sections[section][setting]}; "
                    "all networks of a model share it. Give a single generator's file instead."
                )
    return sections


def export_model(model: Model, epoch: str = LATEST) -> tuple[dict[str, dict[str, Tensor]], list[str]]:
    """The model as state dicts of the authors' code by file name, and the options with which its `test.py` loads them.

    Raises `UsageError` for networks that the authors' code does not have.
    """
    reference = method_spec(model.method).reference
    if reference is None:
        raise UsageError(f"The authors' code has no method {model.method}; {NOT_EXPORTED}")
    networks, files = {}, {}
    for name, place in reference.networks.items():
        ours = model.network(place)
        if ours and name in ENCODERS:
            files[f"{epoch}_net_{name}.pth"] = projections_to_reference(ours)
        elif ours:
            networks[name] = describe(ours, "generator" if name[0] == "G" else "discriminator", model.config.networks)
            files[f"{epoch}_net_{name}.pth"] = to_reference(ours, networks[name])
    return files, _test_options(model.method, reference, networks)


def export_obstacle(config: Config) -> str | None:
    """Why runs with these settings cannot be exported to the authors' code, a sentence; None if they can."""
    config = config.with_settings(generator_width=2, discriminator_width=2)
    with torch.random.fork_rng(devices=[]):
        networks = build_method(config, seed=0).state_dict()
    weights = {name: torch.ones_like(value) for name, value in networks.items()}  # nothing is zero after training
    try:
        export_model(Model(model_settings(config), weights, "no training"))
    except UsageError as error:
        return str(error).replace(f"; {NOT_EXPORTED}", ".")
    return None


def _test_options(method: str, reference: ReferenceFiles, networks: Mapping[str, Network]) -> list[str]:
    """The options with which `test.py` of the method's repository builds these networks."""
    generators = [name for name in networks if name.startswith("G")]
    generator = networks[generators[0]]
    settings, cut = generator.settings, reference.repository != "pytorch-CycleGAN-and-pix2pix"  # CUT's, or from that
    kind, norm, dropout, antialias = (settings[n] for n in ("generator", "norm", "dropout", "antialias"))
    if antialias and not cut:
        raise UsageError(f"The authors' {method} has no blurs (--antialias); {NOT_EXPORTED}")
    if kind == "resnet":
        if settings["blocks"] not in RESNETS:
            raise UsageError(
                f"The authors' code has ResNets of 6 and 9 blocks, not of {settings['blocks']}; {NOT_EXPORTED}"
            )
        kind = RESNETS[settings["blocks"]]
    suffix = generators[0].removeprefix("G")
    if not suffix or (len(generators) == 2 and (cut or not dropout)):
        options = [f"--model {reference.model}"]
    elif cut:
        raise UsageError(f"The authors' test.py for {method} needs both generators, and this is one; {NOT_EXPORTED}")
    else:  # cycle_gan there needs both generators, and takes no dropout
        options = [f"--model test --model_suffix {suffix}"]
    options += [f"--netG {kind}", f"--ngf {settings['generator_width']}"]
    if cut:
        options += [f"--normG {norm}", f"--normD {norm}", *(["--no_dropout False"] if dropout else [])]
        options += [] if antialias else ["--no_antialias", "--no_antialias_up"]
    else:
        options += [f"--norm {norm}", *([] if dropout else ["--no_dropout"])]
    options += [f"--input_nc {generator.in_channels}", f"--output_nc {generator.out_channels}"]
    discriminator = next((network.settings for name, network in networks.items() if name.startswith("D")), None)
    if discriminator:
        options += [f"--netD {discriminator['discriminator']}", f"--ndf {discriminator['discriminator_width']}"]
        if discriminator["discriminator"] == "n_layers":
            options.append(f"--n_layers_D {discriminator['discriminator_layers']}")
    return options


def write_files(files: Mapping[str, Mapping[str, Tensor]], folder: Path, *, overwrite: bool = False) -> None:
    """Save state dicts as ``.pth`` files, each atomically.

    Raises `UsageError`, before anything is written, when one exists (unless `overwrite`), and `CycleGANError` when one
    cannot be written.
    """
    existing = [folder / name for name in files if (folder / name).exists()]
    if existing and not overwrite:
        raise UsageError(f"{existing[0]} exists; choose another -o or --epoch, or replace it with --overwrite.")
    for name, tensors in files.items():
        content = io.BytesIO()
        torch.save(dict(tensors), content)
        write_file(folder / name, partial(Path.write_bytes, data=content.getvalue()))
