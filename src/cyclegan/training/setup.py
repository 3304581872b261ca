"""Starting a training with the networks of a model or of another run, such as imported ones."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from cyclegan.config.presets import PRESETS
from cyclegan.config.schema import Config
from cyclegan.data.layouts import DataFiles
from cyclegan.data.preprocessing import resolve_percentile_ranges
from cyclegan.data.select import find_data
from cyclegan.errors import UsageError
from cyclegan.imaging.decode import image_size
from cyclegan.imaging.source import UnreadableImage
from cyclegan.methods.registry import method_class, method_spec, validate_method
from cyclegan.runs.model import read_model
from cyclegan.system.machine import gpu_memory


def starting_weights(config: Config) -> dict[str, Tensor]:
    """The weights that the configuration says to start with; none if it does not.

    Raises `UsageError` when they are of another method or architecture than configured.
    """
    path = config.networks.init_from
    if path is None:
        return {}
    model = read_model(path)
    if method_class(model.method) is not method_class(config.loss.method):
        raise UsageError(f"{path} was made by the method {model.method}; add --method {model.method}.")
    mine = vars(config.networks) | vars(config.data) | vars(config.loss)
    for name, value in model.architecture.items():
        if mine[name] != value:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} {mine[name]} does not fit {path}, whose networks have {value}; leave it out.")
    return model.weights


def preset_settings(preset: Literal["paper", "small", "fast"], method: str) -> dict[str, Any]:
    """The settings of a preset for a method, which knows better where both have a word."""
    spec = method_spec(method)
    settings = PRESETS[preset] | spec.defaults | {"method": method}
    if spec.generator_for_crop is not None:
        settings["generator"] = spec.generator_for_crop(settings.get("crop_size", 256))
    return settings


@dataclass(frozen=True)
class Environment:
    """What the `auto` preset decides from."""

    image_size: int  # pixels, the median shorter side of the training images
    gpu_memory: float | None  # GiB of the device that will be used; None when that is the CPU


def automatic(around: Environment, method: str) -> tuple[dict[str, Any], str]:
    """The settings that suit these images, this machine and the method, and a sentence that says what and why."""
    on_cpu = around.gpu_memory is None
    chosen = _for_cpu(around.image_size) if on_cpu else _for_gpu(around.image_size, around.gpu_memory or 0.0)
    spec = method_spec(method)
    settings = spec.defaults | chosen | {"method": method, "draft": True}
    if spec.generator_for_crop is not None:
        settings["generator"] = spec.generator_for_crop(settings["crop_size"])
    if on_cpu:
        settings |= spec.short_run_settings(settings)
    size = f"{settings['crop_size']}x{settings['crop_size']}"
    if on_cpu:
        return settings, (
            f"Light networks at {size}, since there is no GPU and the images have {around.image_size} pixels; "
            f"{settings['max_minutes']:g} minutes unless you give a budget. --preset paper trains the paper's."
        )
    why = f"a GPU with {around.gpu_memory:.0f} GiB and images of {around.image_size} pixels"
    return settings, f"The paper's setting at {size} ({settings['generator']}), for {why}."


def _for_gpu(image_size: int, memory: float) -> dict[str, Any]:
    size = 256 if image_size >= 200 else _multiple_of_32(image_size)
    chosen = {"generator": f"resnet_{9 if size >= 200 else 6}blocks", "ema_decay": 0.999, **_sizes(size)}
    # A step at 256x256 takes 2.7 GiB on a processor, and GPUs want room to work in.
    return chosen | ({"precision": "16-mixed"} if memory < 4 else {})


def _for_cpu(image_size: int) -> dict[str, Any]:
    tiny = image_size < 96
    return {
        "generator": "resnet",
        "generator_width": 16,
        "blocks": 4 if tiny else 6,
        "discriminator_width": 32,
        "learning_rate": 4e-4,
        "ema_decay": 0.995,
        "workers": 0,  # the processors have enough to do
        "max_minutes": 60.0,
        "sample_every": 50 if tiny else 100,
        "measure_every": 250,
        "log_every": 10,
        **_sizes(_multiple_of_32(min(image_size, 128))),
    }


def _multiple_of_32(size: int) -> int:
    return max(32, size // 32 * 32)


def _sizes(crop: int) -> dict[str, int]:
    """Crop and the load size in the paper's proportion, 286 to 256."""
    return {"crop_size": crop, "load_size": round(crop * 286 / 256)}


def with_load_size(config: Config, given: Iterable[str]) -> Config:
    """The configuration with the load size that suits its crop size, where only that was among the settings given."""
    if "crop_size" not in given or "load_size" in given or config.data.preprocess != "resize_and_crop":
        return config
    return config.with_settings(**_sizes(config.data.crop_size))


def configure(preset: Literal["paper", "small", "fast"] = "paper", **settings: Any) -> Config:
    """A preset with single settings changed: ``configure("small", data="data/horse2zebra", max_minutes=60)``.

    Paths may be given as strings. With `init_from` the networks are those of that model or run. Raises `UsageError`
    for unknown or contradictory settings.
    """
    if preset not in PRESETS:
        raise UsageError(f"There is no preset named {preset!r}; there are {', '.join(PRESETS)}.")
    method = settings.get("method", "cyclegan")
    places = ("data", "a", "b", "runs", "init_from")
    paths = {n: Path(v) for n, v in settings.items() if n in places and v is not None}
    taken_over: dict[str, Any] = {}
    if "init_from" in paths:
        taken_over = read_model(paths["init_from"], generators_only=True).architecture
    known = preset_settings(preset, method) | taken_over | settings | paths
    return validate_method(with_load_size(Config().with_settings(**known), settings.keys()))


LOOKED_AT = 200  # images of each domain; reading a header takes less than a millisecond


def detect_environment(config: Config) -> tuple[dict[str, Any], str]:
    """The settings that suit the configured data and device, and a sentence that says what and why.

    Raises `UsageError` when there is no data to look at, or none of it can be read.
    """
    domains = find_data(config)
    sides = []
    for files in (domains.train.a, domains.train.b):
        for path in files[:: max(1, len(files) // LOOKED_AT)]:
            try:
                sides.append(min(image_size(path)))
            except UnreadableImage:
                continue
    if not sides:
        raise UsageError(f"None of the images beside {domains.train.a[0]} can be read.")
    around = Environment(round(statistics.median(sides)), gpu_memory(config.run.device))
    return automatic(around, config.loss.method)


def resolve_from_data(config: Config, domains: DataFiles) -> tuple[Config, list[str]]:
    """The configuration with ranges in numbers, and without an identity loss that cannot be; a sentence for each.

    Raises `UsageError` when the images of a domain have no range.
    """
    data, notes = resolve_percentile_ranges(config.data, domains.train)
    loss = config.loss
    if (
        "lambda_identity" in method_spec(loss.method).loss_settings
        and loss.lambda_identity > 0
        and data.channels_a != data.channels_b
    ):
        loss = replace(loss, lambda_identity=0.0)
        notes.append(
            f"The identity loss is off: it needs equal channels, and A has {data.channels_a}, B {data.channels_b}."
        )
    return replace(config, data=data, loss=loss), notes
