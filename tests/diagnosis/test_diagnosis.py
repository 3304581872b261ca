"""Diagnosis: statistics against closed forms, every check on constructed evidence, real issues in sabotaged runs."""

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from conftest import COMMAND, TINY, draw_images, tensors
from cyclegan import diagnose
from cyclegan.cli.main import run as run_command
from cyclegan.config.schema import Config
from cyclegan.data.get import seasons
from cyclegan.data.select import find_data
from cyclegan.diagnosis import statistics as stats
from cyclegan.diagnosis.checks import CHECKS, grade, run_checks
from cyclegan.diagnosis.evidence import (
    CLEAN,
    DirectionEvidence,
    Distance,
    Evidence,
    collect_evidence,
    initial_weight_rms,
    measure_distance,
    read_samples,
)
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.evaluation.report.report import write_report
from cyclegan.methods.method import build_method
from cyclegan.training.setup import configure
from cyclegan.training.trainer import train
from fakes import RecordingMonitor

SCENES = 16


@cache
def scenes(season: seasons.Season) -> Tensor:
    """Scenes (16, 3, 64, 64) in [-1, 1]; those of both seasons are pairs."""
    drawn = [torch.from_numpy(np.array(seasons.draw_scene(seed, season))) for seed in range(SCENES)]
    return torch.stack(drawn).permute(0, 3, 1, 2) / 127.5 - 1


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def logits(mean: float, deviation: float = 0.4) -> Tensor:
    return mean + deviation * noise(SCENES, 1, 8, 8, seed=round(100 * mean))


def side(**changes: Any) -> DirectionEvidence:
    """A healthy direction, whose translations are the ground truth."""
    summer, winter = scenes("summer"), scenes("winter")
    whole = {
        "direction": "AtoB",
        "inputs": summer,
        "targets": winter,
        "paired": False,
        "fakes": winter,
        "reconstructions": {CLEAN: summer, "blur": 0.95 * summer, "noise": 0.97 * summer},
        "train_logits": logits(0.6),
        "test_logits": logits(0.59),
        "fake_logits": logits(0.35),
        "gradient_norms": {"G_A": 12.0, "cycle_A": 5.0, "idt_A": 4.0},
    }
    whole["distance"] = measure_distance(*((whole | changes)[name] for name in ("inputs", "fakes", "targets")))
    return DirectionEvidence(**(whole | changes))


def evidence(of_side: dict[str, Any] | None = None, config: Config | None = None, **changes: Any) -> Evidence:
    """The evidence of a healthy run, with changes."""
    whole = {
        "config": config or Config(),
        "metrics": {"step": [10.0 * n for n in range(1, 41)], "G_A": [1 + 3 / n for n in range(1, 41)]},
        "directions": (side(**(of_side or {})),),
        "image_counts": (400, 400),
        "names": ("summer", "winter"),
        "step": 1000,
        "progress": 1.0,
        "weight_growth": 1.02,
        "layout_agreement": 0.57,
    }
    return Evidence(**(whole | changes))


def pattern(strength: float) -> Tensor:
    """A checkerboard (64, 64) with this standard deviation in 8-bit levels."""
    board = (torch.arange(64)[:, None] + torch.arange(64)[None]) % 2 * 2.0 - 1
    return board * strength / 127.5


def changed(**settings: Any) -> Config:
    return Config().with_settings(**settings)


def blur(images: Tensor) -> Tensor:
    """A quarter of the resolution, enlarged."""
    return interpolate(avg_pool2d(images, 4), scale_factor=4, mode="bilinear")


