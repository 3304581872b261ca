"""Any channels, any depth: what is read is what was stored, results are stored like what they are made of."""

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from conftest import TINY
from cyclegan import Translator
from cyclegan.config.toml import from_toml
from cyclegan.data.preprocessing import load_resized, random_crop
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.decode import read_header, read_pixels, read_preview
from cyclegan.imaging.encode import write_pixels
from cyclegan.imaging.image import DecodeSpec, Pixels, output_dtype, resize, to_stored_values, to_tensor, to_values
from cyclegan.imaging.source import UnreadableImage
from cyclegan.methods.method import build_method
from cyclegan.training.setup import configure
from cyclegan.training.trainer import train
from cyclegan.translation import files

SIDE = st.integers(8, 14)  # the channels of a small array could be taken for its width
KINDS = [  # suffix, type, range, channel counts that it holds
    *((s, "uint8", None, (1, 3, 4)) for s in (".png", ".webp", ".tif", ".npy", ".npz")),
    (".png", "uint8", None, (2,)),
    (".bmp", "uint8", None, (1, 3)),
    (".png", "uint16", None, (1,)),
    *((s, "uint8", None, (2, 5, 7)) for s in (".tif", ".npy", ".npz")),
    *((s, "uint16", None, (1, 2, 3, 4, 6)) for s in (".tif", ".npy", ".npz")),
    *((s, "int16", (-1000.0, 2000.0), (1, 5)) for s in (".tif", ".npy")),
    *((s, "float32", (-3.0, 5.0), (1, 3, 6)) for s in (".tif", ".npy", ".npz")),
    *((s, "float64", None, (1, 4)) for s in (".tif", ".npy")),
    (".npy", "float16", None, (3,)),
]


@pytest.mark.parametrize(("suffix", "dtype", "span", "counts"), KINDS, ids=lambda v: str(v))
@settings(max_examples=8, deadline=None)
@given(choice=st.data())
def test_stored_values_survive_a_round_trip(
    tmp_path_factory: pytest.TempPathFactory, choice: Any, suffix: str, dtype: str, span: Any, counts: tuple[int, ...]
) -> None:
    kind, channels = np.dtype(dtype), choice.draw(st.sampled_from(counts))
    shape = choice.draw(st.tuples(SIDE, SIDE, st.just(channels)))
    low, high = span or (0, 1 if kind.kind == "f" else np.iinfo(kind).max)
    shares = choice.draw(arrays(np.float32, shape, elements=st.floats(0, 1, width=32)))
    stored = low + shares.astype(np.float64) * (high - low)
    stored = (stored if kind.kind == "f" else np.round(stored)).astype(kind)
    folder, reading = tmp_path_factory.mktemp("trip"), DecodeSpec(channels, span)
    np.save(folder / "first.npy", stored)
    first = read_pixels(folder / "first.npy", reading)
    write_pixels(first, folder / f"x{suffix}")
    again = read_pixels(folder / f"x{suffix}", reading)
    wanted = np.float32 if (suffix, dtype) == (".tif", "float16") else kind
    assert again.dtype == wanted
    step = (high - low) * 1e-6 + (1e-3 if dtype == "float16" else 0) if kind.kind == "f" else 0
    assert np.abs(to_stored_values(again, again.dtype).astype(float) - stored).max() <= step
    assert read_header(folder / f"x{suffix}").size == shape[1::-1]
    assert read_preview(folder / f"x{suffix}", reading).mode == "RGB"


@settings(max_examples=30, deadline=None)
@given(st.data(), st.sampled_from(["uint8", "uint16"]), st.integers(1, 6))
def test_tensors_preserve_stored_values(data: Any, dtype: str, channels: int) -> None:
    stored = data.draw(arrays(dtype, data.draw(st.tuples(st.just(channels), SIDE, SIDE))))
    values = np.moveaxis(stored, 0, 2)
    unit = values if dtype == "uint8" else (values / 65535).astype(np.float32)
    back = to_values(to_tensor(unit), np.dtype(dtype))
    assert np.array_equal(to_stored_values(Pixels(back, np.dtype(dtype)), np.dtype(dtype)), values)


