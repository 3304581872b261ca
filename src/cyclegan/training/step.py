"""One training step of any method, and the state that a step changes and a checkpoint keeps."""

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cyclegan.config.schema import Config
from cyclegan.config.toml import to_toml
from cyclegan.errors import CycleGANError, OutOfMemory
from cyclegan.methods.method import Batch, Images, Method, Terms, build_method, network_shapes, total
from cyclegan.networks import winograd
from cyclegan.networks.layers import require_size
from cyclegan.runs.checkpoint import Checkpoint, flatten_optimizer_states, unflatten_optimizer_states
from cyclegan.system.machine import cpu_has_bfloat16, free_memory
from cyclegan.training.acceleration import compile_networks, runs_channels_last, set_math_modes, slow_precision
from cyclegan.training.distributed import gather_on_rank_zero
from cyclegan.training.schedule import budget_progress, scheduled_factor

COPIES = 4  # of each parameter while training: the weight, its gradient, and Adam's two moments


class TrainState:
    """Networks, optimizers, averaged generators and counters of a run."""

    def __init__(self, config: Config, fabric: Fabric):
        self.config, self.fabric = config, fabric
        _require_memory(config, fabric.device)
        torch.manual_seed(config.run.seed)
        self.method = build_method(config, seed=config.run.seed * 1000 + fabric.global_rank)
        winograd.set_winograd(self.method, config.run.winograd)
        set_math_modes(fabric.device, config)
        last = runs_channels_last(config, fabric.device)
        self.memory_format = torch.channels_last if last else torch.contiguous_format
        self.method.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.method.to(fabric.device)
        self.sides: list[Any] = [fabric.setup_module(side) for side in _sides(self.method)]
        self.method.threads_per_part = torch.get_num_threads() // 2 if self._may_run_concurrently() else 0
        slow = slow_precision(config.run.precision, fabric.device, cpu_has_bfloat16())
        self.notes: list[str] = [slow] if slow else []  # sentences for the user about what was set up
        if config.run.compile:
            crops = {name: torch.zeros(shape, device=fabric.device) for name, shape in batch_shapes(config).items()}
            problem = compile_networks(self.method, crops)
            self.notes += [problem] if problem else []
        averages = config.optimizer.ema_decay or config.optimizer.ema_horizon
        self.ema = EMA(self.method.generators) if averages else None
        self.optimizers: list[Any] = [
            fabric.setup_optimizers(self._adam(self.method.generator_parameters())),
            fabric.setup_optimizers(self._adam(self.method.discriminators.parameters())),
        ]
        self.plateau = ReduceLROnPlateau(self.optimizers[0].optimizer, factor=0.2, threshold=0.01, patience=5)
        torch.manual_seed(config.run.seed * 1000 + fabric.global_rank)
        self.step = 0
        self.minutes = 0.0  # of training, earlier sessions included
        self.domains = ("A", "B")  # their names
        self.epoch_origin = (0.0, 0)  # epochs and steps completed when the number of steps per epoch last changed
        self.steps_per_epoch = 0  # unknown
        self.unreduced_losses: list[Terms] = []  # of the latest steps, still on the device
        self.generator_terms: tuple[str, ...] = ()  # names of the generators' loss terms
        self.unlogged_losses: list[dict[str, float]] = []  # of the steps since the last row of metrics.csv
        self.epoch_loss = [0.0, 0.0]  # sum of the generators' losses in this epoch, and number of steps
        self.best: float | None = None  # highest quality score
        self.best_step = 0
        self.evals_without_improvement = 0

    def _adam(self, parameters: Iterator[nn.Parameter]) -> torch.optim.Adam:
        settings = self.config.optimizer
        # Fused Adam is faster, but unscales 16-bit gradients in its step, which is too late for clipping.
        fused = self.fabric.device.type in ("cpu", "cuda") and self.config.run.precision != "16-mixed"
        return torch.optim.Adam(parameters, settings.learning_rate, betas=(settings.beta1, settings.beta2), fused=fused)

    # The step

    def train_step(self, batches: Sequence[Batch]) -> None:
        """One optimizer step of the generators and one of the discriminators, both on the same generated images.

        With several batches, gradients are accumulated, and averaged over the processes with the last batch only.
        """
        self.method.progress = self.progress()
        batches = [{name: self._laid_out(each) for name, each in batch.items()} for batch in batches]
        if self.method.discriminators_first:
            images = [self.sides[0]("generate", batch) for batch in batches]
            d_terms = self._step_discriminators(batches, images)
            g_terms, _ = self._step_generators(batches, images)
        else:
            g_terms, images = self._step_generators(batches)
            d_terms = self._step_discriminators(batches, images)

        self.step += 1
        self.generator_terms = tuple(g_terms[0])
        rows = [g | d for g, d in zip(g_terms, d_terms, strict=True)]
        means = {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}
        self.unreduced_losses.append(means | self.method.extra_metrics())
        if self.fabric.device.type == "cpu" and self.fabric.world_size == 1:
            self.reduce_losses()

    def _may_run_concurrently(self) -> bool:
        """Whether parts of a step may run side by side: on one CPU, without random numbers within a step."""
        config, fabric = self.config, self.fabric
        random = config.networks.dropout or config.loss.augment != "off" or config.loss.objective == "wgangp"
        return fabric.device.type == "cpu" and fabric.world_size == 1 and not (random or config.run.compile)

    def _laid_out(self, each: Tensor) -> Tensor:
        """Images in the networks' memory format; labels and noise as they are."""
        return each.contiguous(memory_format=self.memory_format) if each.dim() == 4 else each

    def _step_generators(
        self, batches: Sequence[Batch], images: Sequence[Images] | None = None
    ) -> tuple[list[Terms], list[Images]]:
        """Forward (unless `images` are given), loss, backward, step; returns loss terms and images, detached."""
        all_terms, all_images = [], []
        self.method.discriminators.requires_grad_(False)
        for i, batch in enumerate(batches):
            with self.fabric.no_backward_sync(self.sides[0], enabled=i + 1 < len(batches)):
                generated = self.sides[0]("generate", batch) if images is None else images[i]
                terms = self.sides[0]("generators_loss", batch, generated)
                self._backward(terms, len(batches))
            all_terms.append(detached(terms))
            all_images.append(detached(generated))
        self._optimizer_step(0)
        self.method.discriminators.requires_grad_(True)
        if self.ema is not None:
            self.ema.update(self.method.generators, self.ema_decay())
        return all_terms, all_images

    def ema_decay(self) -> float:
        """The decay of the generators' average in this step; with `ema_horizon`, 1 - 1/(steps of that fraction)."""
        horizon = self.config.optimizer.ema_horizon
        if horizon is None:
            return self.config.optimizer.ema_decay
        return max(0.0, 1 - self.progress() / (horizon * max(1, self.step)))

    def _step_discriminators(self, batches: Sequence[Batch], images: Sequence[Images]) -> list[Terms]:
        """Loss, backward, step on these generated images; returns the loss terms, detached."""
        all_terms = []
        for i, (batch, generated) in enumerate(zip(batches, images, strict=True)):
            with self.fabric.no_backward_sync(self.sides[1], enabled=i + 1 < len(batches)):
                terms = self.sides[1]("discriminators_loss", batch, generated)
                self._backward(terms, len(batches))
            all_terms.append(detached(terms))
        self._optimizer_step(1)
        return all_terms

    def _backward(self, terms: Terms, batches: int) -> None:
        """Accumulate the gradients of the mean over the batches."""
        losses = self.method.independent_losses(terms) if self.method.threads_per_part else [total(terms)]
        self.method.parts(*(partial(self.fabric.backward, loss / batches) for loss in losses))

    def _optimizer_step(self, side: int) -> None:
        optimizer, norm = self.optimizers[side], self.config.optimizer.clip_norm
        if norm is not None:
            self.fabric.clip_gradients(self.sides[side], optimizer, max_norm=norm, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad()

    # Losses

    def reduce_losses(self) -> None:
        """Average the latest steps' losses over the processes and move them to the CPU. All processes must call it.

        It is not part of the step, so that a GPU is not synchronized at every step.
        """
        unreduced, self.unreduced_losses = self.unreduced_losses, []
        for terms in unreduced:
            values: Any = self.fabric.all_reduce(torch.stack(list(terms.values())), reduce_op="mean")
            self.unlogged_losses.append(dict(zip(terms, values.tolist(), strict=True)))
            self.epoch_loss[0] += sum(self.unlogged_losses[-1][name] for name in self.generator_terms)
            self.epoch_loss[1] += 1

    def pop_mean_losses(self) -> dict[str, float]:
        """The mean of each reduced loss term since the last call."""
        rows, self.unlogged_losses = self.unlogged_losses, []
        return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}

    def is_finite(self) -> bool:
        """Whether the reduced losses and all weights are finite."""
        losses = (value for row in self.unlogged_losses for value in row.values())
        return all(map(math.isfinite, losses)) and all(bool(p.isfinite().all()) for p in self.method.parameters())

    # Progress

    def epochs(self) -> float:
        """Completed epochs."""
        epochs, step = self.epoch_origin
        return epochs + (self.step - step) / (self.steps_per_epoch or 1)

    def progress(self) -> float:
        """Completed fraction of the run's budget, 0 to 1."""
        config = self.config
        return budget_progress(self.step, self.epochs(), self.minutes, optimizer=config.optimizer, run=config.run)

    def set_epoch_length(self, steps: int) -> bool:
        """Set the number of steps per epoch; returns whether it changed since the checkpoint."""
        changed = self.steps_per_epoch not in (0, steps)
        if changed:
            self.epoch_origin = (self.epochs(), self.step)
        self.steps_per_epoch = steps
        return changed

    def at_epoch_end(self, every: int = 1) -> bool:
        """Whether the last step completed an epoch whose number is a multiple of `every`; never for 0."""
        return every > 0 and (self.step - self.epoch_origin[1]) % (every * self.steps_per_epoch) == 0

    def end_epoch(self) -> None:
        """Update the "plateau" schedule with the generators' mean loss in the epoch. All processes must call it."""
        self.reduce_losses()
        loss, steps = self.epoch_loss
        self.epoch_loss = [0.0, 0.0]
        if self.config.optimizer.schedule == "plateau" and math.isfinite(loss):
            self.plateau.step(loss / steps)

    def set_learning_rate(self) -> float:
        """Set both optimizers' learning rate for the next step, and return that of the generators."""
        optimizer = self.config.optimizer
        if optimizer.schedule == "plateau":
            rate = self.optimizers[0].param_groups[0]["lr"]
        else:
            factor = scheduled_factor(self.progress(), self.epochs(), optimizer=optimizer, run=self.config.run)
            rate = optimizer.learning_rate * factor
        ratio = (optimizer.discriminator_learning_rate or optimizer.learning_rate) / optimizer.learning_rate
        for each, own in zip(self.optimizers, (rate, rate * ratio), strict=True):
            for group in each.param_groups:
                group["lr"] = own
        return float(rate)

    def set_minutes(self, minutes: float) -> None:
        """Set the training time, which all processes must agree on because budgets depend on it."""
        self.minutes = minutes

    def update_best(self, score: float) -> bool:
        """Record the quality score of this step, higher is better; returns whether it is the best so far."""
        if self.best is not None and not score > self.best:
            self.evals_without_improvement += 1
            return False
        self.best, self.best_step, self.evals_without_improvement = score, self.step, 0
        return True

    # Generators

    @property
    def generators(self) -> nn.ModuleDict:
        """The generators to evaluate and to export: the averaged ones with EMA."""
        return self.ema.generators if self.ema is not None else self.method.generators

    @contextmanager
    def evaluating(self) -> Iterator[nn.ModuleDict]:
        """`generators` in evaluation mode, without gradients and in the run's precision."""
        was_training = self.generators.training
        self.generators.eval()
        with torch.no_grad(), self.fabric.autocast():
            yield self.generators
        self.generators.train(was_training)

    def init_from(self, weights: Mapping[str, Tensor]) -> None:
        """Load the networks in `weights`, named as in the method's state dict; the others keep their initial weights.

        Raises `CycleGANError` for an incomplete network or weights of another shape.
        """
        own = self.method.state_dict()
        given = {tuple(name.split(".")[:2]) for name in weights}
        missing = [name for name in own if name not in weights and tuple(name.split(".")[:2]) in given]
        try:
            self.method.load_state_dict({**own, **weights})
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise CycleGANError(f"--init-from: the weights do not fit the networks ({reason}).") from None
        if missing:
            raise CycleGANError(f"--init-from: the weights are incomplete; {missing[0]} is missing.")
        if self.ema is not None:
            self.ema.generators.load_state_dict(self.method.generators.state_dict())

    def require_crop_size(self) -> None:
        """Raise `UsageError` when the training crops are too small for a discriminator."""
        data = self.config.data
        if data.preprocess.endswith("crop"):
            for network in self.method.discriminators.values():
                crop = torch.empty(1, 1, data.crop_size, data.crop_size, device="meta")
                require_size(crop, getattr(network, "min_size", 1), "The discriminator")

    # Checkpoints

    def checkpoint(self) -> Checkpoint:
        """The state for an exact resume. All processes must call it; only the first has the others' parts."""
        parts = gather_on_rank_zero(self.fabric, self._process_state())
        tensors, groups = flatten_optimizer_states([o.state_dict() for o in self.optimizers])
        return Checkpoint(
            config_toml=to_toml(self.config),
            weights=self.method.state_dict(),
            ema=None if self.ema is None else self.ema.generators.state_dict(),
            optimizers=tensors,
            processes=[tensors for tensors, _ in parts],
            state={
                "step": self.step,
                "minutes": self.minutes,
                "domains": self.domains,
                "epoch_origin": self.epoch_origin,
                "steps_per_epoch": self.steps_per_epoch,
                "processes": len(parts),
                "rng": [rng for _, rng in parts],
                "ema_updates": 0 if self.ema is None else self.ema.updates,
                "unlogged_losses": self.unlogged_losses,
                "epoch_loss": self.epoch_loss,
                "best": [self.best, self.best_step, self.evals_without_improvement],
                "plateau": {k: v for k, v in self.plateau.state_dict().items() if isinstance(v, int | float)},
                "optimizers": groups,
                "precision": self.fabric.strategy.precision.state_dict(),
            },
        )

    def restore(self, saved: Checkpoint) -> None:
        """Restore the state that `checkpoint` returned, with this process's part if it has one."""
        state = saved.state
        self.method.load_state_dict(saved.weights)
        if self.ema is not None and saved.ema is not None:
            self.ema.generators.load_state_dict(saved.ema)
            self.ema.updates = state["ema_updates"]
        optimizer_states = unflatten_optimizer_states(saved.optimizers, state["optimizers"])
        for optimizer, values in zip(self.optimizers, optimizer_states, strict=True):
            optimizer.load_state_dict(values)
            _match_memory(optimizer)
        self.step, self.minutes = state["step"], state["minutes"]
        self.epoch_origin, self.steps_per_epoch = tuple(state["epoch_origin"]), state["steps_per_epoch"]
        self.unlogged_losses, self.epoch_loss = state["unlogged_losses"], state["epoch_loss"]
        self.best, self.best_step, self.evals_without_improvement = state["best"]
        self.plateau.load_state_dict(state["plateau"])
        if state["precision"]:
            self.fabric.strategy.precision.load_state_dict(state["precision"])
        if saved.processes:
            self._restore_process(saved.processes[0], state["rng"][self.fabric.global_rank])

    def _process_state(self) -> tuple[dict[str, Tensor], Any]:
        """What differs between processes: image histories and random states."""
        tensors = {
            f"history.{domain}.{i}": image.cpu()
            for domain, history in self.method.histories.items()
            for i, image in enumerate(history.images)
        }
        tensors["random.cpu"] = torch.get_rng_state()
        if self.fabric.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        return tensors, self.method.rng.getstate()

    def _restore_process(self, tensors: dict[str, Tensor], rng: Any) -> None:
        for domain, history in self.method.histories.items():
            count = sum(name.startswith(f"history.{domain}.") for name in tensors)
            history.images = [
                tensors[f"history.{domain}.{i}"].to(self.fabric.device) for i in range(min(count, history.size))
            ]
        version, numbers, gauss = rng
        self.method.rng.setstate((version, tuple(numbers), gauss))
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])


