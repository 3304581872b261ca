"""Metrics against closed forms, plain float64 loops and reference implementations."""

import math
import sys
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from cyclegan.metrics import content, cycle, patches, similarity
from cyclegan.metrics.distributions import density_coverage, frechet_distance, kernel_distance
from cyclegan.metrics.intervals import jackknife_values, paired_difference


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def smooth_images(seed: int, count: int = 4, size: int = 40, channels: int = 3) -> torch.Tensor:
    small = torch.rand(count, channels, 5, 5, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, (size, size), mode="bicubic").clamp(0, 1) * 2 - 1


def test_frechet_distance_of_gaussians() -> None:
    mean, factor = draw(0, 4), draw(1, 4, 4)
    a, b = draw(2, 200_000, 4), draw(3, 200_000, 4) @ factor + mean
    covariance = (factor.T @ factor).numpy()
    expected = mean.square().sum() + 4 + np.trace(covariance) - 2 * np.trace(sqrtm(covariance).real)
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=0.02)
    assert frechet_distance(a, a + mean) == pytest.approx(float(mean.square().sum()), rel=1e-9)
    assert frechet_distance(a[:50], a[:50]) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_with_more_dimensions_than_images() -> None:
    a, b = draw(0, 8, 20), draw(1, 9, 20) + 1
    covariances = [np.cov(x.numpy().T) for x in (a, b)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = (a.mean(0) - b.mean(0)).square().sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-3)


def test_kernel_distance_is_a_mean_over_pairs() -> None:
    a, b = draw(0, 6, 3), draw(1, 5, 3) + 1

    def kernel(x: torch.Tensor, y: torch.Tensor) -> float:
        return (float(x @ y) / 3 + 1) ** 3

    within = [np.mean([kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]) for s in (a, b)]
    across = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(sum(within) - 2 * across)


def test_kernel_distance_is_unbiased() -> None:
    same = [kernel_distance(draw(2 * seed, 20, 4), draw(2 * seed + 1, 20, 4)) for seed in range(300)]
    assert abs(np.mean(same)) < 4 * np.std(same) / math.sqrt(len(same))


