"""Translating with a trained run: the Python interface, folders of files and the command."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from conftest import TINY, run
from cyclegan import Translator, UsageError
from cyclegan.cli.main import run as run_command
from cyclegan.config.schema import Config
from cyclegan.imaging.decode import read_image
from cyclegan.imaging.image import to_image, to_tensor
from cyclegan.networks.generator import build_generator
from cyclegan.networks.resnet import ResNetGenerator
from cyclegan.networks.winograd import scratch
from cyclegan.training.setup import configure
from cyclegan.training.trainer import train
from cyclegan.translation import files


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = configure("paper", **(TINY | {"data": data, "runs": tmp_path_factory.mktemp("runs"), "max_steps": 3}))
    return train(config.with_settings(ema_decay=0.9, init_gain=0.3))


def make_image(width: int = 37, height: int = 21, mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def test_the_result_has_the_type_of_the_input(trained: Path) -> None:
    translator = Translator.load(trained)
    image = make_image()
    by_picture = translator.translate(image)
    assert by_picture.size == image.size
    by_array = translator.translate(np.asarray(image))
    assert np.array_equal(by_array, np.asarray(by_picture))
    by_floats = translator.translate(np.asarray(image) / 255)
    assert by_floats.dtype == np.float64
    assert np.abs(by_floats * 255 - np.asarray(by_picture)).max() <= 0.5 + 1e-3  # floats are not rounded to 8 bit
    tensor = to_tensor(image)
    by_tensor = translator.translate(tensor)
    assert np.array_equal(np.asarray(to_image(by_tensor)), np.asarray(by_picture))
    assert translator.translate(tensor[None]).shape == (1, *tensor.shape)
    assert [i.size for i in translator.translate([image, image.rotate(90, expand=True)])] == [(37, 21), (21, 37)]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "I;16"])
def test_images_of_any_mode_are_translated(trained: Path, mode: str) -> None:
    image = make_image().convert("I").convert("I;16") if mode == "I;16" else make_image(mode=mode)
    assert Translator.load(trained).translate(image).mode == ("RGBA" if mode == "RGBA" else "RGB")


def test_16_threads_share_a_translator_and_get_the_results_of_one() -> None:
    class Watched(ResNetGenerator):
        running, most = 0, 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.running += 1
            self.most = max(self.most, self.running)
            y = super().forward(x)
            self.running -= 1
            return y

    def translators() -> list[Translator]:
        torch.manual_seed(0)  # 64 channels inside, which Winograd's algorithm takes
        return [Translator(Watched(width=16, blocks=1), (3, 3), winograd=fast) for fast in (True, False)]

    images = [make_image(24 + 3 * n, 20 + n) for n in range(4)]
    expected = [np.asarray(each(image)) for each in translators() for image in images]
    jobs = [(each, image) for each in translators() for image in images]
    start = threading.Barrier(16)

    def work(number: int) -> tuple[bool, int]:
        start.wait()
        for each in range(number, number + 4):
            translator, image = jobs[each % 8]
            if not np.array_equal(np.asarray(translator(image)), expected[each % 8]):
                return False, 0
        return True, sum(buffer.nbytes for buffer in scratch.buffers.values())

    with ThreadPoolExecutor(16) as threads:
        equal, kept = zip(*threads.map(work, range(16)), strict=True)
    assert all(equal) and jobs[-1][0].generator.most == 1
    assert kept.count(0) >= 12  # or else each of many threads would keep buffers


def test_size_scales_the_shorter_side(trained: Path) -> None:
    translator = Translator.load(trained)
    assert translator.translate(make_image(60, 40), size=20).size == (30, 20)
    assert translator.translate(torch.rand(3, 40, 60), size=20).shape == (3, 20, 30)


def test_each_direction_uses_its_averaged_weights(trained: Path) -> None:
    config = configure("paper", **(TINY | {"data": "x"}))
    x = to_tensor(make_image())
    for direction, name in (("AtoB", "G"), ("BtoA", "F")):
        averaged = load_file(trained / "checkpoints" / "latest" / "ema.safetensors")
        generator = build_generator(config.networks, 3, 3)
        prefix = f"{name}."
        generator.load_state_dict({k.removeprefix(prefix): v for k, v in averaged.items() if k.startswith(prefix)})
        with torch.no_grad():
            expected = generator(x[None])[0]
        y = Translator.load(trained, direction).translate(x)
        torch.testing.assert_close(y, expected, rtol=0, atol=5e-5)  # the rewritten generator rounds otherwise


def test_a_checkpoint_folder_loads_without_its_run(trained: Path) -> None:
    folder = trained / "checkpoints" / "latest"
    x = torch.rand(3, 16, 16)
    assert torch.equal(Translator.load(folder).translate(x), Translator.load(trained).translate(x))


def test_other_inputs_than_images_are_refused(trained: Path) -> None:
    translator = Translator.load(trained)
    for nonsense in ("a path", np.zeros((2, 2, 2, 2)), np.zeros((4, 4), np.int64), torch.zeros(5, 8, 8)):
        with pytest.raises(UsageError, match=r"cannot be translated"):
            translator.translate(nonsense)  # type: ignore[call-overload]


def test_folders_that_are_not_a_run_are_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gone does not exist"):
        Translator.load(tmp_path / "gone")
    with pytest.raises(UsageError, match="is not a run, a checkpoint or a model"):
        Translator.load(tmp_path)
    (tmp_path / "config.toml").write_text((trained / "config.toml").read_text())
    with pytest.raises(UsageError, match="no checkpoint yet"):
        Translator.load(tmp_path)


def test_missing_devices_are_refused(trained: Path) -> None:
    for device in ("abacus", "cuda:9"):
        with pytest.raises(UsageError, match="is not available on this machine"):
            Translator.load(trained, device=device)


def test_damaged_weights_are_reported(trained: Path, tmp_path: Path) -> None:
    from cyclegan.errors import CycleGANError

    folder = trained / "checkpoints" / "latest"
    for name in ("config.toml", "state.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "ema.safetensors").write_bytes((folder / "ema.safetensors").read_bytes()[:500])
    with pytest.raises(CycleGANError, match="cannot be loaded"):
        Translator.load(tmp_path)
    save_file({"G.other": torch.zeros(1)}, tmp_path / "ema.safetensors")
    with pytest.raises(CycleGANError, match="cannot be loaded"):
        Translator.load(tmp_path)


def test_subfolders_are_kept_and_files_and_patterns_accepted(tmp_path: Path) -> None:
    for name in ("in/a.png", "in/deep/b.jpg", "c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        make_image().save(tmp_path / name)
    out = tmp_path / "out"
    targets = [job.target for job in files.plan(files.find([tmp_path / "in", tmp_path / "c.png"]), out)]
    assert targets == [out / "a.png", out / "deep" / "b.jpg", out / "c.png"]
    assert [j.target for j in files.plan(files.find([tmp_path / "in" / "*.png"]), out)] == [out / "a.png"]
    assert [j.target for j in files.plan(files.find([tmp_path / "c.png"]), tmp_path / "d.jpg")] == [tmp_path / "d.jpg"]


def test_plans_that_would_overwrite_something_are_refused(tmp_path: Path) -> None:
    for name in ("in/a.png", "two/a.png", "out/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        make_image().save(tmp_path / name)
    for inputs, out, sentence in (
        (["in"], "out", "out/a.png exists; choose another -o, or add --overwrite"),
        (["in", "two"], "new", "would both be written to"),
        (["in"], "in", "would overwrite the input"),
        (["gone*"], "new", "no file matches"),
        (["in/deep"], "new", "does not exist"),
    ):
        with pytest.raises(UsageError, match=sentence):
            files.plan(files.find([tmp_path / i for i in inputs]), tmp_path / out)
    with pytest.raises(UsageError, match="would overwrite the input"):
        files.plan(files.find([tmp_path / "in"]), tmp_path / "in", overwrite=True)
    assert len(files.plan(files.find([tmp_path / "in"]), tmp_path / "out", overwrite=True)) == 1


@pytest.mark.processes
def test_the_command_translates_a_folder_and_reports_unreadable_images(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_image().save(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "bad.jpg").write_text("this is a text")
    result = run("translate", trained, tmp_path / "in", "-o", tmp_path / "out", "--side-by-side")
    assert result.returncode == 1
    assert "bad.jpg is not an image" in result.stderr
    assert "1 of 2 images translated" in result.stdout
    assert "Traceback" not in result.stderr
    pair = read_image(tmp_path / "out" / "good.png")
    assert pair.size == (74, 21)
    assert np.array_equal(np.asarray(pair)[:, :37], np.asarray(make_image()))
    again = run("translate", trained, tmp_path / "in", "-o", tmp_path / "out")
    assert again.returncode == 2
    assert "exists" in again.stderr


@pytest.mark.processes
def test_the_command_takes_direction_and_size(trained: Path, tmp_path: Path, tiny: Callable[..., Config]) -> None:
    make_image(48, 32).save(tmp_path / "x.png")
    out = tmp_path / "y.png"
    result = run("translate", trained, tmp_path / "x.png", "-o", out, "--direction", "BtoA", "--size", 16)
    assert result.returncode == 0, result.stderr
    expected = Translator.load(trained, "BtoA").translate(make_image(48, 32), size=16)
    assert np.abs(np.asarray(read_image(out)).astype(int) - np.asarray(expected)).max() <= 1
    assert run("translate", trained, tmp_path / "x.png", "-o", out, "--size", "big").returncode == 2


def test_a_direction_is_named_after_the_domains_in_any_case(trained: Path) -> None:
    for name in ("blue2red", "Blue2RED", "btoa", "BtoA"):
        assert Translator.load(trained, name).direction == "BtoA"
    with pytest.raises(UsageError, match=r"translates AtoB \(red2blue\) and BtoA \(blue2red\) only, not green2red\.$"):
        Translator.load(trained, "green2red")


def test_an_image_far_from_the_scale_of_training_is_named_once(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, side in (("near", 40), ("far", 145), ("farther", 150)):
        make_image(side + 1, side).save(tmp_path / f"{name}.png")
    words = ["translate", str(trained), str(tmp_path), "-o"]
    run_command([*words, str(tmp_path / "out"), "--direction", "red2blue"])
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path}/far.png has 146x145 pixels, but the model was trained on images of 36, in which objects are much "
        "smaller; for more effect, try --size 36."
    ]
    run_command([*words, str(tmp_path / "small"), "--size", "36"])
    assert capsys.readouterr().err == ""


def test_a_model_of_crops_in_their_own_scale_knows_no_other(tiny: Callable[..., Config]) -> None:
    run = train(tiny(preprocess="crop", max_steps=1))
    assert Translator.load(run).scale_note("x.png", (4000, 3000)) is None
    assert "much larger" in str(Translator.load(train(tiny(max_steps=1))).scale_note("x.png", (8, 8)))


def test_impossible_inputs_are_refused_before_anything_is_translated(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(UsageError, match=r"notes.txt is not an image .*; images end in .avif"):
        files.plan(files.find([tmp_path / "notes.txt"]), tmp_path / "out")
    translator = Translator.load(trained)
    for channels in (2, 5):
        with pytest.raises(UsageError, match=rf"shape \(8, 8, {channels}\) .* cannot be translated"):
            translator.translate(np.zeros((8, 8, channels), np.uint8))
    with pytest.raises(UsageError, match="The device 'meta' is not available"):
        Translator.load(trained, device="meta")


def test_too_little_memory_for_an_image_does_not_end_the_rest(tmp_path: Path) -> None:
    class Hungry(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[-1] > 64:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return x

    for width in (64, 96):
        to_image(torch.zeros(3, 32, width)).save(tmp_path / f"{width}.png")
    translator = Translator(Hungry(), (3, 3))
    jobs = files.plan(files.find([tmp_path / "64.png", tmp_path / "96.png"]), tmp_path / "out")
    small, large = files.translate(translator, jobs)
    assert small is None
    assert large is not None
    assert "96.png: There is not enough memory; use less --memory or a smaller --size" in large
