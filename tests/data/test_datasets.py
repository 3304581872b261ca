"""Items of data sets and batches: order, partners, preprocessing, flips."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan.config.schema import Config
from cyclegan.data.datasets import Batches, UnpairedImages
from cyclegan.data.layouts import find_domains
from cyclegan.data.preprocessing import load_resized, random_crop
from cyclegan.errors import UsageError
from cyclegan.imaging.image import DecodeSpec


def test_an_epoch_shows_every_image_once_in_a_seeded_order(tiny: Callable[..., Config], data: Path) -> None:
    files = find_domains(data).train
    dataset = UnpairedImages(files, tiny().data, seed=3)
    assert len(dataset) == 7
    orders = [[dataset.item_index(epoch, position).a for position in range(7)] for epoch in range(3)]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert orders[0] != orders[1]
    again = UnpairedImages(files, tiny().data, seed=3)
    assert [again.item_index(1, p) for p in range(7)] == [dataset.item_index(1, p) for p in range(7)]


def test_partners_are_drawn_uniformly(tiny: Callable[..., Config], data: Path) -> None:
    dataset = UnpairedImages(find_domains(data).train, tiny().data, seed=0)
    partners = [dataset.item_index(epoch, p).b for epoch in range(500) for p in range(7)]
    counts = np.bincount(partners, minlength=5)
    assert counts.min() > 0.85 * 700
    assert counts.max() < 1.15 * 700


def test_serial_batches_fix_the_pairs(tiny: Callable[..., Config], data: Path) -> None:
    dataset = UnpairedImages(find_domains(data).train, tiny(serial_batches=True).data, seed=0)
    assert [(dataset.item_index(e, p).a, dataset.item_index(e, p).b) for e in (0, 9) for p in (0, 5, 6)] == [
        (0, 0), (5, 0), (6, 1), (0, 0), (5, 0), (6, 1),
    ]  # fmt: skip


def test_batches_of_several_processes_are_those_of_one() -> None:
    def first(batches: Batches, count: int) -> list[list[tuple[int, int]]]:
        return [keys for keys, _ in zip(batches, range(count), strict=False)]

    one = first(Batches(7, 4), 6)
    two = [first(Batches(7, 2, process=p, processes=2), 6) for p in (0, 1)]
    assert one == [a + b for a, b in zip(*two, strict=True)]
    assert first(Batches(7, 4, first=3), 3) == one[3:]
    assert {position for keys in one[:2] for _, position in keys} == set(range(7))


@pytest.mark.parametrize(
    ("policy", "size"),
    [
        ("resize_and_crop", (24, 24)),
        ("crop", (24, 24)),
        ("scale_width", (32, 48)),
        ("scale_width_and_crop", (24, 24)),
        ("scale_shortside", (32, 48)),
        ("scale_shortside_and_crop", (24, 24)),
        ("none", (40, 60)),
    ],
)
def test_each_preprocessing_policy_gives_its_size(
    tiny: Callable[..., Config], tmp_path: Path, policy: str, size: tuple[int, int]
) -> None:
    config = tiny(preprocess=policy, load_size=32, crop_size=24).data
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (61, 41, 3), dtype=np.uint8))
    noise.save(tmp_path / "large.png")
    noise.resize((10, 15)).save(tmp_path / "small.png")
    assert random_crop(load_resized(tmp_path / "large.png", DecodeSpec(), config), config, random.Random(0)).shape == (
        *size[::-1],
        3,
    )
    if policy.endswith("crop"):
        assert random_crop(
            load_resized(tmp_path / "small.png", DecodeSpec(1), config), config, random.Random(0)
        ).shape == (
            24,
            24,
            1,
        )


def test_half_of_the_images_are_flipped(tiny: Callable[..., Config]) -> None:
    pixels = np.zeros((24, 24, 3), np.uint8)
    pixels[0, 0] = 255
    config = tiny(preprocess="none").data
    flipped = sum(random_crop(pixels, config, random.Random(i))[0, 23, 0] == 255 for i in range(400))
    assert 160 < flipped < 240


AUGMENTED = {"rotate": True, "flip_vertical": True, "scale_jitter": 0.3, "color_jitter_a": 0.2}


def test_augmentation_treats_images_of_an_item_alike_and_repeats(tiny: Callable[..., Config], tmp_path: Path) -> None:
    """A mask equal to its image stays equal but for colors; only A's colors change; a resumed run sees the same."""
    gradient = np.add.outer(np.arange(48) * 4, np.arange(48)).astype(np.uint8)
    for folder in ("A", "B"):
        (tmp_path / folder).mkdir()
        Image.fromarray(gradient).convert("RGB").save(tmp_path / folder / "0.png")
    files = find_domains(tmp_path).train
    data = replace(tiny(**AUGMENTED, preprocess="crop").data, channels_a=1)
    dataset = UnpairedImages(files, data, 7, companions={"mask_A": files.a})
    items = [dataset[epoch, 0].images for epoch in range(40)]
    again = UnpairedImages(files, data, 7, companions={"mask_A": files.a})[23, 0].images
    assert all(torch.equal(again[name], items[23][name]) for name in again)
    directions, spans = set(), []
    for item in items:
        image, mask, other = item["A"][0], item["mask_A"][0], item["B"][0]
        assert torch.corrcoef(torch.stack([image.flatten(), mask.flatten()]))[0, 1] > 0.99  # but for clipped colors
        assert not torch.equal(image, mask)
        slopes = [float(mask.diff(dim=dim).mean()) * 127.5 for dim in (0, 1)]
        steep = abs(slopes[0]) > abs(slopes[1])
        directions.add((steep, slopes[0] > 0, slopes[1] > 0))
        spans.append(max(map(abs, slopes)) / 4)
        of_b = [float(other.diff(dim=dim).mean()) * 127.5 for dim in (0, 1)]
        assert max(map(abs, of_b)) / min(map(abs, of_b)) == pytest.approx(4, rel=0.1)  # B keeps its contrast
    assert len(directions) == 8
    assert 1 / 1.35 < min(spans) < 0.9
    assert 1.1 < max(spans) < 1 / 0.65


def test_without_augmentation_crops_are_views_as_before(tiny: Callable[..., Config]) -> None:
    pixels = np.arange(36 * 36 * 3, dtype=np.uint8).reshape(36, 36, 3)
    crop = random_crop(pixels, tiny().data, random.Random(4))
    rng = random.Random(4)
    left, top = rng.randint(0, 4), rng.randint(0, 4)
    expected = pixels[top : top + 32, left : left + 32]
    assert np.array_equal(crop, expected[:, ::-1] if rng.random() < 0.5 else expected)
    assert np.shares_memory(crop, pixels)


def test_scale_jitter_needs_a_crop(tiny: Callable[..., Config]) -> None:
    with pytest.raises(UsageError, match="--scale-jitter scales crops"):
        tiny(scale_jitter=0.2, preprocess="none")