@pytest.fixture
def torch_fidelity(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The package; its import of torchvision, which these functions do not use, is answered by an empty one."""
    try:
        import torchvision  # noqa: F401
    except ImportError:
        names = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional")
        empty = {name: types.ModuleType(name) for name in names}
        for name in ("CIFAR10", "STL10", "CIFAR100"):
            setattr(empty["torchvision.datasets"], name, object)
        for name, module in empty.items():
            monkeypatch.setitem(sys.modules, name, module)
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(empty[parent], child, module)
    return pytest.importorskip("torch_fidelity")


def test_fid_and_kid_are_those_of_torch_fidelity(torch_fidelity: types.ModuleType) -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric

    a, b = draw(0, 60, 8), draw(1, 60, 8) * 1.5 + 0.3
    theirs = fid_statistics_to_metric(fid_features_to_statistics(a), fid_features_to_statistics(b), verbose=False)
    assert frechet_distance(a, b) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-9)
    # One subset of all images is all images, in another order.
    kid = kid_features_to_metric(a, b, kid_subsets=1, kid_subset_size=60, verbose=False)
    assert kernel_distance(a, b) == pytest.approx(kid["kernel_inception_distance_mean"], rel=1e-9)


def test_density_and_coverage_by_their_definition() -> None:
    real, fake, k = draw(0, 30, 3), draw(1, 20, 3) * 0.7 + 0.2, 3
    radius = [sorted(float((x - y).norm()) for j, y in enumerate(real) if j != i)[k - 1] for i, x in enumerate(real)]
    inside = [[float((x - y).norm()) < r for y in fake] for x, r in zip(real, radius, strict=True)]
    expected = sum(map(sum, inside)) / (k * 20), sum(map(any, inside)) / 30
    assert density_coverage(real, fake, k) == pytest.approx(expected)


def test_density_and_coverage_of_equal_and_of_distant_sets() -> None:
    density, coverage = density_coverage(draw(0, 800, 2), draw(1, 800, 2))
    assert density == pytest.approx(1, abs=0.1)
    assert coverage == pytest.approx(1 - 2**-5, abs=0.03)
    assert density_coverage(draw(0, 50, 2), draw(1, 50, 2) + 100) == (0, 0)


def test_sliced_wasserstein_is_a_double_loop() -> None:
    a, b = draw(0, 12, 5), draw(1, 12, 5) + 0.5
    onto = torch.randn(5, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    total = 0.0
    for direction in onto.T:
        line = [sorted(float(row @ direction) / float(direction.norm()) for row in rows) for rows in (a, b)]
        for x, y in zip(*line, strict=True):
            total += abs(x - y)
    assert patches.sliced_wasserstein(a, b, directions=7, seed=3) == pytest.approx(total / (7 * 12))


def test_sliced_wasserstein_of_a_shift_in_one_dimension() -> None:
    a = draw(0, 100, 1)
    assert patches.sliced_wasserstein(a, a + 2.5) == pytest.approx(2.5)
    assert patches.sliced_wasserstein(a, a[torch.randperm(100)]) == 0


def test_the_levels_of_a_pyramid_add_up_to_the_image() -> None:
    images = smooth_images(0, 2, 70)
    levels = patches.pyramid(images)
    assert [level.shape[-1] for level in levels] == [70, 35, 18]
    whole = levels[-1]
    for level in reversed(levels[:-1]):
        whole = level + torch.nn.functional.interpolate(whole, level.shape[-2:], mode="bilinear", align_corners=False)
    assert torch.allclose(whole, images, atol=1e-6)


def test_descriptors_are_patches_of_their_level() -> None:
    images = smooth_images(0, 2, 24)
    found = patches.descriptors(images, patches=5)[24].reshape(2, 5, 3, 7, 7)
    for image, rows in zip(images, found, strict=True):
        windows = [image[:, y : y + 7, x : x + 7] for y in range(18) for x in range(18)]
        assert all(any(torch.equal(row, window) for window in windows) for row in rows)


def test_image_distance_sees_color_and_is_zero_for_the_same() -> None:
    a = smooth_images(0, 8, 64)
    assert patches.image_distance(a, a) == 0
    assert patches.image_distance(a.flip(1), a) > patches.image_distance(smooth_images(1, 8, 64), a) / 2 > 0


def test_structure_of_affine_changes_and_negatives() -> None:
    a = smooth_images(0)[0]
    assert similarity.structure(a, a * 0.5 + 0.2) == pytest.approx(1, abs=0.02)
    assert similarity.structure(a, -a) < -0.8
    x, y = (torch.rand(1, 11, 11, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in (0, 1))
    offset = torch.arange(-5, 6, dtype=torch.float64)
    line = torch.exp(-(offset**2) / 4.5)
    weights = (line[:, None] * line / line.sum() ** 2)[None]
    mx, my = (weights * x).sum(), (weights * y).sum()
    sx, sy = ((weights * (v - m) ** 2).sum().sqrt() for v, m in ((x, mx), (y, my)))
    c3 = 0.06**2 / 2
    expected = ((weights * (x - mx) * (y - my)).sum() + c3) / (sx * sy + c3)
    assert similarity.structure(x, y) == pytest.approx(float(expected))


def test_edges_are_those_of_a_sobel_filter() -> None:
    from skimage.filters import sobel

    image = smooth_images(0, 1, 20, 1)
    theirs = sobel(image[0, 0].double().numpy())[1:-1, 1:-1] / math.sqrt(2)  # theirs has twice the weights, and a mean
    assert np.allclose(content.edges(image)[0, 0].numpy(), theirs, atol=1e-6)
    agreement = content.edge_agreement(image, -image)
    assert agreement.item() == pytest.approx(1)
    assert content.edge_agreement(image, torch.zeros_like(image)).item() == 0


def test_color_distance_of_shifted_colors() -> None:
    a = smooth_images(0) * 0.5
    shift = torch.tensor([0.1, -0.2, 0.3])[:, None, None]
    assert content.color_distance(a + shift, a) == pytest.approx(127.5 * math.sqrt(0.14), rel=1e-5)


def test_retained_fraction_interpolates_between_chance_and_clean() -> None:
    clean, chance = torch.tensor([0.1, 0.1]), torch.tensor([0.5, 0.5])
    assert cycle.retained_fraction(clean, torch.tensor([0.2, 0.2]), chance) == pytest.approx(0.75)
    assert cycle.retained_fraction(clean, chance * 2, chance) == 0
    assert cycle.retained_fraction(clean, clean / 2, chance) == 1
    assert cycle.retained_fraction(chance, chance, chance) == 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", cycle.PERTURBATIONS)
def test_perturbations_are_slight(name: str, channels: int) -> None:
    images = smooth_images(0, 3, 40, channels) * 0.9
    changed = cycle.PERTURBATIONS[name](images)
    assert changed.shape == images.shape
    assert 0 < (changed - images).abs().mean() < 0.04
    assert torch.equal(changed, cycle.PERTURBATIONS[name](images))


def test_information_hidden_below_a_level_does_not_survive_quantization() -> None:
    secret = smooth_images(0, 6, 32, 1)
    fake = torch.zeros_like(secret) + 1 / 255 + secret * 0.3 / 255  # what no 8-bit file can hold
    back = {name: ((f - 1 / 255) * 255 / 0.3).clamp(-1, 1) for name, f in (("", fake), ("8", cycle.quantize(fake)))}
    clean, chance = cycle.cycle_errors(secret, back[""]), cycle.chance_errors(secret, back[""])
    assert clean.mean() < 1e-4
    assert (
        cycle.retained_fraction(clean, cycle.cycle_errors(secret, back["8"]), chance) < 0.3
    )  # gray is a better guess than another image


def test_paired_difference_against_the_normal_one() -> None:
    a = np.random.default_rng(0).normal(20, 5, 100)
    b = a + np.random.default_rng(1).normal(0.3, 1, 100)
    value, (low, high), p = paired_difference(a.tolist(), b.tolist())
    error = (b - a).std(ddof=1) / 10
    assert value == pytest.approx((b - a).mean())
    assert (low, high) == pytest.approx((value - 1.96 * error, value + 1.96 * error), abs=0.05)
    assert p == pytest.approx(math.erfc(value / error / math.sqrt(2)), abs=0.02)
    assert paired_difference([1.0, 2.0], [1.0, 2.0]) == (0, (0, 0), 1)


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(0, 3, 1000)
    found = [jackknife_values(lambda keep: {"mean": float(values[keep].mean())}, 1000, seed) for seed in range(40)]
    low, high = found[0]["mean"].interval or (0, 0)
    assert (high + low) / 2 == pytest.approx(values.mean()) == found[0]["mean"].value
    widths = [np.diff(each["mean"].interval or (0, 0))[0] for each in found]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 3 / math.sqrt(1000), rel=0.1)
    assert jackknife_values(lambda keep: {"zero": 0.0}, 19)["zero"].interval is None


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(1, 5))
def test_distances_are_symmetric_and_not_negative(seed: int, count: int, dimensions: int) -> None:
    a, b = draw(seed, count, dimensions), draw(seed + 1, count, dimensions)
    assert frechet_distance(a, b) >= 0
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), abs=1e-6)
    assert kernel_distance(a, b) == pytest.approx(kernel_distance(b, a), abs=1e-9)
    assert patches.sliced_wasserstein(a, b) == patches.sliced_wasserstein(b, a) >= 0