def test_16_bit_color_png_needs_imagecodecs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("imagecodecs")
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, 4), dtype=np.uint16)
    deep = Pixels((values / 65535).astype(np.float32), np.dtype(np.uint16))
    for channels in (2, 3, 4):
        write_pixels(Pixels(deep.values[..., :channels], deep.dtype), tmp_path / "x.png")
        again = read_pixels(tmp_path / "x.png", DecodeSpec(channels))
        assert np.array_equal(to_stored_values(again, again.dtype), values[..., :channels])
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    assert read_pixels(tmp_path / "x.png", DecodeSpec(4)).dtype == np.uint8
    with pytest.raises(CycleGANError, match=r'x\.png cannot be written: .*pip install "cyclegan\[deep\]"'):
        write_pixels(deep, tmp_path / "x.png")
    write_pixels(deep, tmp_path / "x.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "x.tif"), values)


def test_pages_and_planes_are_channels_if_their_number_matches(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 60000, (5, 12, 16), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "pages.tif", stack, photometric="minisblack")
    tifffile.imwrite(tmp_path / "last.tif", np.moveaxis(stack, 0, 2))  # as tifffile guesses: pages of 16 x 5
    tifffile.imwrite(tmp_path / "planes.tif", stack, photometric="minisblack", planarconfig="separate")
    for name in ("pages", "last", "planes"):
        read = read_pixels(tmp_path / f"{name}.tif", DecodeSpec(5))
        assert np.array_equal(to_stored_values(read, np.dtype(np.uint16)), np.moveaxis(stack, 0, 2)), name
    first = read_pixels(tmp_path / "pages.tif", DecodeSpec(1))
    assert np.array_equal(to_stored_values(first, np.dtype(np.uint16))[..., 0], stack[0])
    with pytest.raises(UnreadableImage, match=r"planes\.tif has 5 channels, not the 3 channels expected"):
        read_pixels(tmp_path / "planes.tif", DecodeSpec(3))


def test_arrays_are_read_by_channels_and_never_unpickled(tmp_path: Path) -> None:
    last = np.random.default_rng(0).random((6, 8, 5)).astype(np.float32)
    np.save(tmp_path / "first.npy", np.moveaxis(last, 2, 0))
    np.savez(tmp_path / "one.npz", image=last)
    for name in ("first.npy", "one.npz"):
        assert np.array_equal(read_pixels(tmp_path / name, DecodeSpec(5)).values, last)
    assert read_header(tmp_path / "first.npy").size == (8, 6)
    np.savez(tmp_path / "two.npz", a=last, b=last)
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.save(tmp_path / "complex.npy", np.ones((4, 4), complex))
    np.save(tmp_path / "nan.npy", np.full((4, 4, 5), np.nan))
    whole = (tmp_path / "first.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:200])
    (tmp_path / "claims.npy").write_bytes(whole.replace(b"(5, 6, 8)", b"(5,6000000, 8)"))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "one.npz").read_bytes()[:200])
    for name, part in (
        ("two.npz", r"must contain one array, the image, but contains 2 \(a, b\)"),
        ("objects.npy", "Python objects"),
        ("complex.npy", "type complex128"),
        ("nan.npy", "outside 0 to 1; set their range with --range-a"),
        ("cut.npy", r"is damaged \(truncated\)"),
        ("claims.npy", "damaged|claims"),
        ("cut.npz", "damaged"),
        ("first.npy", r"has shape \(5, 6, 8\), without the 4 channels expected"),
    ):
        with pytest.raises(UnreadableImage, match=part) as error:
            read_pixels(tmp_path / name, DecodeSpec(4 if name == "first.npy" else 5))
        assert str(error.value).startswith(f"{tmp_path / name} ") and "\n" not in str(error.value)