def issues() -> dict[str, Evidence]:
    """The evidence of one run for each issue."""
    summer, winter = scenes("summer"), scenes("winter")
    turned = winter[:, [1, 2, 0]]
    one = winter[:1].expand(SCENES, -1, -1, -1) + 0.02 * noise(SCENES, 3, 1, 1)
    lost = {CLEAN: summer, "blur": summer.roll(1, 0), "noise": summer.roll(1, 0)}
    leaps = {"G_A": [1.0] * 20 + [60.0] + [1.0] * 20}
    return {
        "Learning rate too high": evidence(metrics=leaps, weight_growth=3.0),
        "Saturated outputs": evidence({"fakes": torch.where(winter.abs() > 0.4, winter.sign(), winter)}),
        "Input ignored": evidence({"fakes": one}),
        "Input copied": evidence({"fakes": summer + 0.02}),
        "Discriminator has won": evidence(
            {"train_logits": logits(1.0, 0.1), "test_logits": logits(1.0, 0.1), "fake_logits": logits(0, 0.1)}
        ),
        "Colors inverted": evidence({"targets": -winter, "fakes": -winter}),
        "Channels permuted": evidence({"targets": turned, "fakes": turned}),
        "Domains framed differently": evidence(layout_agreement=-0.1),
        "Information hidden": evidence({"reconstructions": lost}),
        "Discriminator overfits": evidence(
            {"train_logits": logits(0.9), "test_logits": logits(0.4), "fake_logits": logits(0.3)}
        ),
        "Identity loss too strong": evidence({"gradient_norms": {"G_A": 2.0, "cycle_A": 5.0, "idt_A": 40.0}}),
        "Checkerboard": evidence({"fakes": winter + pattern(6)}),
        "Blurred": evidence({"fakes": blur(winter)}),
        "Too sharp": evidence({"fakes": 0.5 * winter + 0.3 * noise(SCENES, 1, 64, 64)}),
        "Worse than untranslated": evidence({"distance": Distance("SWD", 2000.0, 1000.0)}),
        "Content moved": evidence({"fakes": winter.roll(6, -1)}),
        "History too small": evidence(config=changed(pool_size=0)),
        "History too large": evidence(config=changed(pool_size=2000)),
        "Ended too early": evidence(step=300, progress=0.3),
        "Loss not finite": evidence(step=3, progress=0.01, not_finite=4),
    }


def test_a_healthy_run_has_no_issues() -> None:
    assert run_checks(evidence()) == []


def test_each_issue_is_found_alone() -> None:
    found = {issue: [f.issue for f in run_checks(training)] for issue, training in issues().items()}
    assert found == {issue: [issue] for issue in found}
    assert len(found) == len(CHECKS)


def test_findings_have_direction_observation_and_advice() -> None:
    (finding,) = run_checks(issues()["Input ignored"])
    assert finding.certainty == "certain"
    assert finding.direction == "summer to winter"
    assert "differ by only" in finding.observation and "--lambda-a" in finding.advice
    back = side(direction="BtoA", fakes=scenes("summer") + 0.01, inputs=scenes("summer"))
    (finding,) = run_checks(evidence(directions=(back,)))
    assert finding.direction == "winter to summer"


def test_the_most_certain_come_first_and_causes_before_effects() -> None:
    sick = {"fakes": scenes("winter").sign(), "gradient_norms": {"G_A": 2.0, "idt_A": 9.0}}
    found = run_checks(evidence(sick, metrics={"G_A": [1.0] * 20 + [60.0] + [1.0] * 20}, weight_growth=3, progress=0))
    assert [f.certainty for f in found] == sorted(
        (f.certainty for f in found), key=["certain", "likely", "perhaps"].index
    )
    assert [f.issue for f in found][:2] == ["Learning rate too high", "Saturated outputs"]
    assert "Ended too early" not in {f.issue for f in found}  # continuing would not help


def test_changes_that_the_ground_truth_shares_are_not_issues() -> None:
    negative, turned = -scenes("winter"), scenes("winter")[:, [1, 2, 0]]
    for right in (negative, turned):
        assert run_checks(evidence({"targets": right, "fakes": right, "paired": True})) == []


def test_checks_respect_method_and_objective() -> None:
    won = {"train_logits": logits(9, 0.1), "test_logits": logits(9, 0.1), "fake_logits": logits(-9, 0.1)}
    for settings in ({"objective": "wgangp"}, {"method": "pix2pix"}):
        assert run_checks(evidence(won, config=changed(**settings))) == []
    assert [f.issue for f in run_checks(evidence(won, config=changed(method="cut")))] == ["Discriminator has won"]
    framed = {"layout_agreement": -0.1}
    assert run_checks(evidence(config=changed(method="pix2pix"), **framed)) == []  # pairs are what the user means
    one_way = {"reconstructions": {}}
    assert run_checks(evidence(one_way, config=changed(method="cut", pool_size=0))) == []  # it has no history


def test_a_run_in_progress_has_not_ended_too_early() -> None:
    early = issues()["Ended too early"]
    assert [f.issue for f in run_checks(early)] == ["Ended too early"]
    assert run_checks(early, in_progress=True) == []


