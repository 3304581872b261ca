"""Monitors that show a training elsewhere: on a Visdom server, and in Weights & Biases. Both are extras."""

import csv
import importlib.util
import json
import logging
import os
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import numpy as np

from cyclegan.config.schema import RunConfig
from cyclegan.errors import UsageError
from cyclegan.training.monitor import Monitor, TrainStatus

if TYPE_CHECKING:
    from PIL import Image


PATIENCE = 5.0  # seconds until a server that says nothing counts as gone


def require_extras(settings: RunConfig) -> None:
    """Raise `UsageError` when a monitor was asked for whose package is not installed."""
    for name in ("visdom", "wandb"):
        if getattr(settings, name) is not None and importlib.util.find_spec(name) is None:
            raise UsageError(f'--{name} needs an extra: pip install "cyclegan[{name}]".')


def online_monitors(settings: RunConfig) -> list[Monitor]:
    """Those that are asked for."""
    monitors: list[Monitor] = []
    if settings.visdom is not None:
        monitors.append(Visdom(settings.visdom))
    if settings.wandb is not None:
        monitors.append(WeightsAndBiases(settings.wandb))
    return monitors


class Visdom(Monitor):
    """Loss curves and sample grids on a Visdom server, in an environment of the run's name."""

    def __init__(self, address: str):
        self.address = address if "//" in address else f"http://{address}"

    def on_start(self, run: Path, step: int) -> None:
        """Connect, and draw what a resumed run has measured so far. Raises `ConnectionError` when no server answers."""
        url = urlparse(self.address)
        self.client = _quick_visdom()(
            server=f"{url.scheme}://{url.hostname}",
            port=url.port or 8097,
            base_url=url.path.rstrip("/") or "/",
            env=run.resolve().name,
            use_incoming_socket=False,  # its thread would try to reconnect for ever
            raise_exceptions=True,
        )
        if rows := [row for row in read_losses(run) if row[0] <= step]:
            self._draw(rows, update=None)

    def on_losses(self, status: TrainStatus, losses: Mapping[str, float]) -> None:
        """Lengthen the curves."""
        self._draw([(status.step, losses)], update="append")

    def _draw(self, rows: Sequence[tuple[int, Mapping[str, float]]], update: str | None) -> None:
        """A window for each group of losses, such as cycle, with a line for each: cycle_A and cycle_B."""
        groups: dict[str, list[str]] = {}
        for name in rows[0][1]:
            groups.setdefault(name.split("_")[0], []).append(name)
        for group, names in groups.items():
            self.client.line(
                Y=np.array([[terms[name] for name in names] for _, terms in rows]),
                X=np.array([[step] * len(names) for step, _ in rows]),
                win=group,
                update=update,
                opts={"title": group, "legend": names, "xlabel": "step"},
            )

    def on_samples(self, status: TrainStatus, name: str, grid: "Image.Image") -> None:
        """Show the newest grid of each name."""
        pixels = np.asarray(grid.convert("RGB")).transpose(2, 0, 1)
        self.client.image(pixels, win=name, opts={"title": name, "caption": f"step {status.step}"})

    def on_message(self, text: str) -> None:
        """Show it as text."""
        self.client.text(text, win="messages", append=self.client.win_exists("messages"))


def read_losses(run: Path) -> list[tuple[int, dict[str, float]]]:
    """Step and losses of each row of the run's ``metrics.csv``."""
    path = run / "metrics.csv"
    if not path.exists():
        return []
    others = TrainStatus.__dataclass_fields__
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [(int(row["step"]), {k: float(v) for k, v in row.items() if k not in others}) for row in rows]


def _quick_visdom() -> Any:
    """Visdom's client, made to wait no longer than `PATIENCE` and to be silent."""
    import visdom

    logging.getLogger("visdom").setLevel(logging.CRITICAL)

    class Client(visdom.Visdom):
        server: str
        port: int
        session: Any
        _win_exists_wrap: Any

        def _handle_post(self, url: str, data: Any = None) -> str:
            try:
                answer = self.session.post(url, data=data or {}, timeout=PATIENCE)
                answer.raise_for_status()
                return str(answer.text)
            except OSError:
                raise ConnectionError(f"no server answers at {self.server}:{self.port}") from None

        def win_exists(self, win: str, env: str | None = None) -> bool:
            """As it was, but a lost connection is raised, not printed."""
            return bool(self._win_exists_wrap(win, env) == "true")

    return Client


class WeightsAndBiases(Monitor):
    """Scalars, sample grids and the configuration in a project of Weights & Biases; files stay in the run folder.

    ``WANDB_MODE=offline`` keeps all of it on this machine, for ``wandb sync``.
    """

    def __init__(self, project: str):
        self.project = project

    def on_start(self, run: Path, step: int) -> None:
        """Begin, or go on with what was begun in this run folder."""
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_CACHE_DIR", str(run.resolve() / "wandb" / "cache"))  # not the home folder
        import wandb

        known = run / "wandb-run.json"
        identity = json.loads(known.read_text(encoding="utf-8"))["id"] if known.exists() else secrets.token_hex(4)
        known.write_text(json.dumps({"id": identity, "project": self.project}), encoding="utf-8")
        self.to_image = wandb.Image
        self.run = wandb.init(
            project=self.project,
            name=run.resolve().name,
            id=identity,
            resume="allow",
            dir=str(run),
            config=tomllib.loads((run / "config.toml").read_text(encoding="utf-8")),
            settings=wandb.Settings(
                init_timeout=30, finish_timeout=60, console="off", x_disable_stats=True, disable_git=True
            ),
        )

    def on_losses(self, status: TrainStatus, losses: Mapping[str, float]) -> None:
        """Log the losses, and how fast it goes."""
        figures = {f"run/{name}": getattr(status, name) for name in ("learning_rate", "images_per_second", "memory")}
        self.run.log({f"loss/{name}": value for name, value in losses.items()} | figures, step=status.step)

    def on_quality(self, status: TrainStatus, values: Mapping[str, float]) -> None:
        """Log what was measured on the test images."""
        self.run.log({f"quality/{name}": value for name, value in values.items()}, step=status.step)

    def on_samples(self, status: TrainStatus, name: str, grid: "Image.Image") -> None:
        """Log the grid."""
        self.run.log({f"samples/{name}": self.to_image(grid)}, step=status.step)

    def on_end(self) -> None:
        """Finish, so that nothing waits for the end of the process."""
        self.run.finish()