def batch_shapes(config: Config) -> dict[str, tuple[int, int, int, int]]:
    """The shapes (N, C, H, W) of a training batch's images by domain, and of its pairs."""
    data = config.data
    channels = {"A": data.channels_a, "B": data.channels_b}
    if data.pairs is not None:
        channels |= {f"pairs_{domain}": count for domain, count in channels.items()}
    return {name: (data.batch_size, count, data.crop_size, data.crop_size) for name, count in channels.items()}


class _Side(nn.Module):
    """The networks that one side's loss trains; several processes average the gradients of exactly these."""

    def __init__(self, method: Method, networks: Iterable[nn.Module]):
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self._function = partial(getattr, method)  # an attribute would register all networks

    def forward(self, name: str, *args: Any) -> Any:
        """Call the method's function of that name."""
        return self._function(name)(*args)


def _sides(method: Method) -> tuple[_Side, _Side]:
    """The generators' side and the discriminators'; buffers of augmentations are synchronized with both."""
    learning = set(method.generator_parameters())
    generators = [each for each in method.children() if not learning.isdisjoint(each.parameters())]
    shared = method.augmentations
    return _Side(method, [*generators, shared]), _Side(method, [method.discriminators, shared])


def _require_memory(config: Config, device: torch.device) -> None:
    """Raise `OutOfMemory` for networks that cannot fit, which a system that overcommits memory would kill later."""
    parameters = sum(shape.numel() for shape in network_shapes(config).values())
    needed, free = parameters * 4 * (COPIES if device.type == "cpu" else 1), free_memory()
    if needed > free:
        raise OutOfMemory(
            f"The networks have {parameters / 1e6:,.0f} million parameters, which take {needed / 2**30:,.0f} GiB to "
            f"train, but {free / 2**30:,.1f} GiB are free; lower --generator-width or --discriminator-width."
        )


def _match_memory(optimizer: torch.optim.Optimizer) -> None:
    """Lay out what the optimizer keeps for a parameter as the parameter, whose memory a fused step walks along."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter).copy_(value)


def detached(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without their graphs."""
    return {name: tensor.detach() for name, tensor in tensors.items()}


class EMA:
    """Exponential moving average of the generators' weights, in a copy of them.

    The decay of the n-th update is at most (1 + n) / (10 + n), so that short runs benefit too.
    """

    def __init__(self, generators: nn.ModuleDict):
        self.generators = copy.deepcopy(generators).requires_grad_(False)
        self.updates = 0

    @torch.no_grad()
    def update(self, generators: nn.ModuleDict, decay: float) -> None:
        """Move the average towards `generators`; the first update copies them."""
        n, self.updates = self.updates, self.updates + 1
        weight = 1.0 if n == 0 else 1 - min(decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(list(self.generators.parameters()), list(generators.parameters()), weight)
        for average, buffer in zip(self.generators.buffers(), generators.buffers(), strict=True):
            average.copy_(buffer)
