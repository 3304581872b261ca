"""Loggers that show a run elsewhere: on a Visdom server, and in Weights & Biases. Both packages are extras."""

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

from cyclegan.runs.metrics_files import read_metrics
from cyclegan.training.monitor import Monitor, TrainStatus

if TYPE_CHECKING:
    from PIL import Image

TIMEOUT = 5.0  # seconds until a Visdom server that does not answer counts as lost


def require_package(name: str) -> None:
    """Raise `ModuleNotFoundError` if a package is not installed, without the time that importing it takes."""
    if importlib.util.find_spec(name) is None:
        raise ModuleNotFoundError(name=name)


class Visdom(Monitor):
    """Loss curves and sample grids on a Visdom server, in an environment with the run's name."""

    def __init__(self, address: str = "http://localhost:8097"):
        require_package("visdom")
        self.address = address if "//" in address else f"http://{address}"

    def on_start(self, run: Path, step: int) -> None:
        """Connect, and plot the losses up to `step`. Raises `ConnectionError` when no server answers."""
        url = urlparse(self.address)
        self.client = _visdom_client()(
            server=f"{url.scheme}://{url.hostname}",
            port=url.port or 8097,
            base_url=url.path.rstrip("/") or "/",
            env=run.resolve().name,
            use_incoming_socket=False,  # its thread would try to reconnect for ever
            raise_exceptions=True,
        )
        if columns := read_metrics(run / "metrics.csv"):
            losses = {n: values for n, values in columns.items() if n not in TrainStatus.__dataclass_fields__}
            self._plot(columns["step"], losses, update=None)

    def on_losses(self, status: TrainStatus, losses: Mapping[str, float]) -> None:
        """Extend the curves."""
        self._plot([status.step], {name: [value] for name, value in losses.items()}, update="append")

    def _plot(self, steps: Sequence[float], losses: Mapping[str, Sequence[float]], update: str | None) -> None:
        """Plot a window for each group of losses, such as "cycle" with the lines cycle_A and cycle_B."""
        groups: dict[str, list[str]] = {}
        for name in losses:
            groups.setdefault(name.split("_")[0], []).append(name)
        for group, names in groups.items():
            self.client.line(
                Y=np.array([losses[name] for name in names]).T,
                X=np.array([steps] * len(names)).T,
                win=group,
                update=update,
                opts={"title": group, "legend": names, "xlabel": "step"},
            )

    def on_samples(self, status: TrainStatus, name: str, grid: "Image.Image") -> None:
        """Show the newest grid of each direction."""
        pixels = np.asarray(grid.convert("RGB")).transpose(2, 0, 1)
        self.client.image(pixels, win=name, opts={"title": name, "caption": f"step {status.step}"})

    def on_message(self, text: str) -> None:
        """Append the text to the window "messages"."""
        self.client.text(text, win="messages", append=self.client.win_exists("messages"))


def _visdom_client() -> Any:
    """Visdom's client class, changed to wait at most `TIMEOUT` seconds and to raise errors instead of printing them."""
    import visdom

    logging.getLogger("visdom").setLevel(logging.CRITICAL)

    class Client(visdom.Visdom):
        server: str
        port: int
        session: Any
        _win_exists_wrap: Any

        def _handle_post(self, url: str, data: Any = None) -> str:
            try:
                answer = self.session.post(url, data=data or {}, timeout=TIMEOUT)
                answer.raise_for_status()
                return str(answer.text)
            except OSError:
                raise ConnectionError(f"no server answers at {self.server}:{self.port}") from None

        def win_exists(self, win: str, env: str | None = None) -> bool:
            """As in the base class, but raises on a lost connection."""
            return bool(self._win_exists_wrap(win, env) == "true")

    return Client


class WeightsAndBiases(Monitor):
    """Losses, metrics, sample grids and the configuration in a Weights & Biases project.

    All files stay in the run folder. ``WANDB_MODE=offline`` sends nothing; ``wandb sync`` uploads the run later.
    """

    def __init__(self, project: str = "cyclegan"):
        require_package("wandb")
        self.project = project

    def on_start(self, run: Path, step: int) -> None:
        """Start a W&B run, or resume the one of this run folder."""
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_CACHE_DIR", str(run.resolve() / "wandb" / "cache"))  # not the home folder
        import wandb

        file = run / "wandb-run.json"
        run_id = json.loads(file.read_text(encoding="utf-8"))["id"] if file.exists() else secrets.token_hex(4)
        file.write_text(json.dumps({"id": run_id, "project": self.project}), encoding="utf-8")
        self.to_image = wandb.Image
        self.run = wandb.init(
            project=self.project,
            name=run.resolve().name,
            id=run_id,
            resume="allow",
            dir=str(run),
            config=tomllib.loads((run / "config.toml").read_text(encoding="utf-8")),
            settings=wandb.Settings(
                init_timeout=30, finish_timeout=60, console="off", x_disable_stats=True, disable_git=True
            ),
        )

    def on_losses(self, status: TrainStatus, losses: Mapping[str, float]) -> None:
        """Log losses and speed."""
        speed = {f"run/{name}": getattr(status, name) for name in ("learning_rate", "images_per_second", "memory")}
        self.run.log({f"loss/{name}": value for name, value in losses.items()} | speed, step=status.step)

    def on_quality(self, status: TrainStatus, values: Mapping[str, float]) -> None:
        """Log metrics."""
        self.run.log({f"quality/{name}": value for name, value in values.items()}, step=status.step)

    def on_samples(self, status: TrainStatus, name: str, grid: "Image.Image") -> None:
        """Log the grid."""
        self.run.log({f"samples/{name}": self.to_image(grid)}, step=status.step)

    def on_end(self) -> None:
        """Upload what is buffered."""
        self.run.finish()