def test_deep_images_are_resized_exactly() -> None:
    """Against the filter's definition (Keys, a = -1/2), stretched by the scale, in float64."""
    values = np.random.default_rng(0).random((23, 31, 2)).astype(np.float32)

    def weights(before: int, after: int) -> np.ndarray:
        scale = max(before / after, 1)
        center = (np.arange(after)[:, None] + 0.5) * before / after
        x = np.abs((np.arange(before) + 0.5 - center) / scale)
        w = np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0))
        return w / w.sum(1, keepdims=True)

    expected = np.einsum("ih,hwc,jw->ijc", weights(23, 11), values.astype(float), weights(31, 40)).clip(0, 1)
    assert np.abs(resize(values, (40, 11)) - expected).max() < 1e-6


def test_8_bit_images_are_processed_like_in_pillow(tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    image.save(tmp_path / "x.png")
    config = configure("paper", **(TINY | {"data": "x", "flip": False}))
    for channels, mode in ((3, "RGB"), (1, "L")):
        expected = image.convert(mode).resize((36, 36), Image.Resampling.BICUBIC)
        values = load_resized(tmp_path / "x.png", DecodeSpec(channels), config.data)
        assert values.dtype == np.uint8
        assert np.array_equal(values, np.atleast_3d(np.asarray(expected)))


def test_alpha_is_composited_or_becomes_a_channel(tmp_path: Path) -> None:
    values = np.zeros((4, 6, 4), np.uint8)
    values[:, :3] = (10, 20, 30, 255)
    Image.fromarray(values).save(tmp_path / "x.png")
    blue = read_pixels(tmp_path / "x.png", DecodeSpec(3, background="#0000ff"))
    assert blue.values[0, 0].tolist() == [10, 20, 30]
    assert blue.values[0, 5].tolist() == [0, 0, 255]
    assert blue.alpha is not None and np.array_equal(blue.alpha, values[..., 3])
    assert np.array_equal(read_pixels(tmp_path / "x.png", DecodeSpec(4)).values, values)
    assert read_pixels(tmp_path / "x.png", DecodeSpec(2)).values.shape == (4, 6, 2)
    deep = values.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "x.tif", deep, photometric="rgb", extrasamples=["unassalpha"])
    on_blue = read_pixels(tmp_path / "x.tif", DecodeSpec(3, background="#0000ff"))
    assert np.array_equal(np.round(on_blue.values * 255), blue.values)


def test_output_types_can_hold_the_value_range() -> None:
    for dtype, span, wanted in (
        ("uint8", None, "uint8"), ("uint8", (0, 200), "uint8"), ("uint8", (0, 4095), "uint16"),
        ("uint16", (-1000, 2000), "int16"), ("uint16", (0, 1), "float32"), ("uint8", (-1e6, 1), "float32"),
        ("float64", (0, 4095), "float64"),
    ):  # fmt: skip
        assert output_dtype(np.dtype(dtype), span) == wanted


def write_set(root: Path) -> Path:
    """A: 16 bit whose values differ in their low bits alone; B: 5 channels of floats from -1000 to 2000."""
    for folder, seeds in (("trainA", range(4)), ("trainB", range(4, 8)), ("testA", [8]), ("testB", [8])):
        (root / folder).mkdir(parents=True)
        for seed in seeds:
            draw = np.random.default_rng(seed)
            if folder.endswith("A"):
                tifffile.imwrite(root / folder / f"{seed}.tif", draw.integers(30000, 30200, (40, 40), dtype=np.uint16))
            else:
                np.save(root / folder / f"{seed}.npy", draw.uniform(-1000, 2000, (5, 40, 40)).astype(np.float32))
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("deep")
    data = write_set(folder / "data")
    own = {"channels_a": 1, "channels_b": 5, "range_a": "0% 100%", "range_b": "-1000 2000", "max_steps": 2}
    return data, train(configure("paper", **(TINY | own | {"data": data, "runs": folder, "name": "run"})))


def test_resolved_ranges_are_saved_and_the_identity_loss_is_off(trained: tuple[Path, Path]) -> None:
    config = from_toml(trained[1] / "config.toml")
    assert config.data.range_a == "30000 30199"
    assert config.loss.lambda_identity == 0
    assert len(list((trained[1] / "samples").glob("*.png"))) == 4


