"""Check settings: types, choices and bounds as annotated in the schema, and combinations that contradict each other."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.config.schema import SECTIONS, Config
from cyclegan.errors import UsageError
from cyclegan.imaging.value_range import COLOR_FORM, RANGE_FORM, parse_color, parse_range

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def validate(config: Config) -> Config:
    """As `validate_types`; also raises `UsageError` for the first settings that contradict each other."""
    config = validate_types(config)
    for sentence in _contradictions(config):
        raise UsageError(sentence)
    return config


def validate_types(config: Config) -> Config:
    """The configuration, with values as typed in the schema: lists as tuples, strings as paths, 1 as 1.0.

    Raises `UsageError` for the first invalid setting, in one sentence.
    """
    from pydantic import ValidationError

    sections = {}
    for name, cls in SECTIONS.items():
        plain = json.dumps(vars(getattr(config, name)), default=str)
        try:
            sections[name] = _adapter(cls).validate_json(plain, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            setting = str(first["loc"][0])
            value, rule = getattr(getattr(config, name), setting), first["msg"].replace("Input should", "it must")
            raise UsageError(f"{flag(setting)} is {value!r}; {rule}.") from None
    return replace(config, **sections)


def flag(name: str) -> str:
    """A setting as an option of the command line."""
    return f"--{name.replace('_', '-')}"


@cache
def _adapter(cls: type) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def _contradictions(config: Config) -> Iterator[str]:
    data, loss, optimizer, run = config.data, config.loss, config.optimizer, config.run
    if data.data is not None and (data.a or data.b):
        yield "Give either one folder DATA or the two folders --a and --b, not both."
    for name, text in (("range_a", data.range_a), ("range_b", data.range_b)):
        try:
            _ = text is None or parse_range(text)
        except ValueError:
            yield f"{flag(name)} is {text!r}; it must be {RANGE_FORM}."
    try:
        parse_color(data.background)
    except ValueError:
        yield f"--background is {data.background!r}; it must be {COLOR_FORM}."
    if data.preprocess.endswith("_crop") and data.crop_size > data.load_size:
        yield f"--crop-size {data.crop_size} is larger than --load-size {data.load_size}; no crop fits."
    if data.scale_jitter and not data.preprocess.endswith("crop"):
        yield "--scale-jitter scales crops; choose a --preprocess that ends with a crop."
    if data.preload and data.cache == "off":
        yield "--preload decodes images into the cache; use --cache memory or --cache disk."
    if not loss.augment_policy or len(set(loss.augment_policy)) < len(loss.augment_policy):
        yield "--augment-policy needs one or more different changes out of color, translation and cutout."
    if loss.augment == "ada" and loss.objective == "wgangp":
        yield "--augment ada needs a discriminator with bounded outputs; choose another --objective than wgangp."
    if loss.objective == "wgangp" and not data.preprocess.endswith("crop"):
        yield "--objective wgangp compares images of one size; choose a --preprocess that ends with a crop."
    if not loss.nce_layers or list(loss.nce_layers) != sorted(set(loss.nce_layers)):
        yield "--nce-layers needs numbers in ascending order, such as 0 4 8."
    if optimizer.epochs + optimizer.epochs_decay < 1:
        yield "--epochs and --epochs-decay are both 0; there is nothing to train."
    if run.patience and not run.measure_every:
        yield "--patience counts quality measurements, which --measure-every 0 turns off; set both or neither."
    if run.name is not None and (Path(run.name).name != run.name or run.name in ("", ".", "..")):
        yield f"--name {run.name!r} must be a plain folder name; --runs sets where run folders are created."
