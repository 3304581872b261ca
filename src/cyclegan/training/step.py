"""The state of a training and its one step, for every method; it knows no method's terms."""

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cyclegan.config.schema import Config
from cyclegan.config.toml import to_toml
from cyclegan.errors import CycleGANError
from cyclegan.methods.method import Batch, Images, Terms, total
from cyclegan.methods.registry import build_method
from cyclegan.networks import winograd
from cyclegan.networks.layers import require_size
from cyclegan.runs import checkpoint
from cyclegan.runs.checkpoint import Checkpoint
from cyclegan.training.schedule import rate_factor, schedule_epoch


class Training:
    """The state of a training: networks, optimizers, average, and how far it is."""

    def __init__(self, config: Config, fabric: Fabric):
        self.config, self.fabric = config, fabric
        torch.manual_seed(config.run.seed)
        self.method = build_method(config, seed=config.run.seed * 1000 + fabric.global_rank)
        winograd.allow(self.method, config.run.winograd)
        self.module: Any = fabric.setup_module(self.method)
        decay = config.optimizer.ema_decay
        self.average = Average(self.method.generators, decay) if decay else None
        for name in ("generate", "generators_loss", "discriminators_loss"):
            self.module.mark_forward_method(name)
        self.optimizers: list[Any] = [
            fabric.setup_optimizers(self._adam(side))
            for side in (self.method.generators_side(), self.method.discriminators.parameters())
        ]
        self.plateau = ReduceLROnPlateau(self.optimizers[0].optimizer, factor=0.2, threshold=0.01, patience=5)
        torch.manual_seed(config.run.seed * 1000 + fabric.global_rank)
        self.step = 0
        self.minutes = 0.0
        self.origin = (0.0, 0)  # epochs and steps that were done when an epoch last changed its number of steps
        self.steps_per_epoch: int | None = None
        self.fresh: list[dict[str, Tensor]] = []  # terms of the latest steps, still on the device
        self.generators_terms: tuple[str, ...] = ()
        self.pending: list[dict[str, float]] = []  # terms of the steps since the last row of metrics
        self.best: float | None = None  # score of the best measurement so far, and its step
        self.best_step = 0
        self.not_better = 0  # measurements since then
        self.epoch_loss = [0.0, 0.0]  # sum of the generators' losses in this epoch, and count of steps

    def _adam(self, side: Iterator[nn.Parameter]) -> torch.optim.Adam:
        settings = self.config.optimizer
        # The fused step is faster, but unscales 16-bit gradients itself, after they should have been clipped.
        fused = self.fabric.device.type in ("cpu", "cuda") and self.config.run.precision != "16-mixed"
        return torch.optim.Adam(
            side,
            settings.learning_rate,
            (settings.beta1, settings.beta2),
            fused=fused,
        )

    def start_with(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the networks that are in `weights`, named as in the method's state dict; others stay as drawn.

        Raises `CycleGANError` when a network is there in part only.
        """
        own = self.method.state_dict()
        given = {tuple(name.split(".")[:2]) for name in weights}
        missing = [name for name in own if name not in weights and tuple(name.split(".")[:2]) in given]
        try:
            self.method.load_state_dict({**own, **weights})
        except RuntimeError as error:
            raise CycleGANError(
                f"--init-from: the weights do not fit ({str(error).splitlines()[-1].strip()})."
            ) from None
        if missing:
            raise CycleGANError(f"--init-from: the weights are damaged; {missing[0]} is missing.")
        if self.average is not None:
            self.average.generators.load_state_dict(self.method.generators.state_dict())

    def require_size_of_crops(self) -> None:
        """Raise `UsageError` when the crops to train on are smaller than what a discriminator can judge."""
        data = self.config.data
        if data.preprocess.endswith("crop"):
            for network in self.method.discriminators.values():
                crop = torch.empty(1, 1, data.crop_size, data.crop_size, device="meta")
                require_size(crop, getattr(network, "least", 1), "The discriminator")

    @property
    def generators(self) -> nn.ModuleDict:
        """The generators to look at and to keep: the averaged ones when averaging is on."""
        return self.average.generators if self.average is not None else self.method.generators

    def count_epochs_by(self, steps: int) -> bool:
        """An epoch has so many steps from now on. Says whether it had another number before."""
        changed = self.steps_per_epoch not in (None, steps)
        if changed:
            self.origin = (self.epochs(), self.step)
        self.steps_per_epoch = steps
        return changed

    def epochs(self) -> float:
        """Epochs that are done."""
        epochs, step = self.origin
        return epochs + (self.step - step) / (self.steps_per_epoch or 1)

    def set_rate(self, share: float) -> float:
        """Set both optimizers' learning rate for the coming step and return it."""
        optimizer, run = self.config.optimizer, self.config.run
        if optimizer.schedule == "plateau":
            rate = self.optimizers[0].param_groups[0]["lr"]
        else:
            epoch = schedule_epoch(share, self.epochs(), config=optimizer, run=run)
            rate = optimizer.learning_rate * rate_factor(epoch, optimizer)
        for each in self.optimizers:
            for group in each.param_groups:
                group["lr"] = rate
        return float(rate)

    def train_step(self, batches: Sequence[dict[str, Any]]) -> None:
        """One step of each side, in the method's order, on the images of the same forward passes.

        Several batches add up their gradients.
        """
        images: Iterable[Images] = map(self.module.generate, batches)  # one at a time, when it is needed
        if self.method.discriminators_first:
            images = list(images)
            judged = self._step_discriminators(batches, images)
            generated, _ = self._step_generators(batches, images)
        else:
            generated, images = self._step_generators(batches, images)
            judged = self._step_discriminators(batches, images)

        self.step += 1
        self.generators_terms = tuple(generated[0])
        terms = _mean_terms([g | d for g, d in zip(generated, judged, strict=True)])
        self.fresh.append(terms | self.method.figures())
        if self.fabric.device.type == "cpu" and self.fabric.world_size == 1:
            self.settle()

    def _step_generators(self, batches: Sequence[Batch], images: Iterable[Images]) -> tuple[list[Terms], list[Images]]:
        """The terms, and the images without their gradients."""
        seen, made = [], []
        self.method.discriminators.requires_grad_(False)
        for batch, image in self._with_sync_at_last(batches, images):
            terms = self.module.generators_loss(batch, image)
            self.fabric.backward(total(terms) / len(batches))
            seen.append(_detached(terms))
            made.append(_detached(image))
        self._apply(self.optimizers[0])
        self.method.discriminators.requires_grad_(True)
        if self.average is not None:
            self.average.update(self.method.generators)
        return seen, made

    def _step_discriminators(self, batches: Sequence[Batch], images: Iterable[Images]) -> list[Terms]:
        seen = []
        for batch, image in self._with_sync_at_last(batches, images):
            terms = self.module.discriminators_loss(batch, image)
            self.fabric.backward(total(terms) / len(batches))
            seen.append(_detached(terms))
        self._apply(self.optimizers[1])
        return seen

    def _with_sync_at_last(self, batches: Sequence[Batch], images: Iterable[Images]) -> Iterator[tuple[Batch, Images]]:
        """Each batch with its images; gradients travel between processes with the last only."""
        images = iter(images)
        for number, batch in enumerate(batches, start=1):
            with self.fabric.no_backward_sync(self.module, enabled=number < len(batches)):
                yield batch, next(images)

    def _apply(self, optimizer: Any) -> None:
        norm = self.config.optimizer.clip_norm
        if norm is not None:
            self.fabric.clip_gradients(self.module, optimizer, max_norm=norm, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad()

    def settle(self) -> bool:
        """Bring the latest steps' terms, averaged over the processes, to `pending`. False if one is not finite.

        A GPU need not wait for the processor at every step, only here. All processes must call it together.
        """
        fresh, self.fresh = self.fresh, []
        for terms in fresh:
            values: Any = self.fabric.all_reduce(torch.stack(list(terms.values())), reduce_op="mean")
            self.pending.append(dict(zip(terms, values.tolist(), strict=True)))
            self.epoch_loss[0] += sum(self.pending[-1][name] for name in self.generators_terms)
            self.epoch_loss[1] += 1
        return all(math.isfinite(value) for row in self.pending for value in row.values())

    def end_epoch(self) -> None:
        """An epoch is over: "plateau" looks at the generators' mean loss in it."""
        self.settle()
        total, steps = self.epoch_loss
        self.epoch_loss = [0.0, 0.0]
        if self.config.optimizer.schedule == "plateau" and math.isfinite(total):
            self.plateau.step(total / steps)

    def judge(self, score: float) -> bool:
        """Note a measurement's score, of which more is better. Says whether it is the best so far."""
        if self.best is not None and not score > self.best:
            self.not_better += 1
            return False
        self.best, self.best_step, self.not_better = score, self.step, 0
        return True

    def is_finite(self) -> bool:
        """Whether all weights are numbers."""
        return all(bool(p.isfinite().all()) for p in self.method.parameters())

    def checkpoint(self) -> Checkpoint | None:
        """Everything that is needed to go on; on the first process only. All processes must call it together."""
        mine = self._process_state()
        parts = self._gathered(mine)
        if not self.fabric.is_global_zero:
            return None
        tensors, groups = checkpoint.flatten_optimizer_states([o.state_dict() for o in self.optimizers])
        return Checkpoint(
            config_toml=to_toml(self.config),
            weights=self.method.state_dict(),
            ema=None if self.average is None else self.average.generators.state_dict(),
            optimizers=tensors,
            processes=[part[0] for part in parts],
            state={
                "step": self.step,
                "minutes": self.minutes,
                "origin": self.origin,
                "steps_per_epoch": self.steps_per_epoch,
                "processes": len(parts),
                "draws": [part[1] for part in parts],
                "averaged": 0 if self.average is None else self.average.updates,
                "pending": self.pending,
                "best": [self.best, self.best_step, self.not_better],
                "epoch_loss": self.epoch_loss,
                "plateau": {k: v for k, v in self.plateau.state_dict().items() if isinstance(v, int | float)},
                "optimizers": groups,
                "precision": self.fabric.strategy.precision.state_dict(),
            },
        )

    def restore(self, saved: Checkpoint) -> None:
        """Become what `checkpoint` saw."""
        state = saved.state
        self.method.load_state_dict(saved.weights)
        if self.average is not None and saved.ema is not None:
            self.average.generators.load_state_dict(saved.ema)
            self.average.updates = state["averaged"]
        for each, values in zip(
            self.optimizers, checkpoint.unflatten_optimizer_states(saved.optimizers, state["optimizers"]), strict=True
        ):
            each.load_state_dict(values)
        self.step, self.minutes = state["step"], state["minutes"]
        self.origin, self.steps_per_epoch = tuple(state["origin"]), state["steps_per_epoch"]
        self.pending, self.epoch_loss = state["pending"], state["epoch_loss"]
        self.best, self.best_step, self.not_better = state.get("best", (None, 0, 0))  # older ones have none
        self.plateau.load_state_dict(state["plateau"])
        if state["precision"]:
            self.fabric.strategy.precision.load_state_dict(state["precision"])
        if saved.processes:
            self._restore_process(saved.processes[0], state["draws"][self.fabric.global_rank])

    def _restore_process(self, mine: dict[str, Tensor], draw: Any) -> None:
        for domain, history in self.method.histories.items():
            count = sum(name.startswith(f"history.{domain}.") for name in mine)
            history.images = [
                mine[f"history.{domain}.{i}"].to(self.fabric.device) for i in range(min(count, history.size))
            ]
        version, numbers, gauss = draw
        self.method.draw.setstate((version, tuple(numbers), gauss))
        torch.set_rng_state(mine["random.cpu"])
        if "random.cuda" in mine and torch.cuda.is_available():
            torch.cuda.set_rng_state(mine["random.cuda"])

    def _process_state(self) -> tuple[dict[str, Tensor], Any]:
        tensors = {
            f"history.{domain}.{i}": image.cpu()
            for domain, history in self.method.histories.items()
            for i, image in enumerate(history.images)
        }
        tensors["random.cpu"] = torch.get_rng_state()
        if self.fabric.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        return tensors, self.method.draw.getstate()

    def _gathered(self, mine: Any) -> list[Any]:
        if self.fabric.world_size == 1:
            return [mine]
        parts = [None] * self.fabric.world_size if self.fabric.is_global_zero else None
        torch.distributed.gather_object(mine, parts, dst=0)
        return parts or []


def _detached(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in terms.items()}


def _mean_terms(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}


class Average:
    """A copy of `generators` that follows them with each `update`.

    Early on it forgets faster, at 1 - (1 + n)/(10 + n) for the n-th update, so that short trainings gain as well.
    """

    def __init__(self, generators: nn.ModuleDict, decay: float):
        self.generators = copy.deepcopy(generators).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, generators: nn.ModuleDict) -> None:
        """Come nearer to the generators; the first time, become them."""
        self.updates += 1
        n = self.updates - 1
        share = 1.0 if n == 0 else 1 - min(self.decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(list(self.generators.parameters()), list(generators.parameters()), share)
        for mine, theirs in zip(self.generators.buffers(), generators.buffers(), strict=True):
            mine.copy_(theirs)
