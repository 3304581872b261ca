"""Presets: settings that go together, by the name of a size, of a method, or of a machine.

`[C]` is the paper (Zhu et al., ICCV 2017), `[P]` pix2pix's (Isola et al., CVPR 2017), `[CUT]` CUT's (Park
et al., ECCV 2020), `[R]` the authors' PyTorch repository.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cyclegan.config import Config, MethodName, validated
from cyclegan.errors import UsageError

PresetName = Literal["auto", "paper", "small", "fast"]

PAPER: dict[str, Any] = {}

SMALL: dict[str, Any] = {
    "draft": True,
    "load_size": 143,
    "crop_size": 128,
    "generator": "resnet_6blocks",  # [C] 7.1: six blocks for 128x128 images
    "generator_width": 32,
    "discriminator_width": 32,
    "ema_decay": 0.999,
    "sample_every": 200,
}

FAST: dict[str, Any] = {
    "draft": True,
    "generator": "resnet_light",
    "generator_width": 32,
    "ema_decay": 0.999,
}

PRESETS: dict[str, dict[str, Any]] = {"paper": PAPER, "small": SMALL, "fast": FAST}

PIX2PIX: dict[str, Any] = {
    "generator": "unet_256",  # [P] 6.1.1
    "norm": "batch",
    "dropout": True,
    "dropout_at_test": True,  # [P] 3.1: the only noise there is
    "objective": "vanilla",
    "lambda_identity": 0.0,
    "pool_size": 0,
}
CUT: dict[str, Any] = {
    "antialias": True,
    "init": "xavier",
    "lambda_identity": 0.0,
    "pool_size": 0,
    "epochs": 200,
    "epochs_decay": 200,
}
FASTCUT = CUT | {
    "lambda_nce": 10.0,
    "nce_identity": False,
    "flip_equivariance": True,
    "epochs": 150,
    "epochs_decay": 50,
}
UNETS = {64: "unet_64", 128: "unet_128"}  # by the size of crops, where they are smaller than the paper's

# What a method's own paper sets differently from CycleGAN's, by `--method`.
METHOD_SETTINGS: dict[MethodName, dict[str, Any]] = {
    "cyclegan": {},
    "pix2pix": PIX2PIX,
    "colorization": PIX2PIX,  # [R]
    "cut": CUT,
    "fastcut": FASTCUT,
}


def preset_settings(preset: Literal["paper", "small", "fast"], method: MethodName) -> dict[str, Any]:
    """The settings of a preset for a method, which knows better where both have a word."""
    settings = PRESETS[preset] | METHOD_SETTINGS[method] | {"method": method}
    if settings.get("generator") == "unet_256":
        settings["generator"] = _unet(settings.get("crop_size", 256))
    return settings


@dataclass(frozen=True)
class Surroundings:
    """What the `auto` preset decides from."""

    image_size: int  # pixels, the median shorter side of the training images
    gpu_memory: float | None  # GiB of the device that will be used; None when that is the CPU


def automatic(around: Surroundings, method: MethodName) -> tuple[dict[str, Any], str]:
    """The settings that suit these images, this machine and the method, and a sentence that says what and why."""
    on_cpu = around.gpu_memory is None
    chosen = _for_cpu(around.image_size) if on_cpu else _for_gpu(around.image_size, around.gpu_memory or 0.0)
    settings = METHOD_SETTINGS[method] | chosen | {"method": method, "draft": True}
    if method in ("pix2pix", "colorization"):
        settings["generator"] = _unet(settings["crop_size"])
        if on_cpu:  # in short trainings, dropout only costs
            settings |= {"generator_width": 32, "dropout": False, "dropout_at_test": False}
    if method in ("cut", "fastcut") and on_cpu:
        if method == "fastcut":
            settings["lambda_nce"] = 0.5  # with 10, a short training only copies: the discriminator wins at once
        settings["nce_layers"] = f"0,4,8,12,{11 + settings['blocks']}"  # its encoder is shorter than the paper's
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


def _unet(size: int) -> str:
    """The smallest U-Net that fits crops of that size."""
    return next((name for side, name in UNETS.items() if size <= side), "unet_256")


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
    if method not in METHOD_SETTINGS:
        raise UsageError(f"There is no method named {method!r}; there are {', '.join(METHOD_SETTINGS)}.")
    places = ("data", "a", "b", "runs", "init_from")
    paths = {n: Path(v) for n, v in settings.items() if n in places and v is not None}
    taken_over: dict[str, Any] = {}
    if "init_from" in paths:
        from cyclegan.training.start import architecture

        taken_over = architecture(paths["init_from"])
    known = preset_settings(preset, method) | taken_over | settings | paths
    return validated(with_load_size(Config().with_settings(**known), settings.keys()))
