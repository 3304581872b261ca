"""The one loop, for every method. It knows no method's terms and no monitor by name."""

import math
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from cyclegan.config.schema import Config, Direction
from cyclegan.data.cache import ArrayCache, open_cache
from cyclegan.data.datasets import Batches, decode_specs, make_loader
from cyclegan.data.layouts import DataFiles
from cyclegan.data.samples import load_fixed_images
from cyclegan.data.select import find_training_data, make_dataset, preload, sample_rows
from cyclegan.diagnosis.diagnostics import Diagnostics
from cyclegan.errors import CycleGANError, explain_out_of_memory
from cyclegan.methods.registry import validate_method
from cyclegan.runs import checkpoint as checkpoints
from cyclegan.runs.folder import create_run_folder, lock_run, read_run, write_config
from cyclegan.runs.metrics_files import read_metrics
from cyclegan.runs.sample_grids import sample_grid
from cyclegan.system.machine import peak_memory
from cyclegan.system.signals import StopRequests
from cyclegan.training.distributed import each_for_itself, launch, on_first_process, together
from cyclegan.training.loggers import MetricsFile, SampleFiles, TensorBoard
from cyclegan.training.monitor import Monitor, MonitorList, TrainStatus
from cyclegan.training.online_loggers import online_monitors, require_extras
from cyclegan.training.quality import Quality
from cyclegan.training.schedule import Clock, progress
from cyclegan.training.setup import resolve_from_data, starting_weights
from cyclegan.training.step import Training

LONG_WAIT = 0.2  # share of the time that may pass in waiting for images without a word
SETTLED = 5.0  # minutes until waiting counts: at first there is much to decode
WAITING = (
    "{:.0%} of the time passes in waiting for images; raise --workers, or --cache-size if it is too small for them."
)
AGREE_EVERY = 10  # steps after which several processes ask each other whether to stop or to save


class Interrupted(CycleGANError):
    """A training that was asked to stop, and has saved. `exit_code` is 128 + the signal, as shells count."""

    shared = True

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number


def train(config: Config, *, monitors: Sequence[Monitor] = ()) -> Path:
    """Train from the beginning in a new run folder and return that folder.

    `monitors` are told what happens, beside ``metrics.csv``, ``samples/`` and TensorBoard. Raises `UsageError` for
    settings and data that cannot be trained on, `Interrupted` after Ctrl-C or SIGTERM, and `CycleGANError` when
    the loss is no longer finite, memory runs out or the disk is full; what was saved before stays.
    """
    config = validate_method(config)
    require_extras(config.run)
    domains = find_training_data(config)
    config, notes = resolve_from_data(config, domains)
    weights = starting_weights(config)
    fabric = launch(config)
    training = Training(config, fabric)
    training.start_with(weights)
    on_first_process(fabric, training.require_size_of_crops)
    run = on_first_process(fabric, lambda: create_run_folder(config))
    return _train(training, domains, run, monitors, notes)


def resume(
    run: str | Path, *, checkpoint: str | None = None, monitors: Sequence[Monitor] = (), **settings: Any
) -> Path:
    """Go on with a run from its last checkpoint, bit for bit as if it had never stopped, and return its folder.

    `checkpoint` names another one, such as "step-0001000". `settings` change single settings by name, such as
    ``max_minutes``. A run without a checkpoint starts over. Raises as `train`, and `UsageError` for a folder that is
    no run.
    """
    run = Path(run)
    config = read_run(run)
    paths = {n: Path(v).resolve() for n, v in settings.items() if n in ("data", "a", "b", "runs") and v is not None}
    config = validate_method(config.with_settings(**(_one_budget(settings) | _one_place(settings) | settings | paths)))
    require_extras(config.run)
    domains = find_training_data(config)
    found = checkpoints.find_checkpoint(run, checkpoint) if checkpoint else checkpoints.latest_checkpoint(run)
    fabric = launch(config)
    training = Training(config, fabric)
    if found is not None:
        _restore(training, found)
    else:
        training.start_with(starting_weights(config))
    return _train(training, domains, run, monitors)


def _one_budget(settings: dict[str, Any]) -> dict[str, None]:
    """A new budget of one kind takes the place of those of other kinds, which may be used up."""
    budgets = {"max_steps", "max_minutes"}
    given = settings.keys() & {*budgets, "epochs", "epochs_decay"}
    return dict.fromkeys(budgets - given) if given else {}


