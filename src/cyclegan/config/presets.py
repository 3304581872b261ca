"""Presets: settings that go together, by the name of a size, of a method, or of a machine.

`[C]` is the paper (Zhu et al., ICCV 2017), `[P]` pix2pix's (Isola et al., CVPR 2017), `[CUT]` CUT's (Park
et al., ECCV 2020), `[R]` the authors' PyTorch repository.
"""

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

PRESETS: dict[str, dict[str, Any]] = {"paper": PAPER, "small": SMALL, "fast": FAST}