@pytest.mark.parametrize("steps", [20, 117])
def test_a_short_run_ended_too_early_to_judge(steps: int) -> None:
    (only,) = run_checks(evidence({"fakes": noise(SCENES, 3, 64, 64)}, step=steps))
    assert (only.issue, only.certainty) == ("Ended too early", "certain")
    assert f"ended after {steps} steps, too early to judge" in only.observation
    assert "So far, those from summer to winter are further from the target domain than" in only.observation
    (better,) = run_checks(evidence(step=steps))
    assert "So far" not in better.observation
    framed = run_checks(evidence(step=steps, layout_agreement=-0.3))  # data and settings can be judged
    assert [f.issue for f in framed] == ["Domains framed differently", "Ended too early"]


def test_translations_that_are_worse_than_the_input_are_found() -> None:
    static = side(fakes=0.3 * noise(SCENES, 3, 64, 64), inputs=0.9 * scenes("winter"))
    worse = next(f for f in run_checks(evidence(directions=(static,))) if f.issue == "Worse than untranslated")
    assert worse.certainty == "certain" and "doing nothing would be better" in worse.observation
    assert "Train longer" in worse.advice and "--generator" in worse.advice and "--method" in worse.advice
    for progress, said in ((0.1, False), (0.5, True)):  # at first, all translations are far from the target
        found = run_checks(evidence(directions=(static,), progress=progress), in_progress=True)
        assert any(f.issue == "Worse than untranslated" for f in found) == said


def test_moved_content_is_no_issue_where_the_ground_truth_moves_it_too() -> None:
    moved = scenes("winter").roll(6, -1)
    assert run_checks(evidence({"fakes": moved, "targets": moved, "paired": True})) == []
    (finding,) = run_checks(evidence({"fakes": moved, "paired": True}))
    assert finding.issue == "Content moved"
    assert "--structure ssim" in finding.advice and "--lambda-a" in finding.advice
    assert run_checks(evidence({"fakes": moved}, progress=0.1), in_progress=True) == []  # at first nothing is in place


def test_blur_dots_and_noise_are_told_apart() -> None:
    winter = scenes("winter")
    found = {
        name: {f.issue for f in run_checks(evidence({"fakes": fakes}))}
        for name, fakes in (("blur", blur(winter)), ("both", blur(winter) + pattern(4)), ("dots", winter + pattern(4)))
    }
    assert found == {"blur": {"Blurred"}, "both": {"Blurred", "Checkerboard"}, "dots": {"Checkerboard"}}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_images_raise_no_issue(count: int) -> None:
    few = side()
    cut = {n: v[:count] for n, v in vars(few).items() if isinstance(v, Tensor)}
    cut["reconstructions"] = {name: images[:count] for name, images in few.reconstructions.items()}  # type: ignore[assignment]
    assert run_checks(evidence(directions=(dataclasses.replace(few, **cut),), image_counts=(count, count))) == []


def test_channels_may_differ() -> None:
    gray = scenes("winter").mean(1, keepdim=True)
    assert run_checks(evidence({"targets": gray, "fakes": gray})) == []


def test_gap_is_the_shift_of_the_values() -> None:
    winter = scenes("winter") * 0.5
    assert stats.gap(winter, winter) == 0
    assert stats.gap(winter, winter + 0.25) == pytest.approx(3 * 0.25, abs=1e-4)  # detail is what it was
    assert stats.gap(winter.mean(1, keepdim=True), winter) < 0.02


def test_variety_is_the_deviation_of_flat_images() -> None:
    levels = torch.tensor([-0.5, 0.0, 0.25, 0.75])
    flat = levels[:, None, None, None].expand(4, 3, 32, 32)
    assert stats.variety(flat) == pytest.approx(float(np.std(levels.numpy(), ddof=1)), rel=1e-5)
    assert stats.variety(flat[:1].repeat(4, 1, 1, 1)) == 0


@given(scale=st.floats(0.1, 2), shift=st.floats(-1, 1))
def test_agreement_is_independent_of_brightness_and_contrast(scale: float, shift: float) -> None:
    summer = scenes("summer")
    assert stats.agreement(summer, summer * scale + shift) == pytest.approx(1, abs=1e-3)
    assert stats.agreement(summer, -summer * scale + shift) == pytest.approx(-1, abs=1e-3)


