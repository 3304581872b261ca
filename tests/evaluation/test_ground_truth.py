"""Quality of image files against ground truth, with the untranslated baseline."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import nn

from cyclegan.errors import CycleGANError
from cyclegan.evaluation.ground_truth import measure_pairs
from cyclegan.imaging.decode import read_image
from cyclegan.imaging.image import to_tensor
from cyclegan.metrics.intervals import bootstrap_interval
from cyclegan.metrics.similarity import psnr, ssim
from cyclegan.translation.translator import Translator


def images(channels: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = np.random.default_rng(height * width)
    a = draw.uniform(-1, 1, (channels, height, width))
    b = np.clip(a + draw.normal(0, 0.3, a.shape), -1, 1)
    return torch.from_numpy(a).float(), torch.from_numpy(b).float()


@pytest.mark.parametrize("shape", [(3, 64, 48), (1, 40, 40), (3, 11, 11), (1, 11, 30)])
def test_ssim_and_psnr_are_those_of_scikit_image(shape: tuple[int, int, int]) -> None:
    a, b = images(*shape)
    theirs = structural_similarity(
        a.double().numpy(), b.double().numpy(), gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        data_range=2.0, channel_axis=0,
    )  # fmt: skip
    assert ssim(a, b) == pytest.approx(theirs, abs=1e-9)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a.double().numpy(), b.double().numpy(), data_range=2))


@pytest.mark.parametrize("shape", [(3, 10, 10), (1, 1, 1), (3, 4, 40), (1, 20, 3)])
def test_ssim_of_images_smaller_than_the_window(shape: tuple[int, int, int]) -> None:
    a, b = images(*shape)
    up_down = [(11 - side) // 2 if side < 11 else 0 for side in shape[1:]]
    padding = [(0, 0)] + [(p, 11 - s - p if s < 11 else 0) for p, s in zip(up_down, shape[1:], strict=True)]
    larger = [torch.from_numpy(np.pad(image.numpy(), padding, mode="symmetric")) for image in (a, b)]
    assert ssim(a, b) == pytest.approx(ssim(*larger), abs=1e-12)
    assert ssim(a, a) == pytest.approx(1)


def test_closed_forms() -> None:
    a = torch.full((3, 16, 16), 0.25)
    assert psnr(a, a) == math.inf
    assert psnr(a, a + 0.5) == pytest.approx(10 * math.log10(4 / 0.25))
    assert ssim(a, a) == pytest.approx(1)
    x, y, c1 = 0.25, 0.75, (0.01 * 2) ** 2  # without variance only the luminance is left
    assert ssim(a, a + 0.5) == pytest.approx((2 * x * y + c1) / (x * x + y * y + c1))


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_images_of_different_shapes_do_not_compare(measure: object) -> None:
    with pytest.raises(ValueError, match="equal shape"):
        measure(torch.zeros(3, 16, 16), torch.zeros(3, 16, 17))  # type: ignore[operator]


class Negative(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -x


def save_pair(folder: Path, name: str, size: tuple[int, int] = (24, 20)) -> tuple[Path, Path]:
    for side in "ab":
        (folder / side).mkdir(exist_ok=True)
        pixels = np.random.default_rng([ord(side), *name.encode()]).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / side / name)
    return folder / "a" / name, folder / "b" / name


def test_means_over_pairs_with_the_untranslated_baseline(tmp_path: Path) -> None:
    pairs = [save_pair(tmp_path, f"{i}.png") for i in range(4)]
    broken = tmp_path / "a" / "broken.png"
    broken.write_bytes(b"no image")
    metrics, readable = measure_pairs(Translator(Negative(), (3, 3)), [*pairs, (broken, pairs[0][1])])
    read = [(to_tensor(read_image(a)), to_tensor(read_image(b))) for a, b in pairs]
    assert readable == pairs
    for name, metric in (("psnr", psnr), ("ssim", ssim)):
        value = metrics[name]
        assert value.per_image == pytest.approx([metric(-a, b) for a, b in read], abs=1e-4)
        assert value.value == pytest.approx(np.mean(value.per_image))
        assert value.untranslated == pytest.approx(np.mean([metric(a, b) for a, b in read]))
        assert value.interval is not None
        assert value.interval[0] < value.value < value.interval[1]


def test_larger_images_are_scaled_down_with_their_ground_truth(tmp_path: Path) -> None:
    pair = save_pair(tmp_path, "0.png", (48, 32))
    metrics, _ = measure_pairs(Translator(Negative(), (3, 3)), [pair], size=16)
    a, b = (to_tensor(read_image(p).resize((24, 16), Image.Resampling.BICUBIC)) for p in pair)
    assert metrics["psnr"].untranslated == pytest.approx(psnr(a, b))
    assert metrics["psnr"].interval is None


def test_no_readable_pair(tmp_path: Path) -> None:
    with pytest.raises(CycleGANError, match="None of the 1"):
        measure_pairs(Translator(Negative(), (3, 3)), [(tmp_path / "x.png", tmp_path / "y.png")])


def test_bootstrap_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(20, 2, 200).tolist()
    low, high = bootstrap_interval(values) or (0, 0)
    half = 1.96 * np.std(values) / math.sqrt(len(values))
    assert (low, high) == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=0.06)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval([20.0, math.inf]) is None
