"""PSNR and SSIM against scikit-image and closed forms; comparison with ground truth; bootstrap intervals."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from cyclegan.metrics.intervals import bootstrap_interval
from cyclegan.metrics.similarity import compare_with_ground_truth, psnr, ssim


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


def test_comparison_with_ground_truth_has_per_image_values_and_the_baseline() -> None:
    (made, truth), (before, _) = images(3, 24, 20), images(3, 24, 21)
    before = before[..., :20]
    values = compare_with_ground_truth(iter([(made, before, truth), (before, before, truth)]))
    assert values.keys() == {"psnr", "ssim"}
    assert values["psnr"].per_image == (psnr(made, truth), psnr(before, truth))
    assert values["ssim"].untranslated == ssim(before, truth)
    assert compare_with_ground_truth([(made, None, truth)], ["l1"])["l1"].untranslated is None
    assert compare_with_ground_truth([]) == {}


def test_bootstrap_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(20, 2, 200).tolist()
    low, high = bootstrap_interval(values) or (0, 0)
    half = 1.96 * np.std(values) / math.sqrt(len(values))
    assert (low, high) == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=0.06)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval([20.0, math.inf]) is None