def _one_place(settings: dict[str, Any]) -> dict[str, None]:
    """Data that has moved to one folder is no longer in two, and the other way round."""
    if settings.get("data"):
        return {"a": None, "b": None}
    return {"data": None} if settings.get("a") or settings.get("b") else {}


def _restore(training: Training, found: Path) -> None:
    saved = checkpoints.load_checkpoint(found, training.fabric.global_rank)
    try:
        training.restore(saved)
    except (RuntimeError, KeyError, TypeError, ValueError, IndexError) as error:
        reason, other = str(error).splitlines()[0].rstrip(":."), checkpoints.other_checkpoint_hint(found)
        raise CycleGANError(f"{found} is damaged, or does not fit the run's config.toml ({reason}){other}.") from None


def _train(
    training: Training, domains: DataFiles, run: Path, monitors: Sequence[Monitor], notes: Sequence[str] = ()
) -> Path:
    fabric, settings = training.fabric, training.config.run
    held: list[FileLock] = []
    on_first_process(fabric, lambda: held.append(lock_run(run)))
    writers: list[Monitor] = [
        MetricsFile(),
        SampleFiles(),
        *([TensorBoard()] if settings.tensorboard else []),
        *online_monitors(settings),
    ]
    listeners = MonitorList([*writers, *monitors] if fabric.is_global_zero else [])
    try:
        on_first_process(fabric, lambda: write_config(training.config, run))
        listeners.call("on_start", run, training.step)
        for note in notes:
            listeners.message(note)
        advice = "lower --crop-size, --batch-size or --generator-width, or try --precision bf16-mixed"
        data = training.config.data
        with (
            each_for_itself(fabric),
            explain_out_of_memory(advice),
            open_cache(data.cache, round(data.cache_size * 2**30), str(run.resolve())) as cache,
        ):
            Loop(training, domains, run, listeners, cache).run()
    finally:
        listeners.call("on_end")
        for each in held:
            each.release()
    return run


