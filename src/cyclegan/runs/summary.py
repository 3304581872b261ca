"""A run in plain words: its data, its networks, its training."""

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclegan.config.schema import Config, DataConfig, Direction, NetworkConfig, OptimizerConfig
from cyclegan.data.layouts import DataFiles, SplitFiles
from cyclegan.data.select import find_data_if_present
from cyclegan.methods.registry import method_spec
from cyclegan.methods.specs import Counts, counted
from cyclegan.runs import results
from cyclegan.runs.checkpoint import latest_checkpoint
from cyclegan.runs.folder import read_run
from cyclegan.runs.metrics_files import read_metrics
from cyclegan.runs.model import read_model

_GENERATORS = {
    "resnet_9blocks": "ResNet with 9 blocks",
    "resnet_6blocks": "ResNet with 6 blocks",
    "unet_256": "U-Net with 8 levels",
    "unet_128": "U-Net with 7 levels",
    "unet_64": "U-Net with 6 levels",
}
_PREPROCESS = {
    "resize_and_crop": "resized to {load}×{load}, random {crop}×{crop} crops",
    "crop": "random {crop}×{crop} crops",
    "scale_width": "scaled to a width of {load}",
    "scale_width_and_crop": "scaled to a width of {load}, random {crop}×{crop} crops",
    "scale_shortside": "scaled to a shorter side of {load}",
    "scale_shortside_and_crop": "scaled to a shorter side of {load}, random {crop}×{crop} crops",
    "none": "at their own size",
}


def facts(
    run: Path, config: Config, domains: DataFiles | None, metrics: dict[str, list[float]], parameters: Sequence[int]
) -> list[tuple[str, str]]:
    """What there is to say of a run, as (heading, words); `parameters` are the generators' counts, 0 if unknown."""
    several = "s" if len(parameters) > 1 else ""
    found = [
        ("Data", _data(config, domains)),
        ("Seen as", _seen(config.data)),
        ("Trained", trained(run, metrics)),
        ("Speed", _speed(metrics)),
        (f"Generator{several}", _generators(config.networks, parameters)),
        (f"Discriminator{several}", _discriminators(config.networks)),
        ("Losses", method_spec(config.loss.method).describe_losses(config.loss)),
        ("Optimizer", _optimizer(config.optimizer, config.data.batch_size)),
    ]
    return [(heading, words) for heading, words in found if words]


def duration(minutes: float) -> str:
    """Minutes as people say them: "40 seconds", "5 minutes", "2 h 30 min"."""
    if minutes < 1.5:
        return counted(round(minutes * 60), "second")
    if minutes < 100:
        return counted(round(minutes), "minute")
    hours, rest = divmod(round(minutes), 60)
    return f"{hours:,} h {rest:02d} min"


