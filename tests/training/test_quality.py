"""Quality measured during a run: the best checkpoint, stopping early, and resuming as if uninterrupted."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from conftest import assert_equal_runs, draw_images, tensors
from cyclegan.config.schema import Config
from cyclegan.data.layouts import find_domains
from cyclegan.errors import UsageError
from cyclegan.evaluation.report.report import write_report
from cyclegan.imaging.decode import read_image
from cyclegan.imaging.image import to_tensor
from cyclegan.metrics import patches
from cyclegan.metrics.similarity import psnr
from cyclegan.training.quality import Quality
from cyclegan.training.trainer import Interrupted, resume, train
from cyclegan.translation.translator import Translator
from fakes import RecordingMonitor, StopAt


def rows(run: Path) -> list[dict[str, float]]:
    with (run / "quality.csv").open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def state(run: Path, name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((run / "checkpoints" / name / "state.json").read_text())
    return read


def test_the_best_checkpoint_is_the_one_that_measured_best(tiny: Callable[..., Config], data: Path) -> None:
    run = train(tiny(max_steps=7, measure_every=2, log_every=3))
    untranslated, *measured = rows(run)
    assert [row["step"] for row in measured] == [2, 4, 6, 7]
    assert untranslated["step"] == untranslated["minutes"] == 0
    best = max(measured, key=lambda row: row["ssim_AtoB"] + row["ssim_BtoA"])
    assert state(run, "best")["step"] == best["step"] == state(run, "latest")["best"][1]
    translator = Translator.load(run / "checkpoints" / "best", "AtoB")
    pairs = zip(*(sorted((data / f"test{d}").iterdir()) for d in "AB"), strict=True)
    images = [tuple(to_tensor(read_image(path).resize((32, 32), 3)) for path in pair) for pair in pairs]
    fakes = [translator.translate(a) for a, _ in images]
    assert best["psnr_AtoB"] == pytest.approx(
        sum(psnr(fake, b) for fake, (_, b) in zip(fakes, images, strict=True)) / len(images), abs=1e-3
    )
    distance = patches.image_distance(torch.stack(fakes), torch.stack([b for _, b in images]))
    assert best["swd_AtoB"] == pytest.approx(distance, rel=1e-3)
    page = write_report(run).path.read_text()
    assert "Quality during training" in page
    assert len(set(ids := [part.split('"')[0] for part in page.split(' id="')[1:]])) == len(ids)


def test_resume_is_exact_with_best_and_patience(tiny: Callable[..., Config]) -> None:
    settings = {"max_steps": 9, "measure_every": 2, "patience": 9, "dropout": True, "log_every": 2}
    straight = train(tiny(name="straight", **settings))
    with pytest.raises(Interrupted):
        train(tiny(name="resumed", **settings), monitors=[StopAt(5)])
    resumed = straight.with_name("resumed")
    assert state(resumed, "latest")["best"][0] is not None
    resume(resumed)
    assert_equal_runs(straight, resumed)
    assert state(straight, "latest")["best"] == state(resumed, "latest")["best"]
    without_clock = [[{k: v for k, v in r.items() if k != "minutes"} for r in rows(run)] for run in (straight, resumed)]
    assert without_clock[0] == without_clock[1]
    kept = [load_file(run / "checkpoints" / "best" / "weights.safetensors") for run in (straight, resumed)]
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


def test_measuring_changes_nothing_else(tiny: Callable[..., Config]) -> None:
    measured, unmeasured = (train(tiny(max_steps=4, measure_every=every)) for every in (2, 0))
    a, b = tensors(measured), tensors(unmeasured)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not (unmeasured / "quality.csv").exists()
    assert not (unmeasured / "checkpoints" / "best").exists()


def test_patience_ends_a_run_that_stops_improving(tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([1.0, 3.0, 2.0, 3.0, 0.0, 9.0])  # 0.0: untranslated, at the end of the first session
    monkeypatch.setattr(Quality, "score", lambda self, values: next(scores, 0.0))
    heard = RecordingMonitor()
    run = train(tiny(max_steps=50, measure_every=1, patience=2), monitors=[heard])
    assert state(run, "latest")["step"] == 4
    assert state(run, "best")["step"] == 2
    assert any("Stopped early: SSIM has not improved since step 2" in text for text in heard.messages)
    resume(run)
    assert state(run, "latest")["step"] == 4
    resume(run, patience=3, max_steps=5)
    assert state(run, "latest")["best"] == [9.0, 5, 0]


def test_without_ground_truth_swd_selects_the_best_checkpoint(
    tiny: Callable[..., Config], data: Path, tmp_path: Path
) -> None:
    for split in ("trainA", "trainB"):
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / "d" / split).symlink_to(data / split)
    config = tiny(data=tmp_path / "d", measure_every=1, max_steps=2)
    run = train(config)
    assert set(rows(run)[0]) == {"step", "minutes", "swd_AtoB", "swd_BtoA"}
    quality = Quality(config, find_domains(tmp_path / "d"), ("AtoB", "BtoA"))
    assert quality.score({"swd_AtoB": 10.0, "swd_BtoA": 20.0}) == -15.0
    with pytest.raises(UsageError, match="--best-by psnr needs"):
        train(config.with_settings(best_by="psnr"))


def test_a_method_of_one_direction_is_measured_in_that_direction_only(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    for number, split in enumerate(("trainA", "trainB", "testA")):
        draw_images(tmp_path / "d" / split, 2, number)
    run = train(
        tiny(data=tmp_path / "d", measure_every=1, max_steps=1, method="cut", nce_layers=(0, 4), lambda_identity=0.0)
    )
    assert set(rows(run)[0]) == {"step", "minutes", "swd_AtoB"}


def test_patience_requires_measurements(tiny: Callable[..., Config]) -> None:
    with pytest.raises(UsageError, match="--patience counts quality measurements"):
        tiny(patience=2, measure_every=0)
