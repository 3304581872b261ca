"""A run summarized in words: data, networks, training and quality, from stored files."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclegan.config.schema import Config, DataConfig, Direction, NetworkConfig, OptimizerConfig
from cyclegan.data.layouts import DataFiles, SplitFiles
from cyclegan.data.select import find_data_if_present
from cyclegan.methods.registry import method_spec
from cyclegan.methods.specs import Counts
from cyclegan.networks.registry import DISCRIMINATORS, GENERATORS
from cyclegan.runs.checkpoint import latest_checkpoint, saved_domains
from cyclegan.runs.folder import read_run
from cyclegan.runs.metrics_files import read_metrics
from cyclegan.runs.model import read_model
from cyclegan.runs.results import EVALUATION_FILE, REPORT_FILE, quality_sentence, read_evaluations
from cyclegan.system.text import counted, format_duration

_PREPROCESS = {
    "resize_and_crop": "Resized to {load}×{load}, random {crop}×{crop} crops",
    "crop": "Random {crop}×{crop} crops",
    "scale_width": "Scaled to a width of {load}",
    "scale_width_and_crop": "Scaled to a width of {load}, random {crop}×{crop} crops",
    "scale_shortside": "Scaled to a shorter side of {load}",
    "scale_shortside_and_crop": "Scaled to a shorter side of {load}, random {crop}×{crop} crops",
    "none": "Original size",
}


def run_facts(
    run: Path, config: Config, domains: DataFiles | None, metrics: dict[str, list[float]], parameters: Sequence[int]
) -> list[tuple[str, str]]:
    """A run's facts as (heading, text); `parameters` are the parameter counts of the generators, 0 if unknown."""
    data, networks, plural = config.data, config.networks, "s" if len(parameters) > 1 else ""
    preprocessing = _PREPROCESS[data.preprocess].format(load=data.load_size, crop=data.crop_size)
    speed = ""
    if metrics.get("images_per_second"):
        speed = f"{statistics.median(metrics['images_per_second']):.3g} images per second"
        speed += f", peak memory {max(metrics['memory']):.1f} GiB" if metrics.get("memory") else ""
    discriminator = DISCRIMINATORS[networks.discriminator].describe(networks)
    facts = {
        "Data": _data_text(config, domains),
        "Preprocessing": preprocessing + _augmentation_text(data),
        "Trained": _training_text(run, metrics),
        "Speed": speed,
        f"Generator{plural}": _generator_text(networks, parameters),
        f"Discriminator{plural}": f"{discriminator}, width {networks.discriminator_width}",
        "Losses": method_spec(config.loss.method).describe_losses(config.loss) + _extra_losses_text(config),
        "Optimizer": _optimizer_text(config.optimizer, data.batch_size),
    }
    return [(heading, text) for heading, text in facts.items() if text]


def _augmentation_text(data: DataConfig) -> str:
    """How training images are changed at random."""
    words = ", random horizontal flips" if data.flip else ""
    words += ", vertical flips" if data.flip_vertical else ""
    words += ", rotations by 90°" if data.rotate else ""
    words += f", scaled by ± {data.scale_jitter:.0%}" if data.scale_jitter else ""
    if data.color_jitter_a or data.color_jitter_b:
        words += f", brightness and contrast ± {data.color_jitter_a:.0%} and {data.color_jitter_b:.0%}"
    return words


def _extra_losses_text(config: Config) -> str:
    """The losses of options that several methods have."""
    loss, words = config.loss, ""
    words += f", L1 × {loss.lambda_pairs:g} on pairs" if config.data.pairs is not None else ""
    words += f", adversarial × {loss.lambda_pairs_gan:g} on pairs" if loss.lambda_pairs_gan else ""
    words += f", L1 × {loss.lambda_keep:g} to the input {loss.keep_part} of the masks" if loss.masks == "loss" else ""
    words += f", the input pasted {loss.keep_part} of the masks" if loss.masks == "composite" else ""
    words += f", labels read in translations × {loss.lambda_labels:g}" if loss.labels else ""
    structure = loss.structure.replace("_", "-")
    return words + (f", structure ({structure}) × {loss.lambda_structure:g}" if loss.structure != "off" else "")


