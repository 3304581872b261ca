"""Items of data sets and batches: order, partners, preprocessing, flips."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cyclegan.config.schema import Config
from cyclegan.data.datasets import Batches, UnpairedImages
from cyclegan.data.layouts import find_domains
from cyclegan.data.preprocessing import load_resized, random_crop
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
