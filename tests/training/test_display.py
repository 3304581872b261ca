"""What a terminal, a log and a notebook show while a run trains."""

import io
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from cyclegan import train
from cyclegan.config.schema import Config
from cyclegan.training.display import NotebookDisplay, TerminalDisplay, displays
from cyclegan.training.monitor import TrainStatus

STATUS = TrainStatus(
    step=500, epoch=2, progress=0.25, minutes=1.25, images_per_second=8.0, memory=0.5, learning_rate=2e-3
)
LOSSES = {"G_A": 0.5, "G_B": 0.4, "D_A": 0.3, "D_B": 0.2, "cycle_A": 1.5, "cycle_B": 1.25, "extra": 7.0}


def shown(tiny: Callable[..., Config], *, terminal: bool, **more: Any) -> tuple[TerminalDisplay, io.StringIO]:
    run = train(tiny(max_steps=1, name="run", **more), progress=False)
    text = io.StringIO()
    display = TerminalDisplay(Console(file=text, force_terminal=terminal, width=80, height=40))
    display.on_start(run, 0)
    display.max_steps = None
    display.on_step(replace(STATUS, progress=0.0))
    return display, text


def test_a_terminal_shows_losses_in_words_quality_and_times(tiny: Callable[..., Config]) -> None:
    display, text = shown(tiny, terminal=True)
    display.on_quality(replace(STATUS, step=250), {"ssim_AtoB": 0.75, "ssim_BtoA": 0.5, "psnr_AtoB": 20.0})
    display.on_quality(STATUS, {"ssim_AtoB": 0.5, "ssim_BtoA": 0.5, "psnr_AtoB": 19.0})
    display.on_step(STATUS)
    display.on_losses(STATUS, LOSSES)
    display.on_stop_requested()
    display.on_losses(STATUS, LOSSES)
    display.on_end()
    screen = text.getvalue()
    for part in (
        "step 500 of about 2,000", "75 seconds", "left", "A → B → A", "1.500", "extra", "8.0 images/s",
        "SSIM 0.5 / 0.5", "best SSIM 0.75 / 0.5 at step 250", "Press Ctrl-C again",
    ):  # fmt: skip
        assert part in screen, part


def test_a_log_gets_lines_with_the_names_of_metrics_csv(tiny: Callable[..., Config]) -> None:
    display, text = shown(tiny, terminal=False)
    display.on_losses(STATUS, LOSSES)
    display.on_losses(STATUS, LOSSES)  # too soon for another line
    lines = text.getvalue().splitlines()
    assert lines[1].startswith("  Device: cpu")
    assert sum("cycle_A 1.500" in line for line in lines) == 1
    assert "step 500 of about 2,000 (25%)" in lines[-1]


def test_the_speed_is_smoothed_and_the_best_is_chosen_as_the_checkpoint(tiny: Callable[..., Config]) -> None:
    display, text = shown(tiny, terminal=False, best_by="psnr")
    display.on_quality(replace(STATUS, step=0), {"psnr_BtoA": 9.0, "ssim_BtoA": 0.1})
    assert "Untranslated inputs, B → A: PSNR 9, SSIM 0.1" in text.getvalue()
    for step, psnr, ssim in ((5, 21.0, 0.1), (10, 20.0, 0.9)):
        display.on_quality(replace(STATUS, step=step), {"psnr_AtoB": psnr, "ssim_AtoB": ssim, "swd_AtoB": 9.0})
    assert display.best == "PSNR 21 at step 5"
    for speed in (10.0, 0.0):
        display.on_losses(replace(STATUS, images_per_second=speed), LOSSES)
    assert 0 < display.speed < 10


def test_a_notebook_updates_a_bar_and_the_images_in_place(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[Any] = []

    class Handle:
        def update(self, value: Any) -> None:
            shown.append(("update", value))

    def display(value: Any, *, display_id: bool) -> Handle:
        shown.append(("new", value))
        return Handle()

    fake: Any = types.ModuleType("IPython.display")
    fake.display, fake.HTML = display, lambda text: text
    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython, ipython.display = type("ZMQInteractiveShell", (), {}), fake
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    assert isinstance(displays(progress=True)[0], NotebookDisplay)
    train(tiny(max_steps=2, sample_every=1))
    assert any("<progress" in str(value) for _, value in shown)
    images = [kind for kind, value in shown if not isinstance(value, str)]
    assert images.count("new") == 2  # a grid for each direction
    assert images.count("update") == 2
    assert "Run folder:" in capsys.readouterr().out


def test_python_shows_progress_unless_told_not_to(
    tiny: Callable[..., Config], capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(max_steps=1, name="quiet"), progress=False)
    assert capsys.readouterr().err == ""
    train(tiny(max_steps=1, name="shown"))
    assert "Run folder:" in capsys.readouterr().err
