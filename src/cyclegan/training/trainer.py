"""Training and resuming a run: the training loop. It names no method and no logger."""

import math
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cyclegan.config.schema import Config
from cyclegan.data.cache import ArrayCache, open_cache
from cyclegan.data.layouts import DataFiles
from cyclegan.data.select import find_training_data, make_dataset, require_data
from cyclegan.diagnosis.diagnose import Diagnostics
from cyclegan.errors import CycleGANError, explain_out_of_memory, first_line
from cyclegan.methods.registry import validate_method
from cyclegan.runs import checkpoint as checkpoints
from cyclegan.runs.folder import absolute_paths, create_run_folder, lock_run, read_run, restarted_run, write_config
from cyclegan.runs.metrics_files import NOT_FINITE, append_message, read_metrics
from cyclegan.runs.model import find_misfit
from cyclegan.runs.results import IMPROVE
from cyclegan.system.environment import record_environment
from cyclegan.system.machine import peak_memory
from cyclegan.system.signals import StopRequests
from cyclegan.system.text import counted, format_duration, quote
from cyclegan.training.display import displays
from cyclegan.training.distributed import independent_failures, launch, on_rank_zero
from cyclegan.training.loading import TrainLoader, refuse_loader_process
from cyclegan.training.loggers import build_loggers
from cyclegan.training.monitor import Monitor, MonitorList, TrainStatus
from cyclegan.training.quality import Quality
from cyclegan.training.samples import SampleImages
from cyclegan.training.schedule import Clock
from cyclegan.training.setup import resolve_batch_size, resolve_from_data, starting_weights
from cyclegan.training.step import TrainState

SYNC_EVERY = 10  # steps between synchronizations of stop requests, saves and minutes over several processes
SLOW_DATA = 0.2  # fraction of the time spent waiting for images that is worth a warning
WARM_UP = 5.0  # minutes without that warning, since the cache is filled first
SLOW_DATA_WARNING = (
    "{:.0%} of the time is spent waiting for images; raise --workers, or --cache-size if the cache is too small."
)
MEMORY_ADVICE = "lower --crop-size, --batch-size or --generator-width, or try --precision bf16-mixed"


class Interrupted(CycleGANError):
    """Training was interrupted by a signal and saved. `exit_code` is 128 + the signal's number, as in shells."""

    shared = True

    def __init__(self, message: str, signal_number: int, run: Path):
        super().__init__(message)
        self.run = run
        self.exit_code = 128 + signal_number


def train(
    config: Config, *, monitors: Sequence[Monitor] = (), progress: bool = True, files: DataFiles | None = None
) -> Path:
    """Train in a new run folder and return the folder.

    `monitors` receive losses, sample images and messages, in addition to the configured loggers and, with `progress`,
    to a display in the terminal or notebook. `files` are the images, if `find_training_data` has listed them already.
    Raises `UsageError` for invalid settings or data, `Interrupted` after Ctrl-C or SIGTERM, and `CycleGANError` when
    the loss is no longer finite, memory runs out or the disk is full. Checkpoints saved before an error are kept.
    """
    refuse_loader_process()
    if earlier := restarted_run(config):
        return resume(earlier, monitors=monitors, progress=progress)
    config = resolve_batch_size(validate_method(config))
    loggers = build_loggers(config.run.logger)
    domains = files or find_training_data(config)
    config, notes = resolve_from_data(config, domains)
    weights = starting_weights(config)
    config = absolute_paths(config)
    with independent_failures():
        state = TrainState(config, launch(config))
        state.init_from(weights)
        on_rank_zero(state.fabric, state.require_crop_size)
        run = on_rank_zero(state.fabric, lambda: create_run_folder(config))
        _run(state, domains, run, [*loggers, *monitors, *displays(progress)], notes)
    return run


