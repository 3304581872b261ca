"""What a run leaves in its folder while it trains: messages, and a report that costs little."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import has_steps
from cyclegan import resume, train
from cyclegan.config.schema import Config
from cyclegan.evaluation.report.report import write_report
from cyclegan.runs.metrics_files import append_message, read_messages
from cyclegan.training.loggers import REPORT_FRACTION, ReportFile
from cyclegan.training.monitor import Monitor, TrainStatus


class Clock:
    """Each reading is the next of the given times."""

    def __init__(self, *times: float):
        self.times: Iterator[float] = iter(times)

    def __call__(self) -> float:
        return next(self.times)


def status(step: int) -> TrainStatus:
    return TrainStatus(step, 1, 0.5, 1.0, 1.0, 0.0, 1e-3)


def test_the_report_follows_measurements_within_its_fraction_of_the_time(tiny: Callable[..., Config]) -> None:
    run = train(tiny(max_steps=2, measure_every=1, sample_every=1))
    page = run / "report.html"
    assert REPORT_FRACTION == 0.01
    # Start, too early, written in 4 seconds; too early for another 4 of 8 in 799 seconds, written; nothing measured
    report = ReportFile(Clock(0, 199, 200, 204, 799, 800, 801, 9000))
    report.on_start(run, 0)
    written = []
    for measured in (True, False, True, False, False):
        if measured:
            report.on_quality(status(1), {})
        report.on_step(status(1))
        written.append(page.exists())
        page.unlink(missing_ok=True)
    assert written == [False, True, False, True, False]
    assert report.spent == 5


def test_a_short_run_spends_no_time_on_reports(tiny: Callable[..., Config]) -> None:
    assert not (train(tiny(max_steps=3, measure_every=1)) / "report.html").exists()


def test_a_live_report_shows_curves_samples_and_messages_and_translates_nothing(tiny: Callable[..., Config]) -> None:
    run = train(tiny(max_steps=3, measure_every=1, sample_every=1))
    append_message(run / "messages.jsonl", 1234, "The <input> is ignored.")
    page = write_report(run, live=True).path.read_text("utf-8")
    assert "This page was written during training." in page and f"cyclegan report {run}" in page
    assert "Step 1,234: The &lt;input&gt; is ignored." in page
    assert "step 3</figcaption>" in page and "<h3>Cycle</h3>" in page and "<h3>SSIM</h3>" in page
    assert "<h2>Diagnosis</h2>" not in page and not (run / "report.json").exists()
    assert "This page was written during training." not in write_report(run).path.read_text("utf-8")


def test_messages_are_kept_with_their_steps(tiny: Callable[..., Config]) -> None:
    class Fails(Monitor):
        def on_step(self, status: TrainStatus) -> None:
            if status.step == 2:
                raise RuntimeError("no more paper")

    run = train(tiny(max_steps=3), monitors=[Fails()])
    assert read_messages(run / "messages.jsonl") == [
        (2, "Fails failed (no more paper) and was removed; training continues.")
    ]
    assert has_steps(run, 3)
    resume(run)
    step, text = read_messages(run / "messages.jsonl")[-1]
    assert step == 3 and text.startswith("This run is complete: 3 steps in ") and " second" in text


@pytest.mark.parametrize("damage", ['{"step": 3', "[]", '{"step": "x", "text": "y"}', '{"text": "y"}', "\0\xff"])
def test_damaged_messages_are_skipped(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "messages.jsonl"
    assert read_messages(file) == []
    append_message(file, 1, "Ein Wort: größer.")
    with file.open("a", encoding="latin-1") as lines:
        lines.write(damage + "\n")
    append_message(file, 2, "last")
    assert read_messages(file) == [(1, "Ein Wort: größer."), (2, "last")]
