"""What settings may be: bounds, choices, and combinations that contradict each other."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cyclegan.config.schema import Config, DataConfig
from cyclegan.errors import UsageError
from cyclegan.imaging.value_range import COLOR_FORM, RANGE_FORM, parse_color, parse_range

AT_LEAST = {
    "channels_a": 1, "channels_b": 1, "batch_size": 1, "load_size": 8, "crop_size": 8, "max_images": 1, "workers": 0,
    "generator_width": 1, "blocks": 0, "discriminator_width": 1, "discriminator_layers": 1,
    "lambda_gan": 0, "lambda_a": 0, "lambda_b": 0, "lambda_identity": 0, "lambda_l1": 0, "lambda_gp": 0, "pool_size": 0,
    "lambda_nce": 0,
    "epochs": 0, "epochs_decay": 0, "step_epochs": 1, "accumulate": 1,
    "max_steps": 1, "seed": 0, "devices": 1, "nodes": 1, "log_every": 1, "sample_every": 1, "samples": 0,
    "checkpoint_epochs": 0, "keep": 0, "ada_images": 1, "measure_every": 0, "patience": 0,
}  # fmt: skip
MORE_THAN_ZERO = (
    "cache_size", "nce_temperature", "learning_rate", "init_gain", "clip_norm", "max_minutes", "save_minutes",
)  # fmt: skip
SHARES = ("beta1", "beta2", "ema_decay")  # from 0 to less than 1


def validated(config: Config) -> Config:
    """The same configuration, or a `UsageError` that names the first setting that cannot be."""
    for sentence in _contradictions(config):
        raise UsageError(sentence)
    return config


def _contradictions(config: Config) -> Iterator[str]:
    data, networks, loss, optimizer, run = (getattr(config, f.name) for f in dataclasses.fields(config))
    for section in (data, networks, loss, optimizer, run):
        yield from _wrong_types(section)
    if data.data is not None and (data.a or data.b):
        yield "Give either one folder DATA or the two folders --a and --b, not both."
    values = {k: v for s in (data, networks, loss, optimizer, run) for k, v in vars(s).items()}
    for name, least in AT_LEAST.items():
        if values[name] is not None and values[name] < least:
            yield f"--{_flag(name)} is {values[name]}; it must be at least {least}."
    for name in MORE_THAN_ZERO:
        if values[name] is not None and not values[name] > 0:
            yield f"--{_flag(name)} is {values[name]}; it must be more than 0."
    for name in SHARES:
        if not 0 <= values[name] < 1:
            yield f"--{_flag(name)} is {values[name]}; it must be at least 0 and less than 1."
    yield from _unclear_pixels(data)
    if data.preprocess.endswith("_crop") and data.crop_size > data.load_size:
        yield f"--crop-size {data.crop_size} is larger than --load-size {data.load_size}; no crop fits."
    if data.preload and data.cache == "off":
        yield "--preload decodes images into the cache; leave --cache at memory, or say disk."
    changes = loss.augment_policy.split(",")
    if not set(changes) <= {"color", "translation", "cutout"} or len(set(changes)) < len(changes):
        yield f"--augment-policy is {loss.augment_policy!r}; it must be some of color,translation,cutout."
    if not -1 < loss.ada_target < 1:
        yield f"--ada-target is {loss.ada_target}; it must be between -1 and 1."
    if loss.augment == "ada" and loss.objective == "wgangp":
        yield "--augment ada needs to know what a sure discriminator says, and wgangp's has no bounds."
    if loss.objective == "wgangp" and not data.preprocess.endswith("crop"):
        yield "--objective wgangp compares images of one size; take a --preprocess that ends with a crop."
    layers = [int(n) if n.strip().isdigit() else -1 for n in loss.nce_layers.split(",")]
    if min(layers) < 0 or layers != sorted(set(layers)):
        yield f"--nce-layers is {loss.nce_layers!r}; it must be rising numbers from 0 on, such as 0,4,8."
    if optimizer.epochs + optimizer.epochs_decay < 1:
        yield "--epochs and --epochs-decay are both 0; there is nothing to train."
    if run.patience and not run.measure_every:
        yield "--patience counts measurements, and --measure-every 0 makes none; give both or neither."
    if run.name is not None and (Path(run.name).name != run.name or run.name in ("", ".", "..")):
        yield f"--name {run.name!r} must be a plain folder name; --runs says where run folders are made."


def _unclear_pixels(data: DataConfig) -> Iterator[str]:
    """Ranges and colors that are none."""
    for name, text in (("range_a", data.range_a), ("range_b", data.range_b)):
        try:
            _ = text is None or parse_range(text)
        except ValueError:
            yield f"--{_flag(name)} is {text!r}; it must be {RANGE_FORM}."
    try:
        parse_color(data.background)
    except ValueError:
        yield f"--background is {data.background!r}; it must be {COLOR_FORM}."


def _wrong_types(section: Any) -> Iterator[str]:
    hints = get_type_hints(type(section))
    for name, value in vars(section).items():
        if get_origin(hints[name]) is Literal and value not in get_args(hints[name]):
            yield f"--{_flag(name)} is {value!r}; it must be one of {', '.join(get_args(hints[name]))}."
        kinds = get_args(hints[name]) or (hints[name],)
        if get_origin(hints[name]) is not Literal and not _is_one_of(value, kinds):
            yield f"--{_flag(name)} is {value!r}, which is not of the right kind ({_kind(kinds)})."


def _is_one_of(value: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, kinds) or (isinstance(value, int) and float in kinds)


def _kind(kinds: tuple[type, ...]) -> str:
    names = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    return " or ".join(names.get(kind, "folder") for kind in kinds if kind is not type(None))


def _flag(name: str) -> str:
    return name.replace("_", "-")
