"""The settings of a new run, from everything they depend on, and the weights that it starts from."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from cyclegan.config.presets import Environment, PresetName
from cyclegan.config.resolve import resolve
from cyclegan.config.schema import Config
from cyclegan.config.toml import from_toml
from cyclegan.config.validation import validate_types
from cyclegan.data.select import find_companions, find_data
from cyclegan.errors import UsageError
from cyclegan.imaging.decode import image_size, read_image, read_labels
from cyclegan.imaging.image import to_tensor
from cyclegan.imaging.source import Source, UnreadableImage
from cyclegan.methods.registry import method_spec, validate_method
from cyclegan.networks.registry import DISCRIMINATORS, GENERATORS
from cyclegan.system.machine import gpu_memory, has_bfloat16
from cyclegan.system.optional import efficientnet_packages, is_installed

if TYPE_CHECKING:
    from torch import Tensor

    from cyclegan.data.layouts import DataFiles
    from cyclegan.runs.model import Model

COMPARED = range(20, 100)  # images per domain whose features are compared: at least and about at most
CLOSE = 1.0  # kernel distance of close domains; docs/recipes.md has that of several data sets
HEADERS = 200  # images per domain whose size is read; a header takes less than a millisecond


def configure(
    preset: PresetName = "auto",
    *,
    config_file: str | Path | None = None,
    compare_domains: bool = True,
    **settings: Any,
) -> Config:
    """The settings of a run: ``configure(data="data/horse2zebra", max_minutes=60)``.

    The preset `auto` suits the training images and the GPU or CPU, and needs data; the others are "paper", "small" and
    "fast". `config_file`, a ``config.toml`` or a run folder, replaces the preset. With `compare_domains`, `auto` takes
    seconds to compare the features of A and B, by which it chooses the generator. With `init_from` the architecture is
    that of the given model or run. `Config.sources` tells where each value came from. Raises `UsageError` for unknown,
    mistyped or contradictory settings, and when the preset `auto` cannot read any image.
    """
    known = Config().flat()
    given = validate_types(Config().with_settings(**settings)).networks  # before images are read and torch is loaded
    GENERATORS.check(given.generator)
    DISCRIMINATORS.check(given.discriminator)
    user = {n: Path(v) if n in known and isinstance(v, str) and _is_path(n) else v for n, v in settings.items()}
    file = None
    if config_file is not None:
        path = Path(config_file)
        file = from_toml(path / "config.toml" if path.is_dir() else path).with_settings(name=None).flat()
    method = method_spec(str(user.get("method") or (file or known)["method"]))
    initial = user.get("init_from")
    model = None
    if initial is not None:
        from cyclegan.runs.model import read_model

        model = read_model(initial, generators_only=True).architecture
        model = _of_teacher(model) if method.learns_from_teacher else model
    environment = None
    if preset == "auto" and file is None:
        own = Config().with_settings(**method.defaults | {"method": method.name} | user)
        environment = detect_environment(own, compare=compare_domains and "generator" not in user and model is None)
    return resolve_batch_size(
        validate_method(resolve(preset, method, user, environment=environment, initial_model=model, file=file))
    )


def resolve_batch_size(config: Config) -> Config:
    """The configuration with the batch size that fits in place of 0."""
    if config.data.batch_size > 0:
        return config
    from cyclegan.training.batch_size import fit_batch_size

    return fit_batch_size(config)


def _of_teacher(architecture: dict[str, Any]) -> dict[str, Any]:
    """The settings of a student's run that are its teacher's: the teacher's own architecture, and the discriminator."""
    own = {"generator": "teacher_generator", "generator_width": "teacher_width", "blocks": "teacher_blocks"}
    dropout = ("dropout", "dropout_at_test")
    return {own.get(name, name): value for name, value in architecture.items() if name not in dropout}


def _is_path(name: str) -> bool:
    return name in ("data", "a", "b", "pairs", "runs", "init_from")


