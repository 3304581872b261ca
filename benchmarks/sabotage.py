"""Runs on the built-in data set, each sabotaged in one way, for testing the diagnosis.

Except for the sabotage, settings are those of the preset `auto` for a CPU. Each run takes one or two minutes on one
core.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageFilter, ImageOps

from cyclegan import train
from cyclegan.config.presets import Environment
from cyclegan.config.resolve import resolve
from cyclegan.data.get import seasons
from cyclegan.methods.registry import method_spec

SIZE, TRAIN, TEST = 64, 400, 32
FEW = 6  # images that a discriminator memorizes quickly


@dataclass(frozen=True)
class Sabotage:
    """The change as text, the issue that diagnosis should find ("" for none), and the settings that make it."""

    change: str
    issue: str
    steps: int
    data: str = "seasons"
    settings: dict[str, Any] = field(default_factory=dict)


NO_CYCLE = {"lambda_a": 0.0, "lambda_b": 0.0, "lambda_identity": 0.0}
SABOTAGES = {
    "healthy": Sabotage("nothing", "", 700),
    "rate": Sabotage("learning rate 0.02", "Learning rate too high", 300, settings={"learning_rate": 0.02}),
    "saturated": Sabotage(
        "initialization gain 0.5 instead of 0.02", "Saturated outputs", 150, settings={"init_gain": 0.5}
    ),
    "collapse": Sabotage(
        "U-Nets without cycle and identity loss", "Input ignored", 400, settings={"generator": "unet_64", **NO_CYCLE}
    ),
    "copy": Sabotage(
        "FastCUT with PatchNCE × 10", "Input copied", 300, settings={"method": "fastcut", "lambda_nce": 10.0}
    ),
    "won": Sabotage(
        "adversarial loss × 0.02", "Discriminator has won", 300, settings={"lambda_gan": 0.02, "lambda_identity": 0.0}
    ),
    "inverted": Sabotage(
        "winter as negatives, no identity loss", "Colors inverted", 500, "inverted", {"lambda_identity": 0.0}
    ),
    "permuted": Sabotage(
        "winter's channels permuted, no identity loss", "Channels permuted", 700, "permuted", {"lambda_identity": 0.0}
    ),
    "framing": Sabotage("winter zoomed in three times", "Domains framed differently", 200, "nearer"),
    "hidden": Sabotage(
        "winter blurred to flat color, cycle loss × 30",
        "Information hidden",
        700,
        "flat",
        {"lambda_a": 30.0, "lambda_identity": 0.0},
    ),
    "overfit": Sabotage(
        f"{FEW} images of each season, uncropped",
        "Discriminator overfits",
        300,
        "few",
        {"discriminator_width": 64, "load_size": SIZE, "flip": False},
    ),
    "identity": Sabotage("identity loss × 20", "Identity loss too strong", 300, settings={"lambda_identity": 20.0}),
    "checkerboard": Sabotage(
        "initialization gain 0.1, no EMA, 160 steps",
        "Checkerboard",
        160,
        settings={"init_gain": 0.1, "ema_decay": 0.0},
    ),
    "no-history": Sabotage("no history", "History too small", 300, settings={"pool_size": 0}),
    "large-history": Sabotage("history of 2,000", "History too large", 300, settings={"pool_size": 2000}),
    "early": Sabotage("40 steps", "Ended too early", 40),
}

CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {  # of the winter images
    "inverted": ImageOps.invert,
    "permuted": lambda image: Image.merge("RGB", (image.split() * 2)[1:4]),
    "flat": lambda image: image.filter(ImageFilter.GaussianBlur(SIZE / 2)),
    "nearer": lambda image: image.crop((22, 26, 42, 46)).resize((SIZE, SIZE), Image.Resampling.BICUBIC),
}


def train_sabotaged(name: str, seed: int, folder: Path) -> Path:
    """Train a sabotaged run in a folder unless it is complete, and return its run folder."""
    sabotage = SABOTAGES[name]
    run = folder / "runs" / f"{name}-{seed}"
    if (run / "checkpoints" / "latest").exists():
        return run
    shutil.rmtree(run, ignore_errors=True)
    method = method_spec(sabotage.settings.get("method", "cyclegan"))
    given = {"data": data_for(sabotage.data, folder), "runs": folder / "runs", "name": run.name, "seed": seed}
    quiet = {"device": "cpu", "logger": (), "sample_every": sabotage.steps, "generator": "resnet"}
    settings = quiet | given | sabotage.settings | {"max_steps": sabotage.steps}
    return train(resolve("auto", method, settings, environment=Environment(SIZE, gpu_memory=None)))


def data_for(kind: str, folder: Path) -> Path:
    """The data folder of a kind of seasons, written if it does not exist."""
    plain, changed = folder / "data" / "seasons", folder / "data" / kind
    if not plain.exists():
        seasons.write_seasons(plain, size=SIZE, train=TRAIN, test=TEST)
    if changed.exists():
        return changed
    newer = changed.with_suffix(".newer")
    shutil.rmtree(newer, ignore_errors=True)
    for part in ("trainA", "trainB", "testA", "testB"):
        (newer / part).mkdir(parents=True)
        files = sorted((plain / part).iterdir())
        for file in files[:FEW] if kind == "few" and part.startswith("train") else files:
            with Image.open(file) as image:
                change = CHANGES.get(kind) if part.endswith("B") else None
                # With different names the test scenes are not pairs, so diagnosis has no ground truth.
                name = f"changed-{file.name}" if change else file.name
                (change(image.convert("RGB")) if change else image).save(newer / part / name)
    newer.rename(changed)
    return changed