@given(order=st.permutations(range(3)))
def test_channel_order_names_the_permutation(order: list[int]) -> None:
    images = noise(6, 3, 48, 48).repeat_interleave(1, 1)
    images = torch.nn.functional.interpolate(noise(6, 3, 8, 8), (48, 48))
    moved = images[:, np.argsort(order)]  # channel `order[i]` of the result is channel i of the images
    best, better = stats.channel_order(stats.color_agreement(images, moved))
    assert list(best) == order
    assert (better > 0.5) == (order != [0, 1, 2])


def test_saturation_counts_the_ends() -> None:
    images = torch.zeros(2, 3, 10, 10)
    images[:, :, 0], images[:, :, 1] = 1, -0.999
    assert stats.saturation(images) == pytest.approx(0.2)


@pytest.mark.parametrize("strength", [0.0, 1.0, 4.0, 10.0])
def test_checkerboard_measures_its_strength(strength: float) -> None:
    winter = scenes("winter") * 0.8
    assert stats.checkerboard(winter + pattern(strength)) == pytest.approx(strength, abs=0.5)
    assert stats.checkerboard(winter.roll(1, 3) + pattern(strength)) == pytest.approx(strength, abs=0.5)


def test_layouts_agree_by_place_and_not_by_color() -> None:
    summer, winter = scenes("summer"), scenes("winter")
    assert stats.layout_agreement(summer, summer.flip(1)) == pytest.approx(1, abs=0.1)
    alike, upside_down = stats.layout_agreement(summer, winter), stats.layout_agreement(summer, winter.flip(2))
    assert alike is not None and upside_down is not None and upside_down < 0 < 0.4 < alike
    assert stats.layout_agreement(noise(8, 3, 32, 32), noise(8, 3, 32, 32, seed=1)) is None


def test_grades_rise_and_fall() -> None:
    assert [grade(v, 1, 2, 3) for v in (0.9, 1, 2.5, 9)] == [None, "perhaps", "likely", "certain"]
    assert [grade(v, 3, 2, 1) for v in (3.1, 3, 1.5, 0)] == [None, "perhaps", "likely", "certain"]


@pytest.mark.parametrize("method", ["cyclegan", "pix2pix", "cut", "colorization"])
def test_collecting_evidence_does_not_change_the_method(
    tiny: Callable[..., Config], tmp_path: Path, method: str
) -> None:
    own: dict[str, Any] = {"generator": "resnet", "blocks": 4, "nce_layers": (0, 4, 8)} if method == "cut" else {}
    if method == "pix2pix":
        for domain in "AB":
            draw_images(tmp_path / "pairs" / f"train{domain}", 3, 0)
            draw_images(tmp_path / "pairs" / f"test{domain}", 2, 1)
        own = {"data": tmp_path / "pairs"}
    config = tiny(method=method, flip_equivariance=True, dropout=True, norm="batch", augment="diffaugment", **own)
    trained = build_method(config, seed=0).train()
    samples = read_samples(config, find_data(config), 2)
    assert samples is not None and samples.unseen
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    drawn, random = trained.rng.getstate(), torch.get_rng_state()
    sides = collect_evidence(trained, trained.generators, samples)
    assert [each.direction for each in sides] == list(trained.spec.learned(config.loss))
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert trained.rng.getstate() == drawn and torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in trained.modules())
    assert all(p.grad is None for p in trained.parameters())
    assert all(norm >= 0 for each in sides for norm in each.gradient_norms.values())
    assert all(each.fakes.shape == each.targets.shape for each in sides)


