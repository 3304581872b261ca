"""`cyclegan train --dry-run`: the resolved settings, and a forecast of time and memory."""

import time
from collections.abc import Callable
from contextlib import suppress

from rich import box
from rich.table import Table

from cyclegan.cli.console import output_console
from cyclegan.config.schema import SECTIONS, Config
from cyclegan.data.layouts import DataFiles
from cyclegan.errors import CycleGANError
from cyclegan.system.text import format_duration, format_seconds

MEASURED_STEPS = 3
SLOW_STEP = 2.0  # seconds of a first step on a CPU that is measurement enough
PATIENCE = 60.0  # minutes of a run on a CPU, above which shorter ones are suggested


def print_forecast(config: Config) -> None:
    """Print every setting with its source, the steps per epoch, and memory and time of steps measured here."""
    from cyclegan.runs.reference_files import export_obstacle

    console = output_console()
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", style="dim")
    for section in SECTIONS:
        table.add_section()
        for name, value in vars(getattr(config, section)).items():
            text = "not set" if value is None else " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            table.add_row(name, text, config.sources.get(name, "").partition(" (")[0])
    console.print(table)
    obstacle = export_obstacle(config)
    exportable = f"cannot write such a run. {obstacle}" if obstacle else "can write such a run for the authors' code."
    reasons = sorted({f"Settings from {source}." for source in config.sources.values() if " (" in source})
    for sentence in ["", *reasons, *_forecast(config), f"`cyclegan export-weights` {exportable}"]:
        console.print(sentence, markup=False)


def announce_length(config: Config, files: DataFiles, show: Callable[[str], None]) -> None:
    """Show how long a run is, and if that is set in epochs and runs on a CPU, the time that it takes, measured here."""
    from cyclegan.data.check.forecast import run_length, run_steps, steps_per_epoch
    from cyclegan.system.machine import find_device

    run, per_epoch = config.run, steps_per_epoch(config, files.train)
    show(f"Length: {run_length(config, per_epoch)}.")
    if run.max_minutes is not None or run.max_steps is not None or find_device(run.device).type != "cpu":
        return
    show("Measuring a step on this CPU ...")
    seconds, _ = _measure_steps(config)
    if seconds is None:
        return
    minutes = run_steps(config, per_epoch) * seconds / 60
    advice = " Set --max-minutes, or leave out --preset to train light networks for an hour." * (minutes > PATIENCE)
    show(f"A step takes about {format_seconds(seconds)}, and the run about {format_duration(minutes)}.{advice}")


def _forecast(config: Config) -> list[str]:
    from cyclegan.data.check.forecast import forecast, run_steps, steps_per_epoch
    from cyclegan.data.select import find_data

    train = find_data(config).train
    sentences = [*forecast(train, config)]
    seconds, memory = _measure_steps(config)
    if seconds is None:
        return [*sentences, "Time and memory are unknown: a step failed here, which training would report."]
    sentences.append(f"A step takes about {format_seconds(seconds)} and {memory:.1f} GiB, measured on random images.")
    per_epoch, minutes = steps_per_epoch(config, train), config.run.max_minutes
    steps = run_steps(config, per_epoch)
    if minutes is not None and (done := minutes * 60 / seconds) < steps:
        return [*sentences, f"{minutes:g} minutes are about {done:,.0f} steps ({done / per_epoch:.1f} epochs)."]
    duration = format_duration(steps * seconds / 60)
    return [*sentences, f"The run takes about {duration}, without measurements and saving."]


def _measure_steps(config: Config) -> tuple[float | None, float]:
    """Seconds of a step and peak memory in GiB, of random images at training size on one process."""
    import torch
    from lightning_fabric import Fabric

    from cyclegan.system.machine import peak_memory
    from cyclegan.training.distributed import silence_banners
    from cyclegan.training.step import TrainState, batch_shapes

    silence_banners()
    batch = {name: torch.rand(shape) * 2 - 1 for name, shape in batch_shapes(config).items()}
    with suppress(CycleGANError, RuntimeError, MemoryError):
        fabric = Fabric(accelerator=config.run.device, devices=1, precision=config.run.precision)
        state = TrainState(config, fabric)
        batches = [{domain: fabric.to_device(images) for domain, images in batch.items()}] * config.optimizer.accumulate
        start = time.perf_counter()
        state.train_step(batches)  # also allocates and compiles
        first = time.perf_counter() - start
        if fabric.device.type == "cpu" and first > SLOW_STEP:
            return first, peak_memory(fabric.device)
        start = time.perf_counter()
        for _ in range(MEASURED_STEPS):
            state.train_step(batches)
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / MEASURED_STEPS, peak_memory(fabric.device)
    return None, 0.0
