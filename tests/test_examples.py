"""The example programs from start to end, and what `make ablations` writes of its results."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

from conftest import draw_images
from cyclegan.cli.main import run as run_command
from cyclegan.methods.losses import OBJECTIVES
from serving import write_tiny_model

ROOT = Path(__file__).parents[1]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Import a program as Python does when it is started by its path."""
    pytest.importorskip("sklearn")
    for folder in ("examples", "benchmarks"):
        monkeypatch.syspath_prepend(str(ROOT / folder))
    return importlib.import_module


def test_the_gan_draws_its_progress_and_counts_digits(load, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    load("gan").main(["--steps", "120", "--out", str(tmp_path / "gan.png")])
    out = capsys.readouterr().out
    counts = [int(n) for n in re.findall(r"(\d+) as \d", out)]
    assert len(counts) == 10 and sum(counts) == 1000
    distance = {name: float(d) for name, d in re.findall(r"^  (\S.*?)\s+([\d.]+)$", out, re.MULTILINE)}
    assert distance["real, held out"] < distance["made"] < distance["noise"]
    with Image.open(tmp_path / "gan.png") as image:
        assert image.size == (4 * 100 - 4, 24 + 8 * 100 - 4)  # steps 0, 100, 120 and the nearest real digit


def test_the_conditional_gan_draws_every_digit_reproducibly(load, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    program = load("conditional_gan")
    message = []
    for name in ("one.png", "two.png"):
        program.main(["--steps", "5", "--seed", "3", "--out", str(tmp_path / name)])
        message.append(capsys.readouterr().out.replace(name, ""))
    assert message[0] == message[1]
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert "requested digit in" in message[0]
    with Image.open(tmp_path / "one.png") as image:
        assert image.size == (10 * 100 - 4, 24 + 6 * 100 - 4)


def test_the_label_reaches_both_sides(load) -> None:  # type: ignore[no-untyped-def]
    program, digits = load("conditional_gan"), load("digits").Digits.load()
    [generators] = program.train("conditional_gan", digits, [1], seed=0)
    batch = digits.batch()
    assert torch.equal(batch["label"].sum(1), torch.ones(len(batch["label"])))
    other = batch["label"].roll(1, dims=1)
    G = generators["G"]
    assert not torch.equal(G(program.given(batch["A"], batch["label"])), G(program.given(batch["A"], other)))
    D = program.discriminator(program.PIXELS + program.DIGITS).eval()
    assert not torch.equal(D(program.given(batch["B"], batch["label"])), D(program.given(batch["B"], other)))


def test_minimax_is_a_zero_sum_game_with_small_gradients_for_a_confident_discriminator() -> None:
    real, fake = torch.randn(2, 50, dtype=torch.float64).requires_grad_()
    game = OBJECTIVES["minimax"]
    value = torch.log(torch.sigmoid(real)).mean() + torch.log(1 - torch.sigmoid(fake)).mean()
    torch.testing.assert_close(game.discriminator(real, fake), -value)
    of_generator = torch.autograd.grad(game.generator(fake), fake, retain_graph=True)[0]
    of_value = torch.autograd.grad(value, fake)[0]
    torch.testing.assert_close(of_generator, of_value)  # what G lowers is the very V that D raises
    slopes = {}
    for name in ("minimax", "vanilla", "lsgan"):
        logit = torch.tensor([-4.0, 0.0, 4.0], requires_grad=True)
        (slope,) = torch.autograd.grad(3 * OBJECTIVES[name].generator(logit), logit)
        slopes[name] = [round(s, 2) for s in slope.tolist()]
    # As docs/from-gan-to-cyclegan.md has them.
    assert slopes == {"minimax": [-0.02, -0.5, -0.98], "vanilla": [-0.98, -0.5, -0.02], "lsgan": [-10.0, -2.0, 6.0]}


@pytest.fixture
def ablations(load) -> ModuleType:  # type: ignore[no-untyped-def]
    module: ModuleType = load("ablations")
    return module


def result(ablations: ModuleType, variant: str, seed: int, psnr: float):  # type: ignore[no-untyped-def]
    quality = {"AtoB": (psnr, 0.5), "BtoA": (psnr + 2, 0.25)}
    return ablations.Result(variant, seed, 700, 2.0 + seed, quality, {"AtoB": (7.0, -0.11), "BtoA": (7.5, -0.125)})


def test_the_table_of_ablations_averages_over_seeds(ablations: ModuleType) -> None:
    results = [result(ablations, "no-cycle", 0, 12.0)]
    results += [result(ablations, "full", seed, psnr) for seed, psnr in ((0, 20.0), (1, 21.0))]
    assert ablations.table(results).splitlines()[2:] == [
        "| full objective | 20.5 (20.0 to 21.0) | 0.50 (0.50 to 0.50) | 22.5 (22.0 to 23.0) | 0.25 (0.25 to 0.25) "
        "| 700 | 2.5 | 0, 1 |",
        "| without cycle loss | 12.0 | 0.50 | 14.0 | 0.25 | 700 | 2.0 | 0 |",
        "| untranslated input | 7.0 | −0.11 | 7.5 | −0.12 |  |  |  |",
    ]


def test_ablations_resume_where_they_stopped(
    ablations: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has a result is not trained again; results of other budgets stay out of the table."""
    trained: list[tuple[str, int]] = []

    def evaluate_variant(folder: Path, variant: str, seed: int, steps: int):  # type: ignore[no-untyped-def]
        trained.append((variant, seed))
        if len(trained) == 3:
            raise KeyboardInterrupt
        return result(ablations, variant, seed, 20.0)

    (tmp_path / "seasons").mkdir()
    page = tmp_path / "from-gan-to-cyclegan.md"
    page.write_text(f"above\n{ablations.BEGIN}\nold\n{ablations.END}\nbelow\n", encoding="utf-8")
    (tmp_path / "results.jsonl").write_text(
        json.dumps(vars(result(ablations, "full", 0, 99.0)) | {"steps": 5}) + "\n", encoding="utf-8"
    )
    monkeypatch.setattr(ablations, "DOCS", tmp_path)
    monkeypatch.setattr(ablations, "evaluate_variant", evaluate_variant)
    monkeypatch.setattr(ablations, "draw_figure", lambda *_: Image.new("RGB", (8, 8)))
    words = ["--folder", str(tmp_path), "--steps", "700"]
    with pytest.raises(KeyboardInterrupt):
        ablations.main(words)
    ablations.main(words)
    assert [name for name, _ in trained[:2] + trained[3:]] == [
        *list(ablations.VARIANTS)[:2],
        *list(ablations.VARIANTS)[2:],
    ]
    written = page.read_text("utf-8")
    assert written.startswith(f"above\n{ablations.BEGIN}\n| objective |") and written.endswith(
        f"{ablations.END}\nbelow\n"
    )
    assert "old" not in written and "99.0" not in written and "(ablations.png)" in written


def test_the_variants_weights_match_their_names(ablations: ModuleType) -> None:
    """Without the cycle the identity loss keeps its weight, 0.5 x 10."""
    settings = ablations.VARIANTS["no-cycle"].settings
    assert settings["lambda_identity"] * settings["lambda_a"] == pytest.approx(5)
    assert settings["lambda_a"] == settings["lambda_b"] < 1e-5


def test_the_page_has_a_place_for_the_table(ablations: ModuleType) -> None:
    page = (ROOT / "docs" / "from-gan-to-cyclegan.md").read_text("utf-8")
    assert f"{ablations.BEGIN}\nfigures\n{ablations.END}" in ablations.between_markers(page, "figures")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", page):
        assert (ROOT / "docs" / link).exists(), link


@pytest.mark.slow
@pytest.mark.processes
def test_ray_translates_what_is_missing_through_fsspec(tmp_path: Path) -> None:
    """As a program of its own: Ray starts processes that would outlive a test."""
    pytest.importorskip("ray.data")
    pytest.importorskip("upath")
    draw_images(tmp_path / "in" / "deep", 5, 0)
    (tmp_path / "in" / "damaged.png").write_text("text")
    words = [str(write_tiny_model(tmp_path / "model")), f"file://{tmp_path}/in", f"file://{tmp_path}/out"]
    run_command(["translate", words[0], str(tmp_path / "in" / "deep"), "-o", str(tmp_path / "expected")])
    command = [
        sys.executable,
        str(ROOT / "examples" / "translate_with_ray.py"),
        *words,
        "--workers",
        "2",
        "--batch",
        "2",
    ]
    for count in (5, 0):
        result = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert result.returncode == 1, result.stderr
        problem, summary = result.stdout.strip().splitlines()[-2:]
        assert problem.startswith(f"file://{tmp_path}/in/damaged.png is not an image")
        assert summary == f"{count} of {count + 1} images translated to file://{tmp_path}/out"
    for file in (tmp_path / "expected").iterdir():
        assert (tmp_path / "out" / "deep" / file.name).read_bytes() == file.read_bytes()