def test_evidence_equals_the_networks_outputs(tiny: Callable[..., Config]) -> None:
    config = tiny()
    method = build_method(config, seed=0).eval()
    samples = read_samples(config, find_data(config), 2)
    assert samples is not None
    to_b, to_a = collect_evidence(method, method.generators, samples)
    x, y = samples.held_out["A"], samples.held_out["B"]
    with torch.no_grad():
        G, F, D_Y = (method.get_submodule(n) for n in ("generators.G", "generators.F", "discriminators.D_Y"))
        assert torch.allclose(to_b.fakes, G(x), atol=1e-5)
        assert torch.allclose(to_b.reconstructions[CLEAN], F(G(x)), atol=1e-4)
        assert torch.allclose(to_b.fake_logits, D_Y(G(x)), atol=1e-4)
        assert to_b.test_logits is not None and torch.allclose(to_b.test_logits, D_Y(y), atol=1e-4)
        assert torch.allclose(to_b.train_logits, D_Y(samples.train["B"][:2]), atol=1e-4)
    few = samples.train["A"][:4]
    cycle = 10 * (F(G(few)) - few).abs().mean()  # the gradient of a mean is the mean of gradients
    gradient = torch.autograd.grad(cycle, list(G.parameters()))
    assert to_b.gradient_norms["cycle_A"] == pytest.approx(
        float(sum(g.square().sum() for g in gradient)) ** 0.5, rel=1e-3
    )
    assert to_b.gradient_norms["idt_B"] == 0 < to_a.gradient_norms["idt_B"]


def test_training_warns_once_of_issues_found_twice(tiny: Callable[..., Config]) -> None:
    heard = RecordingMonitor()
    train(tiny(max_steps=5, measure_every=1, pool_size=2000), monitors=[heard])
    message = [
        (step, text)
        for step, text in zip(heard.message_steps, heard.messages, strict=True)
        if text.startswith("History too large (likely): ")
    ]
    assert [step for step, _ in message] == [2]
    assert "--pool-size to 50" in message[0][1]
    quiet = RecordingMonitor()
    train(tiny(max_steps=5, measure_every=0, pool_size=2000), monitors=[quiet])
    assert not any("History" in text for text in quiet.messages)


def test_diagnostics_do_not_change_the_training(tiny: Callable[..., Config]) -> None:
    visited, alone = (train(tiny(max_steps=4, measure_every=n, dropout=True, ema_decay=0.9)) for n in (1, 0))
    a, b = tensors(visited), tensors(alone)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def short(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    return train(configure("paper", data=data, runs=runs, max_steps=3, pool_size=2000, **TINY | {"log_every": 2}))


def command(*words: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=120)


@pytest.mark.processes
def test_the_command_prints_all_issues(short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = command("diagnose", short)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Checked a run of 3 steps (100% of the schedule), trained on 7 and 5 images")
    assert "History too large (likely)" in done.stdout and "→ Set --pool-size to 50" in done.stdout
    run_command(["diagnose", str(short), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {issue["name"] for issue in found["issues"]} == {issue.name for issue in diagnose(short).issues}


def test_the_report_has_a_section_on_issues(short: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(short, tmp_path / "run"))
    page = write_report(run).path.read_text(encoding="utf-8")
    assert "<h2>Diagnosis</h2>" in page and "History too large" in page
    shutil.rmtree(run / "checkpoints")
    assert "<h2>Diagnosis</h2>" not in write_report(run).path.read_text(encoding="utf-8")


def test_errors_name_what_is_missing(short: Path, tmp_path: Path, data: Path) -> None:
    with pytest.raises(UsageError, match="is not a run folder"):
        diagnose(tmp_path)
    run = Path(shutil.copytree(short, tmp_path / "run"))
    config = (run / "config.toml").read_text()
    (run / "config.toml").write_text(config.replace(str(data), str(tmp_path / "gone")))
    with pytest.raises(UsageError, match="gone"):
        diagnose(run)
    (run / "config.toml").write_text(config.replace("generator_width = 4", "generator_width = 8"))
    with pytest.raises(CycleGANError):
        diagnose(run)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UsageError, match="no checkpoint"):
        diagnose(run)


def test_initial_weights_have_the_configured_size(tiny: Callable[..., Config]) -> None:
    assert initial_weight_rms(tiny(init_gain=0.05)) == pytest.approx(0.05, rel=0.1)


SABOTAGED = [
    *(
        "healthy",
        "rate",
        "saturated",
        "collapse",
        "copy",
        "won",
        "inverted",
        "permuted",
        "framing",
        "hidden",
        "overfit",
    ),
    *("identity", "checkerboard", "no-history", "large-history", "early"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", SABOTAGED)
def test_sabotaged_runs_are_recognized(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    from sabotage import SABOTAGES, train_sabotaged

    assert set(SABOTAGES) == set(SABOTAGED)
    found = diagnose(train_sabotaged(name, 0, tmp_path)).issues
    meant = SABOTAGES[name].issue
    assert (meant in {issue.name for issue in found}) if meant else not found