def detect_environment(config: Config, compare: bool = True) -> Environment:
    """The size of the configured images and the memory of the configured device, for the preset `auto`.

    With `compare`, a method for unpaired images also learns whether A and B are close, where a classifier is installed
    and the device is a CPU. Raises `UsageError` when no data is configured or none of the images can be read.
    """
    domains = find_data(config)
    sides = []
    for files in (domains.train.a, domains.train.b):
        for path in files[:: max(1, len(files) // HEADERS)]:
            try:
                sides.append(min(image_size(path)))
            except UnreadableImage:
                continue
    if not sides:
        raise UsageError(f"None of the images like {domains.train.a[0]} can be read.")
    has_features = config.data.is_gray_or_rgb and is_installed(*efficientnet_packages(1))
    device, method = config.run.device, method_spec(config.loss.method)
    memory = gpu_memory(device)
    compare = compare and memory is None and has_features and method.layout == "unpaired"
    close = compare and _are_close(domains.train.a, domains.train.b)
    return Environment(round(statistics.median(sides)), memory, has_features, has_bfloat16(device), close)


def _are_close(a: Sequence[Source], b: Sequence[Source]) -> bool:
    """Whether the kernel distance of a classifier's features, of some images of each domain, is below `CLOSE`."""
    import torch

    from cyclegan.metrics.distributions import kernel_distance
    from cyclegan.metrics.features import EFFICIENTNET_SIDE, extract_features, load_efficientnet

    network, found = load_efficientnet(), []
    if network is None or min(len(a), len(b)) < COMPARED.start:
        return False
    for files in (a, b):
        images = []
        for path in files[:: max(1, len(files) // COMPARED.stop)]:
            with suppress(UnreadableImage):
                image = read_image(path, min_side=EFFICIENTNET_SIDE)
                images.append(to_tensor(image.resize((EFFICIENTNET_SIDE,) * 2, Image.Resampling.BICUBIC)))
        if len(images) < COMPARED.start:  # some cannot be read
            return False
        found.append(extract_features(network, torch.stack(images)))
    return kernel_distance(*found) < CLOSE


def resolve_from_data(config: Config, domains: DataFiles) -> tuple[Config, list[str]]:
    """Settings that depend on the data, resolved once at the start of a run, and a sentence for each change.

    Value ranges become numbers, and an identity loss that is impossible is turned off. Raises `UsageError` when the
    images of a domain have no value range.
    """
    from cyclegan.data.preprocessing import resolve_percentile_ranges

    data, notes = resolve_percentile_ranges(config.data, domains.train)
    changed = {name for name, value in vars(data).items() if value != getattr(config.data, name)}
    loss = config.loss
    if (
        "lambda_identity" in method_spec(loss.method).loss_settings
        and loss.lambda_identity > 0
        and data.channels_a != data.channels_b
    ):
        loss = replace(loss, lambda_identity=0.0)
        changed.add("lambda_identity")
        notes.append(
            f"The identity loss is off: it needs equal channels, and A has {data.channels_a}, B {data.channels_b}."
        )
    if loss.labels and not loss.label_classes:
        loss = replace(loss, label_classes=count_classes(find_companions(config, domains.train)))
        changed.add("label_classes")
        notes.append(f"Label maps have {loss.label_classes} classes.")
    return replace(config, data=data, loss=loss, sources=config.sources | dict.fromkeys(changed, "data")), notes


def count_classes(companions: Mapping[str, Sequence[Path]]) -> int:
    """One more than the highest number in the label maps but 255, which is no class.

    Raises `UsageError` if there is none.
    """
    highest = -1
    for path in (path for name, paths in companions.items() if name.startswith("label") for path in paths):
        with suppress(UnreadableImage):
            labels = np.unique(read_labels(path))
            highest = max([highest, *labels[labels < 255].tolist()])
    if highest < 0:
        raise UsageError("None of the label maps can be read, or none has a class; --labels needs 8-bit maps.")
    return highest + 1


def starting_weights(config: Config) -> dict[str, Tensor]:
    """The weights of the model at `init_from`, or none without one.

    Raises `UsageError` when they are of another method or architecture than configured.
    """
    path, teaches = config.networks.init_from, method_spec(config.loss.method).learns_from_teacher
    if path is None and teaches:
        raise UsageError(f"--method {config.loss.method} needs a teacher; use `cyclegan distill RUN`, or --init-from.")
    if path is None:
        return {}

    from cyclegan.methods.method import method_class
    from cyclegan.runs.model import read_model

    model = read_model(path)
    if teaches:
        return _teacher_weights(config, model, path)
    if method_class(model.method) is not method_class(config.loss.method):
        raise UsageError(f"{path} was made by the method {model.method}; add --method {model.method}.")
    mine = config.flat()
    for name, value in model.architecture.items():
        if mine[name] != value:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} {mine[name]} does not fit {path}, whose networks have {value}; leave it out.")
    return model.weights


def _teacher_weights(config: Config, model: Model, path: Path) -> dict[str, Tensor]:
    """The weights of a teacher's generator, and of its discriminator, if that judges images of the target alone."""
    import torch

    from cyclegan.methods.method import build_method

    direction, spec = config.loss.direction, method_spec(model.method)
    if spec.layout == "single domain":
        raise UsageError(f"{path} was trained with --method {model.method}, which cannot be distilled.")
    if direction not in model.directions:
        raise UsageError(f"{path} translates {' and '.join(model.directions)} only, not {direction}.")
    weights = {f"teacher.network.{k}": v for k, v in model.network(f"generators.{spec.directions[direction]}").items()}
    channels = dict(zip("AB", (model.config.data.channels_a, model.config.data.channels_b), strict=True))
    images = {domain: torch.zeros(1, count, 1, 1) for domain, count in channels.items()}
    judged = build_method(model.config, seed=0).discriminator_inputs(images, images)[direction]
    if judged.real.shape[1] == channels[direction[-1]]:
        name = f"discriminators.{judged.discriminator}"
        weights |= {f"discriminators.D.{k}": v for k, v in model.network(name).items()}
    return weights
