"""Distillation: its losses against a plain version, its start from the teacher, and a run as users make it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from conftest import TINY, assert_equal_runs, tensors
from cyclegan import Translator, UsageError, diagnose, evaluate, export, resume, train, write_report
from cyclegan.cli.main import run as command
from cyclegan.config.schema import Config, LossConfig, NetworkConfig
from cyclegan.methods.distill import Distillation, teacher_networks
from cyclegan.metrics.similarity import ssim
from cyclegan.networks.generator import build_generator
from cyclegan.training.distill import configure_student
from cyclegan.training.trainer import Interrupted
from fakes import StopAt

NETWORKS = NetworkConfig(generator="space_to_depth_4", generator_width=6, blocks=2, discriminator_width=4)
SETTINGS = {k: v for k, v in TINY.items() if k not in ("generator", "generator_width", "blocks", "discriminator_width")}


def distillation(networks: NetworkConfig = NETWORKS, **loss: object) -> Distillation:
    torch.manual_seed(0)
    given = {"method": "distill", "teacher_generator": "resnet", "teacher_width": 4, "teacher_blocks": 2} | loss
    return Distillation(networks, LossConfig(**given), (3, 3))  # type: ignore[arg-type]


def batch() -> dict[str, Tensor]:
    a, b = torch.rand(2, 2, 3, 32, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return {"A": a, "B": b}


def test_the_losses_equal_a_plain_version() -> None:
    ours = distillation(lambda_l1=10.0, lambda_structure=2.0, lambda_features=3.0)
    T = build_generator(teacher_networks(NETWORKS, ours.settings), 3, 3).eval()
    T.load_state_dict(ours.teacher.network.state_dict())
    G, D, x = ours.generators["G"], ours.discriminators["D"], batch()["A"]
    with torch.no_grad():
        down = T.down(T.stem(x))  # type: ignore[operator]
        theirs, wanted = (down, T.blocks(down)), T(x)  # type: ignore[operator]
    stem = G.stem(x)  # type: ignore[operator]
    mine = (stem, G.blocks(stem))  # type: ignore[operator]
    errors = [
        (match(ours_) - theirs_).square().mean() / theirs_.var()
        for match, ours_, theirs_ in zip(ours.teacher.matches, mine, theirs, strict=True)
    ]
    similar = sum(ssim(g, t) for g, t in zip(G(x).detach(), wanted, strict=True)) / len(x)
    images = ours.generate(batch())
    terms = ours.generators_loss(batch(), images)
    assert list(terms) == ["G_GAN", "G_L1", "G_structure", "G_features"]
    torch.testing.assert_close(images["B"], G(x))
    torch.testing.assert_close(terms["G_GAN"], (D(G(x)) - 1).square().mean())
    torch.testing.assert_close(terms["G_L1"], 10 * (G(x) - wanted).abs().mean())
    torch.testing.assert_close(terms["G_structure"].item(), 2 * (1 - similar), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(terms["G_features"], 3 * sum(errors) / 2)

    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is None for p in ours.teacher.network.parameters())
    assert all(p.grad is not None and p.grad.any() for p in ours.generator_parameters() if p.ndim > 1)
    found = ours.discriminators_loss(batch(), images)
    torch.testing.assert_close(found["D_real"], (D(batch()["B"]) - 1).square().mean() / 2)
    torch.testing.assert_close(found["D_fake"], D(G(x)).square().mean() / 2)


@pytest.mark.parametrize("student", ["attention_4", "space_to_depth"])
def test_an_attention_teacher_is_learned_with_its_masks_applied_and_its_features(student: str) -> None:
    networks = replace(NETWORKS, generator=student, attention_masks=2)
    ours = distillation(networks, lambda_l1=10.0, teacher_generator="attention_resnet")
    T = build_generator(teacher_networks(networks, ours.settings), 3, 3).eval()
    T.load_state_dict(ours.teacher.network.state_dict())
    G, x = ours.generators["G"], batch()["A"][..., :38]  # a width that both networks extend
    images = ours.generate({"A": x})
    terms = ours.generators_loss({"A": x}, images)
    torch.testing.assert_close(images["B"], G(x))
    torch.testing.assert_close(terms["G_L1"], 10 * (G(x) - T(x)).abs().mean())
    assert "G_features" in terms


@pytest.fixture
def teacher(tiny: Callable[..., Config]) -> Path:
    return train(tiny(name="red2blue", max_steps=2))


def test_a_run_of_a_student_is_like_any_other(teacher: Path, tmp_path: Path) -> None:
    runs = tmp_path / "students"
    config = configure_student(teacher, direction="BtoA", runs=runs, **SETTINGS, max_steps=6)
    assert config.run.name == "red2blue-student"
    assert (config.networks.generator, config.networks.discriminator_width) == ("space_to_depth", 4)
    straight = train(config)
    with pytest.raises(Interrupted):
        train(config.with_settings(name="parts"), monitors=[StopAt(3)])
    assert_equal_runs(straight, resume(runs / "parts"))
    after = tensors(straight)
    for name, value in tensors(teacher).items():
        if name.startswith("weights.generators.F."):
            assert torch.equal(after[name.replace("generators.F", "teacher.network")], value)
    assert Translator.load(straight).direction == "BtoA"
    assert "G_structure" in (straight / "metrics.csv").read_text()
    assert evaluate(straight)[0].direction == "BtoA"
    assert "a student, distilled" in write_report(straight).path.read_text()
    assert diagnose(straight).summary.startswith("Checked a run of 6 steps")
    export(straight, "safetensors", tmp_path / "model")
    from safetensors.torch import load_file

    assert not any(name.startswith("teacher") for name in load_file(tmp_path / "model" / "model.safetensors"))
    again = configure_student(tmp_path / "model", data=config.data.data, runs=runs, **SETTINGS, max_steps=1)
    assert again.loss.teacher_generator == "space_to_depth"
    train(again)


def test_a_student_of_masks_has_masks(tiny: Callable[..., Config], tmp_path: Path) -> None:
    teacher = train(tiny(generator="attention", attention_masks=2, name="masks", max_steps=1, measure_every=0))
    config = configure_student(teacher, runs=tmp_path, **SETTINGS, max_steps=1, measure_every=0)
    assert (config.networks.generator, config.networks.attention_masks) == ("attention", 2)
    student = Translator.load(train(config))
    assert student.masks().out_channels == 2
    first = configure_student(teacher, runs=tmp_path, **SETTINGS | {"crop_size": 96, "load_size": 96})
    assert first.networks.generator == "attention_4"


def test_the_discriminator_starts_from_the_teacher_s(teacher: Path, tmp_path: Path) -> None:
    still = {"learning_rate": 1e-12, "discriminator_learning_rate": 1e-12, "max_steps": 1}
    run = train(configure_student(teacher, runs=tmp_path, **SETTINGS, **still))
    before, after = tensors(teacher), tensors(run)
    for name in after:
        if name.startswith("weights.discriminators.D."):
            wanted = before[name.replace(".D.", ".D_Y.")]
            torch.testing.assert_close(after[name], wanted, rtol=0, atol=1e-9)


def test_teachers_of_other_methods(tiny: Callable[..., Config], data: Path, tmp_path: Path) -> None:
    """Of pix2pix a discriminator of input and output is not taken over, and a U-Net has no features to match."""
    size = {"crop_size": 64, "load_size": 64, "max_steps": 1}
    pairs = {"data": None, "a": data / "testA", "b": data / "testB"}
    for method, generator in (("pix2pix", "unet_64"), ("cut", "resnet")):
        teacher = train(tiny(method=method, generator=generator, name=method, nce_layers=(0, 4), **pairs | size))
        config = configure_student(teacher, runs=tmp_path, **SETTINGS | size)
        features = any("teacher.matches" in name for name in tensors(train(config)))
        assert features == (method == "cut")
    with pytest.raises(UsageError, match="translates AtoB only, not BtoA"):
        train(config.with_settings(direction="BtoA"))
    colors = train(tiny(method="colorization", generator="resnet", name="colors", max_steps=1))
    with pytest.raises(UsageError, match="--method colorization, which cannot be distilled"):
        train(configure_student(colors, runs=tmp_path, **SETTINGS))


def test_a_student_needs_a_teacher(tiny: Callable[..., Config]) -> None:
    with pytest.raises(UsageError, match="needs a teacher; use `cyclegan distill RUN`"):
        train(tiny(method="distill"))


def test_the_command_says_which_student_is_how_fast(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(["distill", str(teacher), "--dry-run", "--runs", str(tmp_path), "--device", "cpu"])
    found = capsys.readouterr().out
    assert "teacher: 1-block ResNet" in found
    for student in ("small: 3-block", "medium: 4-block", "large: 4-block"):
        assert f"{student} space-to-depth network" in found
    assert found.count("times as fast") == 3
    assert not list(tmp_path.glob("*-student"))
