"""Presets: settings chosen together, by name or from the images and the GPU.

`[C]` is the paper (Zhu et al., ICCV 2017), `[P]` pix2pix's (Isola et al., CVPR 2017), `[CUT]` CUT's (Park
et al., ECCV 2020), `[R]` the authors' PyTorch repository.
"""

from dataclasses import dataclass
from typing import Any, Literal

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

PHOTOGRAPHS = 96  # pixels; images of this size and more are taken for photographs

# Of these generators on a CPU; docs/recipes.md has the measurements.
SHORT_RUN_GENERATORS = ("space_to_depth", "space_to_depth_photo", "recolor", "attention")
SHORT_RUN: dict[str, Any] = {
    "generator_width": 32,
    "blocks": 4,
    "discriminator": "dual",
    "detach_cycle": True,
    "learning_rate": 2e-3,
    "discriminator_learning_rate": 4e-4,
    "warmup": 0.02,
    "decay_from": 0.2,
    "clip_norm": 1.0,
    "ema_horizon": 0.04,
    "identity_until": 0.5,
}

PRESETS: dict[str, dict[str, Any]] = {"paper": PAPER, "small": SMALL, "fast": FAST}


@dataclass(frozen=True)
class Environment:
    """What the preset `auto` chooses by."""

    image_size: int  # pixels, the median shorter side of the training images
    gpu_memory: float | None  # GiB; None when training runs on the CPU
    has_features: bool = False  # whether a classifier is installed whose features fit the images' channels
    has_bfloat16: bool = False  # whether the GPU computes in bfloat16 at full speed
    close: bool = False  # whether the features of A and B differ little, as those of summer and autumn photographs do

    def __str__(self) -> str:
        device = "no GPU" if self.gpu_memory is None else f"GPU with {self.gpu_memory:.0f} GiB"
        device += " and bfloat16" if self.has_bfloat16 else ""
        return f"{device}, images of {self.image_size} pixels{', close domains' if self.close else ''}"


def auto_settings(environment: Environment, generator: str) -> dict[str, Any]:
    """The settings of the preset `auto`: the paper's networks on a GPU, light ones and an hour on a CPU.

    `generator` is the architecture on a CPU; the learning rate and its schedule depend on it.
    """
    size, memory = environment.image_size, environment.gpu_memory
    if memory is not None:
        crop = 256 if size >= 200 else _multiple_of_32(size)
        generator = "resnet_9blocks" if crop >= 200 else "resnet_6blocks"
        chosen = {"draft": True, "generator": generator, "ema_decay": 0.999, **sizes(crop)}
        # A step at 256x256 takes 2.7 GiB on a CPU, and GPUs need additional workspace.
        precision = "bf16-mixed" if environment.has_bfloat16 else "16-mixed" if memory < 4 else "32-true"
        return chosen | {"precision": precision}
    tiny, resized = size < PHOTOGRAPHS, sizes(_multiple_of_32(min(size, 128)))
    common: dict[str, Any] = {
        "draft": True,
        "generator": generator,
        "discriminator_width": 32,
        "workers": 0,  # the cores are busy with training
        "max_minutes": 60.0,
        "sample_every": 250,  # a grid of samples takes as long as four steps, a measurement as long as thirty
        "measure_every": 500,
        "log_every": 10,
        **resized,
    }
    if generator in SHORT_RUN_GENERATORS:
        not_enlarged = min(resized["load_size"], max(resized["crop_size"], size))
        chosen = common | SHORT_RUN | {"load_size": not_enlarged}
        if environment.has_features and not tiny:
            chosen["discriminator"] = "projected"
        if generator == "space_to_depth" and environment.close:
            chosen["generator"] = "recolor"
        elif generator == "space_to_depth" and chosen["discriminator"] == "projected":
            chosen["generator"] = "space_to_depth_photo"
        elif generator == "attention":  # masks that keep all have no identity loss, and many runs learned nothing else
            chosen["lambda_identity"] = 0.0
        return chosen
    own = {"generator_width": 16, "blocks": 4 if tiny else 6, "learning_rate": 4e-4, "ema_decay": 0.995}
    return common | own


def sizes(crop: int) -> dict[str, int]:
    """Crop and load size in the paper's proportion, 286 to 256."""
    return {"crop_size": crop, "load_size": round(crop * 286 / 256)}


def _multiple_of_32(size: int) -> int:
    return max(32, size // 32 * 32)