def progress(run: Path) -> tuple[int, float] | None:
    """Steps and minutes of the run's last checkpoint; None when there is none or it cannot be read."""
    folder = latest_checkpoint(run)
    if folder is None:
        return None
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        return int(state["step"]), float(state["minutes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def trained(run: Path, metrics: dict[str, list[float]]) -> str:
    """How long the run was trained, by its last checkpoint, or by its metrics where there is none."""
    done = progress(run)
    if done is None and metrics:
        done = round(metrics["step"][-1]), metrics.get("minutes", [0.0])[-1]
    if done is None:
        return ""
    words = f"{counted(done[0], 'step')} in {duration(done[1])}"
    return words + (f", epoch {metrics['epoch'][-1]:.0f}" if metrics.get("epoch") else "")


def _data(config: Config, domains: DataFiles | None) -> str:
    if domains is None:
        return ""
    data, spec = config.data, method_spec(config.loss.method)
    place = f"{data.data.name}: " if data.data is not None else ""
    test = _counts(domains.test)
    kept = f"{spec.describe_test_set(test)} kept for testing" if any(test) else "no test set"
    return f"{place}{spec.describe_images(_counts(domains.train, data.max_images), domains.names)}; {kept}"


def _counts(domain: SplitFiles, most: int | None = None) -> Counts:
    return len(domain.a[:most]), len(domain.b[:most])


def _seen(data: DataConfig) -> str:
    words = _PREPROCESS[data.preprocess].format(load=data.load_size, crop=data.crop_size)
    return words[0].upper() + words[1:] + (", half of them mirrored" if data.flip else "")


def _speed(metrics: dict[str, list[float]]) -> str:
    if not metrics.get("images_per_second"):
        return ""
    words = f"{statistics.median(metrics['images_per_second']):.3g} images a second"
    return words + (f", at most {max(metrics['memory']):.1f} GiB of memory" if metrics.get("memory") else "")


def _generators(networks: NetworkConfig, parameters: Sequence[int]) -> str:
    blocks = counted(networks.blocks, "block")
    kinds = _GENERATORS | {"resnet": f"ResNet with {blocks}", "resnet_light": f"Light ResNet with {blocks}"}
    words = f"{kinds[networks.generator]}, width {networks.generator_width}"
    sizes = {_parameters(count) for count in parameters if count}
    each = " each" if len(parameters) > 1 else ""
    return words + (f", {sizes.pop()} parameters{each}" if len(sizes) == 1 else "")


def _parameters(count: int) -> str:
    return f"{count / 1e6:.3g} million" if count >= 1e6 else f"{round(count, -3):,}" if count >= 1e4 else f"{count:,}"


def _discriminators(networks: NetworkConfig) -> str:
    layers = counted(networks.discriminator_layers, "strided layer")
    kinds = {"basic": "70×70 PatchGAN", "n_layers": f"PatchGAN with {layers}", "pixel": "PixelGAN"}
    return f"{kinds[networks.discriminator]}, width {networks.discriminator_width}"


def _optimizer(optimizer: OptimizerConfig, batch: int) -> str:
    rates = {
        "linear": "constant, then falling linearly to zero",
        "step": f"a tenth after every {optimizer.step_epochs} epochs",
        "plateau": "falling when the loss stalls",
        "cosine": "falling as a cosine",
        "constant": "constant",
    }
    words = f"Adam, learning rate {optimizer.learning_rate:g}, {rates[optimizer.schedule]}; batches of {batch}"
    averaged = f"; generators averaged over steps ({optimizer.ema_decay:g})"
    return words + (averaged if optimizer.ema_decay else "")


def lead(config: Config, domains: DataFiles | None, done: tuple[int, float] | None) -> str:
    """The page's first sentence: what was learned from what, and how long."""
    spec = method_spec(config.loss.method)
    subject, back = spec.subject or spec.title, " and back" if len(spec.learned(config.loss)) > 1 else ""
    names = domains.names if domains is not None else ("A", "B")
    source, target = names if config.loss.direction == "AtoB" else names[::-1]
    source = source[:1].upper() + source[1:]
    images = ""
    if domains is not None:
        images = f" from {spec.describe_images(_counts(domains.train, config.data.max_images), names)}"
    if done is None:
        return f"{source} to be turned into {target}{back}: {subject} is to learn it{images}."
    long = f"{duration(done[1])} of training at {config.data.crop_size}×{config.data.crop_size} pixels"
    return f"{source} turned into {target}{back}: {subject} learned it{images}, in {long}."


@dataclass(frozen=True)
class RunSummary:
    """A run in words. `samples` are the newest sample grids by direction; without known truth `quality` is empty."""

    lead: str
    facts: tuple[tuple[str, str], ...]
    quality: tuple[str, ...]
    samples: dict[str, Path]


def summarize(run: Path) -> RunSummary:
    """The summary of a run folder, from what is stored in it. Raises `UsageError` for a folder that is not a run."""
    config = read_run(run)
    domains, _ = find_data_if_present(config)
    spec = method_spec(config.loss.method)
    directions = spec.learned(config.loss)
    model = read_model(run)
    generators = [spec.directions[d] for d in directions]
    parameters = [sum(w.numel() for w in model.network(f"generators.{name}").values()) for name in generators]
    grids = {d: sorted((run / "samples").glob(f"step-*-{d}.png")) for d in directions}
    return RunSummary(
        lead(config, domains, progress(run)),
        tuple(facts(run, config, domains, read_metrics(run / "metrics.csv"), parameters)),
        tuple(_quality(run, domains.names if domains is not None else ("A", "B"), directions)),
        {direction: found[-1] for direction, found in grids.items() if found},
    )


def _quality(run: Path, names: tuple[str, str], directions: Sequence[Direction]) -> Iterator[str]:
    """Quality against ground truth: what `cyclegan evaluate` stored, else the last measurement during training."""
    stored = {each.direction: each.figures for each in results.read(run / results.FILE)}
    during = read_metrics(run / "quality.csv")
    for direction in directions:
        source, target = names if direction == "AtoB" else names[::-1]
        figures = stored.get(direction, {})
        if "psnr" in figures and "ssim" in figures:
            p, s = figures["psnr"], figures["ssim"]
            images, untranslated = counted(p.images, "test image"), f"{p.untranslated:.1f} dB, {s.untranslated:.2f}"
            yield (
                f"{source} to {target}: PSNR {p.value:.1f} dB, SSIM {s.value:.2f} against ground truth on {images} "
                f"(untranslated input: {untranslated})."
            )
        elif f"psnr_{direction}" in during:
            p_last, s_last = during[f"psnr_{direction}"][-1], during[f"ssim_{direction}"][-1]
            yield f"{source} to {target}: PSNR {p_last:.1f} dB, SSIM {s_last:.2f} against ground truth."