def test_training_uses_the_low_bits(trained: tuple[Path, Path]) -> None:
    data, run = trained
    config = from_toml(run / "config.toml").data
    values = load_resized(data / "trainA" / "0.tif", DecodeSpec(1, (30000, 30199)), config)
    assert values.dtype == np.float32
    assert values.std() > 0.2
    assert random_crop(values, config, random.Random(0)).shape == (32, 32, 1)


def test_translations_are_stored_like_their_sources(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = trained
    there, back = Translator.load(run), Translator.load(run, "BtoA")
    (job,) = files.plan(files.find([data / "testB"]), tmp_path / "b", channels=1)
    assert list(files.translate(back, [job])) == [None]
    gray = np.load(job.target)
    assert (gray.dtype, gray.shape) == (np.float32, (1, 40, 40))
    assert 30000 <= gray.min() < gray.max() <= 30199
    (job,) = files.plan(files.find([data / "testA"]), tmp_path / "a", channels=5)
    assert list(files.translate(there, [job])) == [None]
    five = tifffile.imread(job.target)
    assert (five.dtype, five.shape) == (np.int16, (40, 40, 5))
    assert -1000 <= five.min() < five.max() <= 2000
    again = tifffile.imread(data / "testA" / "8.tif")
    assert np.array_equal(there.translate(again), five)
    assert there.translate(torch.zeros(1, 16, 16)).shape == (5, 16, 16)
    with pytest.raises(UsageError, match="A Pillow image cannot have 5 channels"):
        there.translate(Image.fromarray(again))
    png = tmp_path / "gray.png"
    Image.fromarray(again).save(png)
    (job,) = files.plan(files.find([png]), tmp_path / "c", channels=5)
    assert job.target.name == "gray.tif"


def test_alpha_is_restored_in_translations(trained: tuple[Path, Path], tmp_path: Path) -> None:
    generator = torch.nn.Identity()
    translator = Translator(generator, (3, 3))
    values = np.random.default_rng(0).integers(0, 256, (6, 8, 4), dtype=np.uint8)
    for dtype in (np.uint8, np.uint16):
        stored = values.astype(dtype) * dtype(257 if dtype == np.uint16 else 1)
        assert np.array_equal(translator.translate(stored)[..., 3], stored[..., 3])
    Image.fromarray(values).save(tmp_path / "x.png")
    for alpha, mode in (("keep", "RGBA"), ("black", "RGB")):
        list(files.translate(translator, [files.Job(tmp_path / "x.png", tmp_path / "y.png")], alpha=alpha))
        with Image.open(tmp_path / "y.png") as result:
            assert result.mode == mode
            if mode == "RGB":
                black = Image.new("RGBA", (8, 6), "black")
                black.alpha_composite(Image.fromarray(values))
                assert np.array_equal(np.asarray(result), np.asarray(black)[..., :3])
            else:
                assert np.array_equal(np.asarray(result)[..., 3], values[..., 3])


@pytest.mark.parametrize("method", ["cyclegan", "pix2pix"])
def test_methods_support_different_numbers_of_channels(method: str) -> None:
    settings_ = TINY | {"data": "x", "method": method, "channels_a": 4, "channels_b": 2, "generator": "resnet"}
    method_ = build_method(configure("paper", **(settings_ | {"lambda_identity": 0.0})), 0)
    batch = {"A": torch.rand(1, 4, 32, 32), "B": torch.rand(1, 2, 32, 32)}
    images = method_.generate(batch)
    assert images["B"].shape == (1, 2, 32, 32)
    for terms in (method_.generators_loss(batch, images), method_.discriminators_loss(batch, images)):
        assert all(torch.isfinite(term) for term in terms.values())


def test_unsupported_numbers_of_channels_are_explained(tmp_path: Path) -> None:
    with pytest.raises(CycleGANError, match=r"\.jpg cannot have 5 channels; use \.tif or \.npy"):
        write_pixels(Pixels(np.zeros((4, 4, 5), np.uint8)), tmp_path / "x.jpg")