def resume(
    run: str | Path,
    *,
    checkpoint: str | None = None,
    monitors: Sequence[Monitor] = (),
    progress: bool = True,
    **settings: Any,
) -> Path:
    """Resume a run from its latest checkpoint, bit for bit as if it had not stopped, and return its folder.

    `checkpoint` names another one, such as "step-0001000". `settings` are changed settings, such as ``max_minutes=60``.
    A run without a checkpoint starts over. Raises as `train`, and `UsageError` if `run` is not a run folder.
    """
    refuse_loader_process()
    run = Path(run)
    config = read_run(run)
    if not settings.keys() & {"data", "a", "b", "pairs"}:
        folders = "--data FOLDER" if config.data.data else "--a FOLDER --b FOLDER"
        require_data(config, run, f"cyclegan resume {quote(run)} {folders}")
    config = validate_method(_changed(config, settings))
    loggers = build_loggers(config.run.logger)
    domains = find_training_data(config)
    path = checkpoints.find_checkpoint(run, checkpoint) if checkpoint else checkpoints.latest_checkpoint(run)
    if path is not None and (misfit := find_misfit(config, path / "weights.safetensors", path / "ema.safetensors")):
        raise CycleGANError(f"{path} does not fit the run's config.toml: {misfit}.")
    with independent_failures():
        state = TrainState(config, launch(config))
        if path is None:
            state.init_from(starting_weights(config))
        else:
            _restore(state, path)
        _run(state, domains, run, [*loggers, *monitors, *displays(progress)])
    return run


def _changed(config: Config, settings: dict[str, Any]) -> Config:
    """A run's configuration with changed settings; a new budget or data folder replaces those of another kind."""
    replaced: dict[str, Any] = {}
    budgets = {"max_steps", "max_minutes"}
    if given := settings.keys() & {*budgets, "epochs", "epochs_decay"}:
        replaced = dict.fromkeys(budgets - given)
    if settings.get("data"):
        replaced |= {"a": None, "b": None}
    elif settings.get("a") or settings.get("b"):
        replaced |= {"data": None}
    folders = ("data", "a", "b", "pairs", "runs")
    paths = {n: Path(v).resolve() for n, v in settings.items() if n in folders and v is not None}
    config = replace(config, sources=config.sources | dict.fromkeys(replaced | settings, "resume"))
    return config.with_settings(**(replaced | settings | paths))


def _restore(state: TrainState, path: Path) -> None:
    saved = checkpoints.load_checkpoint(path, state.fabric.global_rank)
    try:
        state.restore(saved)
    except (RuntimeError, LookupError, TypeError, ValueError, OverflowError) as error:
        reason, other = first_line(error), checkpoints.other_checkpoint_hint(path)
        raise CycleGANError(f"{path} is damaged, or does not fit the run's config.toml ({reason}){other}.") from None


def _run(
    state: TrainState, domains: DataFiles, run: Path, monitors: Sequence[Monitor], notes: Sequence[str] = ()
) -> None:
    """Train in this run folder, which is locked meanwhile."""
    fabric, data = state.fabric, state.config.data
    listeners = MonitorList(monitors if fabric.is_global_zero else [])
    with ExitStack() as stack:

        def lock() -> None:
            stack.callback(lock_run(run).release)
            checkpoints.delete_leftovers(run)

        on_rank_zero(fabric, lock)
        stack.callback(listeners.call, "on_end")
        on_rank_zero(fabric, lambda: write_config(state.config, run))
        on_rank_zero(fabric, lambda: record_environment(run))
        listeners.call("on_start", run, state.step)
        for note in (*notes, *state.notes):
            listeners.message(note)
        stack.callback(torch.set_num_threads, torch.get_num_threads())  # which a training step may lower
        stack.enter_context(explain_out_of_memory(MEMORY_ADVICE))
        cache = stack.enter_context(open_cache(data.cache, round(data.cache_size * 2**30), str(run.resolve())))
        Trainer(state, domains, run, listeners, cache).run()