def saved_progress(path: Path) -> tuple[int, float] | None:
    """Steps and minutes of a checkpoint, or of a run's latest one; None if there is none or it is damaged."""
    folder = latest_checkpoint(path) or path
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        return int(state["step"]), float(state["minutes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _training_text(run: Path, metrics: dict[str, list[float]]) -> str:
    """Steps and duration of the training, from the latest checkpoint, or from the metrics without one."""
    progress = saved_progress(run)
    if progress is None and metrics:
        progress = round(metrics["step"][-1]), metrics.get("minutes", [0.0])[-1]
    if progress is None:
        return ""
    text = f"{counted(progress[0], 'step')} in {format_duration(progress[1])}"
    return text + (f", epoch {metrics['epoch'][-1]:.0f}" if metrics.get("epoch") else "")


def _data_text(config: Config, domains: DataFiles | None) -> str:
    if domains is None:
        return ""
    data, spec = config.data, method_spec(config.loss.method)
    folder = f"{data.data.name}: " if data.data is not None else ""
    pairs = f"; pairs of {data.pairs.name}" if data.pairs is not None else ""
    test = _counts(domains.test)
    held_out = f"{spec.describe_test_set(test)} held out for testing" if any(test) else "no test set"
    return f"{folder}{spec.describe_images(_counts(domains.train, data.max_images), domains.names)}{pairs}; {held_out}"


def _counts(domain: SplitFiles, limit: int | None = None) -> Counts:
    return len(domain.a[:limit]), len(domain.b[:limit])


def _generator_text(networks: NetworkConfig, parameters: Sequence[int]) -> str:
    text = f"{GENERATORS[networks.generator].describe(networks)}, width {networks.generator_width}"
    sizes = {
        f"{count / 1e6:.3g} million" if count >= 1e6 else f"{round(count, -3):,}" if count >= 1e4 else f"{count:,}"
        for count in parameters
        if count
    }
    return text + (f", {sizes.pop()} parameters{' each' if len(parameters) > 1 else ''}" if len(sizes) == 1 else "")


def _optimizer_text(optimizer: OptimizerConfig, batch_size: int) -> str:
    schedules = {
        "linear": "constant, then linear decay to zero",
        "step": f"divided by ten every {optimizer.step_epochs} epochs",
        "plateau": "reduced on plateau",
        "cosine": "cosine decay",
        "constant": "constant",
    }
    rate = f"{optimizer.learning_rate:g}"
    if optimizer.discriminator_learning_rate is not None:
        rate += f" and {optimizer.discriminator_learning_rate:g} for the discriminators"
    warmup = "warmup, " if optimizer.warmup else ""
    text = f"Adam, learning rate {rate} ({warmup}{schedules[optimizer.schedule]}), batch size {batch_size}"
    if optimizer.ema_horizon is not None:
        return text + f", EMA of the generators (over {optimizer.ema_horizon:.0%} of the run)"
    return text + (f", EMA of the generators (decay {optimizer.ema_decay:g})" if optimizer.ema_decay else "")


def run_domains(run: Path, found: DataFiles | None) -> tuple[str, str]:
    """The names of a run's domains: of its data, or without it of the latest checkpoint."""
    return saved_domains(latest_checkpoint(run)) if found is None else found.names


def headline(run: Path, config: Config, domains: DataFiles | None) -> str:
    """One sentence: what was learned, from which images, and how long."""
    spec, progress, names = method_spec(config.loss.method), saved_progress(run), run_domains(run, domains)
    source, target = names if config.loss.direction == "AtoB" else names[::-1]
    back = " and back" if len(spec.learned(config.loss)) > 1 else ""
    task = f"{source[:1].upper()}{source[1:]} to {target}{back}: {spec.subject or spec.title}"
    images = ""
    if domains is not None:
        images = f" on {spec.describe_images(_counts(domains.train, config.data.max_images), names)}"
    if progress is None:
        return f"{task}, not trained yet{images}."
    size = config.data.crop_size
    return f"{task}, trained for {format_duration(progress[1])}{images}, at {size}×{size} pixels."


@dataclass(frozen=True)
class RunSummary:
    """A run summarized in words."""

    headline: str
    facts: tuple[tuple[str, str], ...]
    quality: tuple[str, ...]  # a sentence per direction; empty without ground truth
    samples: dict[Direction, Path]  # newest sample grids


def summarize(run: Path) -> RunSummary:
    """The summary of a run folder. Raises `UsageError` for a folder that is not a run."""
    config = read_run(run)
    domains, _ = find_data_if_present(config)
    names = run_domains(run, domains)
    spec, model = method_spec(config.loss.method), read_model(run)
    directions = spec.learned(config.loss)
    networks = (model.network(f"generators.{spec.directions[direction]}") for direction in directions)
    parameters = [sum(weight.numel() for weight in network.values()) for network in networks]
    grids = {direction: sorted((run / "samples").glob(f"step-*-{direction}.png")) for direction in directions}
    return RunSummary(
        headline(run, config, domains),
        tuple(run_facts(run, config, domains, read_metrics(run / "metrics.csv"), parameters)),
        tuple(filter(None, (_quality_text(run, direction, names) for direction in directions))),
        {direction: found[-1] for direction, found in grids.items() if found},
    )


def _quality_text(run: Path, direction: Direction, names: tuple[str, str]) -> str:
    """Quality against ground truth from the newest evaluation or report, else from training; empty without any."""
    stored = [e for file in (REPORT_FILE, EVALUATION_FILE) for e in read_evaluations(run / file)]
    sentences = [(e.step or 0, quality_sentence(e)) for e in stored if e.direction == direction]
    if sentences:
        return max(sentences, key=lambda each: each[0])[1]
    training = read_metrics(run / "quality.csv")
    if f"psnr_{direction}" not in training or not training["step"][-1]:  # step 0: untranslated
        return ""
    source, target = names if direction == "AtoB" else names[::-1]
    psnr, ssim = training[f"psnr_{direction}"][-1], training[f"ssim_{direction}"][-1]
    return f"{source} to {target}: PSNR {psnr:.1f} dB, SSIM {ssim:.2f} against ground truth, measured during training."