class Loop:
    """The loop over a training's steps, and what is due between them."""

    def __init__(
        self, training: Training, domains: DataFiles, run: Path, monitors: MonitorList, cache: ArrayCache | None = None
    ):
        self.training, self.folder, self.monitors = training, run, monitors
        self.config, self.fabric = training.config, training.fabric
        data, optimizer = self.config.data, self.config.optimizer
        dataset = make_dataset(self.config, domains.train, cache)
        batches = Batches(
            len(dataset), data.batch_size, process=self.fabric.global_rank, processes=self.fabric.world_size
        )
        self.steps_per_epoch = -(-batches.per_epoch // optimizer.accumulate)
        if training.count_epochs_by(self.steps_per_epoch):
            monitors.message(
                f"An epoch has {self.steps_per_epoch} steps now, since images or processes are others than before; "
                f"the training goes on after {training.epochs():.1f} epochs."
            )
        epochs, self.since = training.origin
        batches.first = round(epochs * batches.per_epoch) + (training.step - self.since) * optimizer.accumulate
        self.images_per_step = 2 * data.batch_size * optimizer.accumulate * self.fabric.world_size
        self.broken: dict[str, str] = {}  # unreadable images of all processes, and what is to be said of them
        self.unread: dict[str, str] = {}  # those of this process that are not yet said
        self.advised: set[str] = set()  # matters on which advice was given
        self.batches = self._on_device(make_loader(dataset, batches))
        self.fixed = self._fixed_images(domains)
        self.quality = on_first_process(
            self.fabric, lambda: Quality(self.config, domains, training.method.spec.learned(self.config.loss))
        )
        self.diagnostics = (
            Diagnostics(self.config, domains) if self.quality.every and self.fabric.is_global_zero else None
        )
        if data.preload and self._share() < 1:
            behind = self.fabric.global_rank / self.fabric.world_size
            monitors.message(preload(dataset, behind, lambda *done: monitors.call("on_preload", *done)))
        self.clock = Clock(training.minutes, training.step)
        self.saved_at = training.step  # of a new training: there is nothing to save

    def run(self) -> None:
        """Train until the budget is used up, or until a signal asks to stop."""
        training, settings, clock = self.training, self.config.run, self.clock
        if self._share() >= 1:
            self.monitors.message(
                f"This training is done: {training.step} steps in {training.minutes:.0f} minutes. To train further, "
                "raise its budget with --max-minutes, --max-steps, --epochs or --epochs-decay."
            )
        with StopRequests(announce=self.fabric.is_global_zero) as stop, closing(self.batches):
            while (share := self._share()) < 1 and not self._stalled():
                rate = training.set_rate(share)
                training.train_step([self._next_batch() for _ in range(self.config.optimizer.accumulate)])
                stopping, saving = self._agree(stop.received, clock.since_save() >= settings.save_minutes)

                step = training.step
                progress = self._progress(rate)
                self.monitors.call("on_step", progress)
                if step % settings.log_every == 0:
                    self.monitors.call("on_losses", progress, self._means())
                    if progress.data_wait > LONG_WAIT and clock.session() > SETTLED:
                        self._advise("waiting", WAITING.format(progress.data_wait))
                    clock.logged(step)
                if step % settings.sample_every == 0 or step == 1:
                    self._show_samples(progress)
                if (step - self.since) % self.steps_per_epoch == 0:
                    training.end_epoch()
                if self.quality.due(step):
                    self._measure(progress)
                if saving or stopping or self._numbered_due():
                    self._save()
                if stopping:
                    self._count_broken()
                    raise Interrupted(f"Stopped and saved at step {step}. {self._go_on()}", stopping)
            if training.step > self.saved_at:
                if training.best is not None and not self.quality.due(training.step):
                    self._measure(self._progress(rate=0.0))
                self._save()
                if training.step % settings.sample_every:
                    self._show_samples(self._progress(rate=0.0))
            if self._stalled():
                self.monitors.message(
                    f"Stopped early: since step {training.best_step} no {self.quality.best_by.upper()} was better. "
                    "That checkpoint is checkpoints/best."
                )
        self._count_broken()

    def _share(self) -> float:
        return progress(
            self.training.step,
            self.training.epochs(),
            self.training.minutes,
            optimizer=self.config.optimizer,
            run=self.config.run,
        )

    def _agree(self, stopping: int, saving: bool) -> tuple[int, bool]:
        """Let all processes stop, save and count minutes alike, whichever of them was asked to."""
        minutes, unread = self.clock.minutes(), bool(self.unread)
        if self.fabric.world_size > 1:
            if self.training.step % AGREE_EVERY:
                return 0, False
            votes = torch.tensor([stopping, saving, minutes, unread], dtype=torch.float32, device=self.fabric.device)
            agreed: Any = self.fabric.all_reduce(votes, reduce_op="max")
            stopping, saving, minutes, unread = agreed.tolist()
        self.training.minutes = minutes
        if unread:
            self._name_broken()
        return int(stopping), bool(saving)

    def _progress(self, rate: float) -> TrainStatus:
        step = self.training.step
        return TrainStatus(
            step=step,
            epoch=1 + math.floor(self.training.epochs() - 0.5 / self.steps_per_epoch),
            progress=self._share(),
            minutes=self.training.minutes,
            images_per_second=self.clock.steps_per_second(step) * self.images_per_step,
            memory=peak_memory(self.fabric.device),
            learning_rate=rate,
            data_wait=self.clock.data_wait(),
        )

    def _means(self) -> dict[str, float]:
        """The mean of each loss term since the last row of metrics."""
        self._require_finite()
        rows, self.training.pending = self.training.pending, []
        return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}

    def _require_finite(self) -> None:
        """Raise `CycleGANError` when a loss or weight is no longer a number; nothing is saved then."""
        if self.training.settle() and self.training.is_finite():
            return
        kept = checkpoints.latest_checkpoint(self.folder)
        problem = CycleGANError(
            f"The loss is no longer finite at step {self.training.step}. "
            + (f"The last good checkpoint is kept in {kept}; " if kept else "There is no checkpoint yet; ")
            + "try a smaller --learning-rate, --clip-norm 1 or --precision 32-true, and start again."
        )
        problem.shared = True
        raise problem

    def _numbered_due(self) -> bool:
        every = self.config.run.checkpoint_epochs * self.steps_per_epoch
        return every > 0 and (self.training.step - self.since) % every == 0

    def _save(self) -> None:
        self._require_finite()
        saved = self.training.checkpoint()
        on_first_process(self.fabric, lambda: self._write(saved))
        self.clock.saved()
        self.saved_at = self.training.step

    def _write(self, saved: checkpoints.Checkpoint | None) -> None:
        assert saved is not None, "the first process has the checkpoint"
        folder = self.folder / "checkpoints"
        checkpoints.save_latest(saved, folder)
        if self._numbered_due():
            checkpoints.keep_numbered_copy(folder, self.training.step, self.config.run.keep)

    def _measure(self, status: TrainStatus) -> None:
        """Measure on the fixed test images, and keep the checkpoint if it is the best one."""
        method, generators = self.training.method, self.training.generators
        values = on_first_process(self.fabric, lambda: self.quality.measure(method, generators, self.fabric))
        self.monitors.call("on_quality", status, values)
        for sentence in on_first_process(self.fabric, lambda: self._run_diagnostics(status)):
            self.monitors.message(sentence)
        if self.training.judge(self.quality.score(values)):
            self._require_finite()
            saved = self.training.checkpoint()
            on_first_process(self.fabric, lambda: self._write_best(saved))

    def _run_diagnostics(self, status: TrainStatus) -> list[str]:
        assert self.diagnostics is not None, "the first process has one wherever quality is measured"
        method, generators = self.training.method, self.training.generators
        metrics = read_metrics(self.folder / "metrics.csv")
        with self.fabric.autocast():
            return self.diagnostics.check(method, generators, metrics, step=status.step, progress=status.progress)

    def _write_best(self, saved: checkpoints.Checkpoint | None) -> None:
        assert saved is not None, "the first process has the checkpoint"
        checkpoints.save_best(saved, self.folder / "checkpoints")

    def _stalled(self) -> bool:
        """Whether the quality has not grown for so long that the training shall end."""
        patience = self.config.run.patience
        return 0 < patience <= self.training.not_better

    def _go_on(self) -> str:
        return f"Go on with: cyclegan resume {self.folder}"

    def _show_samples(self, status: TrainStatus) -> None:
        if not self.fabric.is_global_zero:
            return
        generators, method = self.training.generators, self.training.method
        was_training = generators.training
        generators.eval()
        with torch.no_grad(), self.fabric.autocast():
            for direction, images in self.fixed.items():
                before, *truth = images
                pictures = method.pictures(generators, before, direction)
                if truth:
                    pictures["truth"] = truth[0]
                self.monitors.call(
                    "on_samples", status, direction, sample_grid({k: v.float() for k, v in pictures.items()})
                )
        generators.train(was_training)

    def _fixed_images(self, domains: DataFiles) -> dict[Direction, list[torch.Tensor]]:
        """A few images for each direction's sample grid, from the test set where there is one; of pairs, both."""
        data, count = self.config.data, self.config.run.samples
        fixed = {}
        for direction in self.training.method.spec.learned(self.config.loss):
            both = [decode_specs(data)[domain] for domain in direction.split("to")]
            images = load_fixed_images(sample_rows(self.config, domains, direction), count, data.crop_size, both)
            fixed[direction] = [each.to(self.fabric.device) for each in images]
        return {direction: images for direction, images in fixed.items() if images}

    def _next_batch(self) -> dict[str, Any]:
        with self.clock.waiting():
            return next(self.batches)

    def _advise(self, on: str, sentence: str) -> None:
        """One sentence on each matter is enough."""
        if on not in self.advised:
            self.advised.add(on)
            self.monitors.message(sentence)

    def _on_device(self, loader: Any) -> Generator[dict[str, Any], None, None]:
        for batch in loader:
            if batch.error is not None:
                raise batch.error
            self.unread |= {path: said for path, said in batch.unreadable.items() if path not in self.broken}
            if batch.cache_problem:
                self._advise("cache", batch.cache_problem)
            yield {domain: self.fabric.to_device(images) for domain, images in batch.images.items()}

    def _name_broken(self) -> None:
        """Name the images that any process could not read, each once. All processes must call it together."""
        for part in together(self.fabric, self.unread):
            for path, sentence in part.items():
                if path not in self.broken:
                    self.broken[path] = sentence
                    self.monitors.message(f"{sentence} It is left out.")
        self.unread = {}

    def _count_broken(self) -> None:
        self._name_broken()
        if self.broken:
            count = len(self.broken)
            self.monitors.message(f"{count} unreadable image{'s were' if count > 1 else ' was'} left out.")