class Trainer:
    """The training loop, and what is due between steps: logging, sample images, quality, checkpoints."""

    def __init__(
        self, state: TrainState, domains: DataFiles, run: Path, monitors: MonitorList, cache: ArrayCache | None = None
    ):
        self.state, self.run_folder, self.monitors = state, run, monitors
        self.config, self.fabric = state.config, state.fabric
        data, accumulate = self.config.data, self.config.optimizer.accumulate
        self.loader = TrainLoader(self.config, self.fabric, make_dataset(self.config, domains.train, cache), monitors)
        batches_per_epoch = self.loader.sampler.per_epoch
        if state.set_epoch_length(-(-batches_per_epoch // accumulate)):
            monitors.message(
                f"The number of images or processes changed: an epoch now has {state.steps_per_epoch} steps; "
                f"training continues after {state.epochs():.1f} epochs."
            )
        epochs, step = state.epoch_origin
        self.loader.start_at(round(epochs * batches_per_epoch) + (state.step - step) * accumulate)
        self.images_per_step = 2 * data.batch_size * accumulate * self.fabric.world_size
        state.domains = domains.names
        self.samples = SampleImages(state, domains)
        directions = state.method.spec.learned(self.config.loss)
        self.quality = on_rank_zero(self.fabric, lambda: Quality(self.config, domains, directions))
        self.diagnostics = (
            Diagnostics(self.config, domains) if self.quality.every and self.fabric.is_global_zero else None
        )
        if data.preload and state.progress() < 1:
            self.loader.preload()
        self.clock = Clock(state.minutes, state.step)
        self.saved_step = state.step

    def run(self) -> None:
        """Train until the budget is used up, patience ends, or a signal arrives, which raises `Interrupted`."""
        state, settings, monitors, clock = self.state, self.config.run, self.monitors, self.clock
        if state.progress() >= 1:
            monitors.message(
                f"This run is complete: {counted(state.step, 'step')} in {format_duration(state.minutes)}. To train "
                "further, raise its budget with --max-minutes, --max-steps, --epochs or --epochs-decay."
            )
        if state.step == 0 and self.quality.subsets:  # the baseline is the first row of quality.csv
            baseline = on_rank_zero(self.fabric, lambda: self.quality.measure_untranslated(state))
            monitors.call("on_quality", self.status(learning_rate=0.0), baseline)
        with StopRequests(lambda: monitors.call("on_stop_requested")) as stop, closing(self.loader):
            while state.progress() < 1 and not self.is_out_of_patience():
                learning_rate = state.set_learning_rate()
                with clock.waiting():
                    batches = [next(self.loader) for _ in range(self.config.optimizer.accumulate)]
                state.train_step(batches)
                stop_signal, save = self.synchronize(stop.received, clock.minutes_since_save() >= settings.save_minutes)

                status = self.status(learning_rate)
                monitors.call("on_step", status)
                if state.step % settings.log_every == 0:
                    self.log_losses(status)
                if state.at_epoch_end():
                    state.end_epoch()
                with clock.excluded():
                    if state.step % settings.sample_every == 0 or state.step == 1:
                        self.log_samples(status)
                    if self.quality.due(state.step):
                        self.measure_quality(status)
                    if save or stop_signal or self.numbered_checkpoint_due():
                        self.save()
                if stop_signal:
                    self.report_unreadable_total()
                    raise Interrupted(
                        f"Stopped and saved at step {state.step}. "
                        f"Resume with: {quote('cyclegan', 'resume', self.run_folder)}",
                        stop_signal,
                        self.run_folder,
                    )
            if state.step > self.saved_step:
                self.finish(self.status(learning_rate=0.0))
            if self.is_out_of_patience():
                monitors.message(
                    f"Stopped early: {self.quality.best_by.upper()} has not improved since step {state.best_step}, "
                    "whose checkpoint is checkpoints/best."
                )
        self.report_unreadable_total()

    def synchronize(self, stop_signal: int, save: bool) -> tuple[int, bool]:
        """Agree over all processes on stopping, saving and the minutes of training; returns the first two.

        Unreadable images are reported here because that takes all processes too.
        """
        minutes, unreadable = self.clock.minutes(), bool(self.loader.unreported)
        if self.fabric.world_size > 1:
            if self.state.step % SYNC_EVERY:
                return 0, False
            mine = torch.tensor(
                [stop_signal, save, minutes, unreadable], dtype=torch.float32, device=self.fabric.device
            )
            agreed: Any = self.fabric.all_reduce(mine, reduce_op="max")
            stop_signal, save, minutes, unreadable = agreed.tolist()
        self.state.set_minutes(minutes)
        if unreadable:
            self.loader.report_unreadable()
        return int(stop_signal), bool(save)

    def status(self, learning_rate: float) -> TrainStatus:
        """Progress and speed after the current step."""
        state = self.state
        return TrainStatus(
            step=state.step,
            epoch=1 + math.floor(state.epochs() - 0.5 / state.steps_per_epoch),
            progress=state.progress(),
            minutes=state.minutes,
            images_per_second=self.clock.steps_per_second(state.step) * self.images_per_step,
            memory=peak_memory(self.fabric.device),
            learning_rate=learning_rate,
            data_wait=self.clock.data_wait(),
        )

    def log_losses(self, status: TrainStatus) -> None:
        """Log the mean losses since the last call, and warn once if loading images is slow."""
        self.require_finite()
        self.monitors.call("on_losses", status, self.state.pop_mean_losses())
        if status.data_wait > SLOW_DATA and self.clock.session_minutes() > WARM_UP:
            self.monitors.message(SLOW_DATA_WARNING.format(status.data_wait), once="slow data")
        self.clock.mark_logged(status.step)

    def log_samples(self, status: TrainStatus) -> None:
        """Translate the sample images, on the first process."""
        if self.fabric.is_global_zero:
            for direction, grid in self.samples.grids(self.state).items():
                self.monitors.call("on_samples", status, direction, grid)

    def measure_quality(self, status: TrainStatus) -> None:
        """Measure quality on the test images, run the diagnostics, and save checkpoints/best if it is the best."""
        values = on_rank_zero(self.fabric, lambda: self.quality.measure(self.state))
        self.monitors.call("on_quality", status, values)
        for sentence in on_rank_zero(self.fabric, lambda: self.run_diagnostics(status)):
            self.monitors.message(sentence)
        if self.state.update_best(self.quality.score(values)):
            self.require_finite()
            saved, best = self.state.checkpoint(), self.run_folder / "checkpoints" / checkpoints.BEST
            on_rank_zero(self.fabric, lambda: checkpoints.save_checkpoint(saved, best))

    def run_diagnostics(self, status: TrainStatus) -> list[str]:
        """A sentence for each new issue, on the first process."""
        assert self.diagnostics is not None, "the first process has diagnostics wherever quality is measured"
        state, metrics = self.state, read_metrics(self.run_folder / "metrics.csv")
        with self.fabric.autocast():
            evidence = self.diagnostics.collect(
                state.method, state.generators, metrics, step=status.step, progress=status.progress, thorough=False
            )
            return self.diagnostics.check(evidence)

    def is_out_of_patience(self) -> bool:
        """Whether quality has not improved for `patience` measurements."""
        return 0 < self.config.run.patience <= self.state.evals_without_improvement

    def numbered_checkpoint_due(self) -> bool:
        """Whether the last step completed `checkpoint_epochs` epochs."""
        return self.state.at_epoch_end(every=self.config.run.checkpoint_epochs)

    def save(self) -> None:
        """Save checkpoints/latest, and a numbered copy if one is due."""
        self.require_finite()
        saved, folder = self.state.checkpoint(), self.run_folder / "checkpoints"

        def write() -> None:
            checkpoints.save_checkpoint(saved, folder / checkpoints.LATEST)
            if self.numbered_checkpoint_due():
                checkpoints.keep_numbered_copy(folder, self.state.step, self.config.run.keep)

        on_rank_zero(self.fabric, write)
        self.clock.mark_saved()
        self.saved_step = self.state.step

    def require_finite(self) -> None:
        """Raise `CycleGANError` if a loss or weight is not finite, so that it is never saved."""
        self.state.reduce_losses()
        if self.state.is_finite():
            return
        kept = checkpoints.latest_checkpoint(self.run_folder)
        problem = CycleGANError(
            f"{NOT_FINITE} at step {self.state.step}. "
            + (f"The last good checkpoint is {kept}; " if kept else "There is no checkpoint yet; ")
            + "try a smaller --learning-rate, --clip-norm 1 or --precision 32-true, and start again."
        )
        if self.fabric.is_global_zero:
            with suppress(OSError):  # a full disk must not hide the problem
                append_message(self.run_folder / "messages.jsonl", self.state.step, str(problem))
        problem.shared = True
        raise problem

    def finish(self, status: TrainStatus) -> None:
        """Measure, save and show the final state, as far as the last step did not."""
        if self.state.best is not None and not self.quality.due(status.step):
            self.measure_quality(status)
        self.save()
        if status.step % self.config.run.sample_every:
            self.log_samples(status)
        if self.state.best is not None:
            baseline = on_rank_zero(self.fabric, lambda: self.quality.measure_untranslated(self.state))
            score, metric = self.quality.score(baseline), self.quality.best_by.upper()
            if self.state.best <= score:
                self.monitors.message(
                    f"checkpoints/best (step {self.state.best_step}) is no better than the untranslated input: "
                    f"{metric} {abs(self.state.best):.3g}, untranslated {abs(score):.3g}. {IMPROVE}"
                )

    def report_unreadable_total(self) -> None:
        """Report how many images were left out. All processes must call it."""
        self.loader.report_unreadable()
        if count := len(self.loader.reported):
            self.monitors.message(f"{count} unreadable image{'s were' if count > 1 else ' was'} left out.")
