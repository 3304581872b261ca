"""Quality of image files against ground truth, with the untranslated baseline."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cyclegan.errors import CycleGANError
from cyclegan.evaluation.measure import measure_pairs
from cyclegan.imaging.decode import read_image
from cyclegan.imaging.image import to_tensor
from cyclegan.metrics.similarity import psnr, ssim
from cyclegan.translation.translator import Translator


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
