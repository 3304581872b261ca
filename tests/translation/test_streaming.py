"""Images of any size in bounded memory: in bands, or whole where that fits."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from cyclegan import Translator
from cyclegan.cli.main import run as run_command
from cyclegan.config.schema import Config
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.networks import winograd
from cyclegan.networks.attention import AttentionGenerator
from cyclegan.networks.generator import Generator, as_generator, build_generator
from cyclegan.networks.lab import LabGenerator
from cyclegan.networks.layers import ChannelScale, Dropout, initialize
from cyclegan.networks.recolor import RecolorGenerator
from cyclegan.networks.resnet import ResNetGenerator
from cyclegan.networks.space_to_depth import SpaceToDepthGenerator
from cyclegan.networks.unet import UNetGenerator
from cyclegan.runs.model import Model
from cyclegan.runs.publish import write_model
from cyclegan.translation.streaming import lazy_rows
from cyclegan.translation.streaming.executor import StreamingExecutor, statistics, stream
from cyclegan.translation.streaming.large_images import parse_bytes
from cyclegan.translation.streaming.lazy_rows import Materialized, Source

ResNet = partial(ResNetGenerator, width=4, blocks=2)
UNet = partial(UNetGenerator, levels=6, width=4)
GENERATORS: dict[str, Callable[[], Generator]] = {
    "plain": ResNet,
    "light": partial(ResNet, separable=True),
    "antialiased": partial(ResNet, antialias=True),
    "batch norm, with noise": partial(ResNet, norm="batch", dropout=True),
    "no norm": partial(ResNet, norm="none"),
    "U-Net": partial(UNet, norm="instance"),
    "U-Net of pix2pix, with noise": partial(UNet, norm="batch", dropout=True),
    "U-Net without norm": partial(UNet, norm="none"),
    "space to depth": partial(SpaceToDepthGenerator, width=8, blocks=2),
    "space to depth, without norm in its stem": partial(SpaceToDepthGenerator, width=8, blocks=2, stem_norm=False),
    "space to depth, batch norm, with noise": partial(
        SpaceToDepthGenerator, width=8, blocks=2, norm="batch", dropout=True
    ),
    "recolor": lambda: RecolorGenerator(SpaceToDepthGenerator(3, 12, width=8, blocks=2, bounded=False), 3, 3),
    "attention": lambda: AttentionGenerator(SpaceToDepthGenerator(3, 9, width=8, blocks=2), 3, masks=2),
}


def generator(make: Callable[[], Generator]) -> Generator:
    torch.manual_seed(0)
    network = make()
    initialize(network, "normal", 0.02)
    for module in network.modules():
        if isinstance(module, Dropout):
            module.noise_seed = 3
        if isinstance(module, ChannelScale):
            nn.init.uniform_(module.scale)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
            nn.init.uniform_(module.bias)
    return network.eval()


def source(image: Tensor) -> Source:
    return Source(*image.shape, lambda first, end: image[None, :, first:end])


def streamed(network: Generator, image: Tensor, budget: int) -> Tensor:
    """The result in bands, or whole where the budget is too small for any; calls band by band."""
    result, calls = torch.full_like(image, torch.nan), []

    def write(first: int, band: Tensor) -> None:
        result[:, first : first + band.shape[2]] = band[0]

    with torch.no_grad():
        stream(network, source(image), budget, write, lambda *now: calls.append(now))
    assert calls == [(number, len(calls)) for number in range(1, len(calls) + 1)]
    return result


def whole(network: Generator, image: Tensor) -> Tensor:
    with torch.no_grad():
        return network(image[None])[0]


@pytest.mark.parametrize("kind", GENERATORS)
@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(4, 150),  # in fewer pixels nothing varies, and normalizing magnifies the rounding
    width=st.integers(4, 100),
    budget=st.sampled_from([1 << 20, 1 << 21, 1 << 23, 1 << 26]),
)
def test_streaming_equals_the_whole_image(kind: str, height: int, width: int, budget: int) -> None:
    network = generator(GENERATORS[kind])
    image = torch.rand(3, height, width) * 2 - 1
    torch.testing.assert_close(streamed(network, image, budget), whole(network, image), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(257, 301), (1000, 37), (1536, 2048)])
@pytest.mark.parametrize("kind", ["plain", "U-Net of pix2pix, with noise", "space to depth"])
def test_large_and_narrow_images(height: int, width: int, kind: str) -> None:
    network = generator(GENERATORS[kind])
    image = torch.rand(3, height, width) * 2 - 1
    torch.testing.assert_close(streamed(network, image, 40 << 20), whole(network, image), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("fast", "tolerance"), [(False, 1e-5), (True, 1e-4)])  # Winograd's algorithm rounds more
def test_the_papers_width(fast: bool, tolerance: float) -> None:
    network = generator(partial(ResNetGenerator, blocks=2))
    winograd.set_winograd(network, fast)
    image = torch.rand(3, 257, 129) * 2 - 1
    expected = whole(network, image)
    for budget in (1 << 25, 1 << 28):
        torch.testing.assert_close(streamed(network, image, budget), expected, rtol=0, atol=tolerance)


def test_statistics_are_sound_for_a_large_mean() -> None:
    """A mean of 10,000 with a deviation of 1, where naive sums of squares in single precision fail."""
    array = torch.randn(2, 64, 50) + 10_000
    mean, variance = statistics(source(array), iter([(0, 20), (20, 21), (21, 64)]))
    torch.testing.assert_close(mean, array.double().mean((1, 2)), rtol=1e-14, atol=0)
    torch.testing.assert_close(variance, array.double().var((1, 2), correction=0), rtol=1e-10, atol=0)


@pytest.mark.parametrize("on_disk", [False, True])
def test_materialized_arrays_are_read_back_unchanged(on_disk: bool) -> None:
    array = torch.randn(5, 23, 7)
    rows = Materialized(source(array), iter([(0, 8), (8, 20), (20, 23)]), on_disk)
    for first, end in ((0, 23), (3, 4), (20, 23)):
        assert torch.equal(rows.read(first, end)[0], array[:, first:end])


def test_modules_that_cannot_be_streamed_are_named() -> None:
    with pytest.raises(UsageError, match="MaxPool2d cannot be streamed"):
        StreamingExecutor(1 << 20).apply(nn.MaxPool2d(2), source(torch.rand(3, 8, 8)))
    with pytest.raises(UsageError, match="ModuleGenerator has no stages and cannot be streamed"):
        streamed(as_generator(nn.Flatten()), torch.rand(3, 8, 8), 1 << 20)


def test_too_little_memory_or_disk_space_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network, image = generator(GENERATORS["plain"]), torch.rand(3, 64, 64)
    with pytest.raises(UsageError, match=r"memory .* \d+ MiB more are needed"):
        streamed(network, image, 1 << 12)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(CycleGANError, match=rf"{tmp_path} has no space for 1.0 GiB"):
        lazy_rows._temporary_file(1 << 30)


def test_parsing_sizes_of_memory() -> None:
    for text, size in (("2GiB", 2 << 30), ("1.5g", 3 << 29), ("800 MB", 800_000_000), ("64K", 65536), ("77", 77)):
        assert parse_bytes(text) == size
    for text in ("much", "-1G", "0", "3X", ""):
        with pytest.raises(UsageError, match="is not a size of memory"):
            parse_bytes(text)


# Whole or in bands, as the memory allows


def smooth_image(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


def translator(lab: bool = False, memory: int | None = None) -> Translator:
    network = generator(partial(ResNetGenerator, *((1, 2) if lab else (3, 3)), width=8, blocks=1))
    return Translator(LabGenerator(network) if lab else network, (3, 3), memory=memory)


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> int:
    """A limit of memory of which nothing is in use yet."""
    monkeypatch.setattr("cyclegan.translation.streaming.large_images.budget", lambda limit, device: limit or 1 << 40)
    return 30 << 20


@pytest.mark.parametrize("lab", [False, True])
def test_the_translator_gives_the_same_image_with_little_memory(lab: bool, tight: int) -> None:
    image, calls = smooth_image(601, 702), []
    free, bound = translator(lab), translator(lab, tight)
    bound.any_size.progress = lambda *now: calls.append(now)
    differences = np.asarray(free.translate(image)).astype(int) - np.asarray(bound.translate(image))
    assert calls
    assert calls[-1][0] == calls[-1][1]
    assert np.abs(differences).max() <= 1  # where a value lies between two levels
    assert np.abs(differences).mean() < 0.01


def test_scratch_memory_is_released_for_an_image_that_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "cyclegan.translation.streaming.large_images.budget",
        lambda limit, device: 0 if winograd.scratch.buffers else 1 << 40,
    )
    winograd.scratch.take("whole", (10,), torch.float32)
    assert translator().any_size.fits(64, 64)


def test_tensors_and_batches_are_streamed_too(tight: int) -> None:
    batch = torch.rand(2, 3, 400, 500) * 2 - 1
    calls = []
    bound = translator(memory=tight)
    bound.any_size.progress = lambda *now: calls.append(now)
    # Whole images use Winograd's algorithm, which rounds more.
    torch.testing.assert_close(bound.translate(batch), translator().translate(batch), rtol=0, atol=1e-4)
    assert calls


@pytest.fixture
def model(tmp_path: Path) -> Path:
    config = Config().with_settings(generator="resnet", generator_width=8, blocks=1)
    network = build_generator(config.networks, 3, 3)
    weights = {f"generators.G.{name}": value for name, value in network.state_dict().items()}
    settings = {"networks": {"generator": "resnet", "generator_width": 8, "blocks": 1}}
    write_model(Model(settings | {"loss": {"method": "cyclegan"}}, weights, "drawn"), tmp_path / "model")
    return tmp_path / "model"


def test_the_command_reports_missing_memory(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smooth_image(1000, 900).save(tmp_path / "in.png")
    words = [str(model), str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), "--overwrite"]
    with pytest.raises(UsageError, match="MiB more are needed"):
        run_command(["translate", *words, "--memory", "1MiB"])
    with pytest.raises(UsageError, match="'lots' is not a size"):
        run_command(["translate", *words, "--memory", "lots"])
    run_command(["translate", *words])
    assert capsys.readouterr().out.splitlines() == [f"1 of 1 images translated to {tmp_path / 'out.png'}"]


PEAK = "\nimport sys; print(*[l.split()[1] for l in open('/proc/self/status') if 'VmHWM' in l], file=sys.stderr)"


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_matches_the_estimate() -> None:
    """In a process of its own; the estimate may be too high by half, but not too low."""
    script = (
        "import torch\nfrom cyclegan.networks.resnet import ResNetGenerator\n"
        "from cyclegan.translation.streaming.large_images import bytes_per_pixel\n"
        "def peak(): return int([l.split()[1] for l in open('/proc/self/status') if 'VmHWM' in l][0]) * 1024\n"
        "network, image = ResNetGenerator(width=32, blocks=1).eval(), torch.zeros(1, 3, 768, 768)\n"
        "estimate, before = bytes_per_pixel(network, 3, torch.device('cpu')) * 768**2, peak()\n"
        "with torch.inference_mode(): network(image)\n"
        "print((peak() - before) / estimate)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 0.6 < float(done.stdout) <= 1.02


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sixteen_megapixels_need_less_than_the_limit(model: Path, tmp_path: Path) -> None:
    smooth_image(4096, 4096).save(tmp_path / "in.png")
    script = "from cyclegan.cli.main import main\ntry: main()\nfinally:" + PEAK.replace("\n", " ")
    words = ["translate", model, tmp_path / "in.png", "-o", tmp_path / "out.png", "--memory", "700MiB"]
    done = subprocess.run([sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stderr.split()[-1]) < 700 * 1024
