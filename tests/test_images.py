"""Decoding and encoding: every mode and depth that files come in, and what is said of damaged ones."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageCms

from cyclegan.data.images import UnreadableImage, check_header, read_image, to_image, to_tensor, write_image
from cyclegan.errors import CycleGANError, UsageError

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def pixels(path: Path, channels: int = 3) -> np.ndarray:
    return np.asarray(read_image(path, channels)).astype(int)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".webp", ".PNG"])
def test_lossless_files_come_back_as_they_were(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"deep/er{suffix}"
    write_image(Image.fromarray(COLOURS), file)
    assert np.array_equal(pixels(file), COLOURS)
    assert [p.name for p in file.parent.iterdir()] == [file.name]


@settings(max_examples=20, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3))))
def test_png_round_trip(tmp_path_factory: pytest.TempPathFactory, values: np.ndarray) -> None:
    file = tmp_path_factory.mktemp("png") / "x.png"
    write_image(Image.fromarray(values), file)
    assert np.array_equal(pixels(file), values)


def test_jpeg_is_written_at_high_quality(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    write_image(Image.fromarray(smooth), tmp_path / "x.jpg")
    assert np.abs(pixels(tmp_path / "x.jpg") - smooth).mean() < 2


@pytest.mark.parametrize("channels", [1, 3])
def test_every_byte_survives_the_way_to_a_tensor_and_back(channels: int) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(values if channels == 1 else np.stack([values] * 3, -1))
    tensor = to_tensor(image)
    assert tensor.shape == (channels, 16, 16)
    assert (tensor.min().item(), tensor.max().item()) == (-1, 1)
    assert np.array_equal(np.asarray(to_image(tensor)), np.asarray(image))


def test_tensors_are_clamped_and_rounded_not_truncated() -> None:
    values = torch.tensor([-3.0, 127.6 / 127.5 - 1, 5.0]).reshape(1, 1, 3)
    assert np.asarray(to_image(values)).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(tmp_path: Path, orientation: int) -> None:
    upright = Image.fromarray(COLOURS)
    T = Image.Transpose
    turns = {
        2: [T.FLIP_LEFT_RIGHT], 3: [T.ROTATE_180], 4: [T.FLIP_TOP_BOTTOM], 5: [T.TRANSPOSE], 6: [T.ROTATE_90],
        7: [T.TRANSVERSE], 8: [T.ROTATE_270],
    }  # fmt: skip
    stored = upright
    for turn in turns.get(orientation, []):
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(pixels(tmp_path / "x.png"), COLOURS)
    assert check_header(tmp_path / "x.png") == upright.size


def test_grey_and_one_bit(tmp_path: Path) -> None:
    grey = COLOURS[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(pixels(tmp_path / "grey.png"), np.stack([grey] * 3, -1))
    assert np.array_equal(pixels(tmp_path / "grey.png", 1), grey)
    Image.fromarray(grey > 127).save(tmp_path / "bit.png")
    assert np.array_equal(pixels(tmp_path / "bit.png", 1), (grey > 127) * 255)


def test_hidden_colours_of_transparent_parts_do_not_leak(tmp_path: Path) -> None:
    alpha = np.zeros((6, 9, 1), np.uint8)
    alpha[:, :4] = 255
    Image.fromarray(np.concatenate([COLOURS, alpha], -1)).save(tmp_path / "rgba.png")
    Image.fromarray(np.concatenate([COLOURS[..., :1], alpha], -1)).save(tmp_path / "la.png")
    seen = pixels(tmp_path / "rgba.png")
    assert np.array_equal(seen[:, :4], COLOURS[:, :4])
    assert (seen[:, 4:] == 255).all()
    assert (pixels(tmp_path / "la.png", 1)[:, 4:] == 255).all()


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "clear.png", transparency=1)
    assert pixels(tmp_path / "plain.png").tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert pixels(tmp_path / "clear.png").tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_cmyk_is_not_inverted(tmp_path: Path) -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    for name in ("x.jpg", "x.tif"):
        cyan.save(tmp_path / name)
        red, green, blue = pixels(tmp_path / name)[8, 8]
        assert red < 30
        assert green > 225
        assert blue > 225


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 257, 30_000, 65_535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / f"x.{suffix}")
    assert pixels(tmp_path / f"x.{suffix}", 1).tolist() == [[0, 1, 117, 255]]


def test_16_bit_big_endian_and_colour_tiffs(tmp_path: Path) -> None:
    deep = (COLOURS.astype(np.uint16)) * 257
    tifffile.imwrite(tmp_path / "big.tif", deep[..., 0].astype(">u2"), byteorder=">")
    assert np.array_equal(pixels(tmp_path / "big.tif", 1), COLOURS[..., 0])
    tifffile.imwrite(tmp_path / "colour.tif", deep, photometric="rgb")
    assert np.array_equal(pixels(tmp_path / "colour.tif"), COLOURS)
    assert check_header(tmp_path / "colour.tif") == (9, 6)
    tifffile.imwrite(tmp_path / "planes.tif", np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate")
    assert np.array_equal(pixels(tmp_path / "planes.tif"), COLOURS)


def test_floats_are_taken_from_0_to_1_and_others_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "float.tif", np.array([[0.0, 0.5, 1.0]], np.float32))
    assert pixels(tmp_path / "float.tif", 1).tolist() == [[0, 128, 255]]
    tifffile.imwrite(tmp_path / "hot.tif", np.array([[0.0, 300.0]], np.float32))
    with pytest.raises(UnreadableImage, match=r"hot.tif .*not between 0 and 1"):
        read_image(tmp_path / "hot.tif")


def test_animations_give_their_first_picture(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "x.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert pixels(tmp_path / "x.webp")[0, 0].tolist() == [255, 0, 0]


def test_profiles_are_applied_and_broken_ones_ignored(tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / "srgb.png", icc_profile=srgb)
    image.save(tmp_path / "broken.png", icc_profile=b"no profile at all")
    assert np.abs(pixels(tmp_path / "srgb.png") - COLOURS).max() <= 1
    assert np.array_equal(pixels(tmp_path / "broken.png"), COLOURS)


def bad_files(folder: Path) -> dict[str, str]:
    """Files that are no images, and a part of the sentence that should be said of each."""
    png, jpg = io.BytesIO(), io.BytesIO()
    big = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    big.save(png, "PNG")
    big.save(jpg, "JPEG")
    bomb = bytearray(png.getvalue())
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    contents = {
        "text.jpg": (b"this is a text\n", "no image"),
        "empty.png": (b"", "is empty"),
        "half.png": (png.getvalue()[:900], "damaged"),
        "half.jpg": (jpg.getvalue()[:900], "damaged"),
        "head.png": (png.getvalue()[:20], ""),
        "bomb.png": (bytes(bomb), ""),
        "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "no image"),
        "half.tif": (b"II*\x00\x08\x00\x00\x00\x01\x00", ""),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder.png").mkdir()
    return {name: part for name, (_, part) in contents.items()} | {
        "folder.png": "a folder",
        "gone.png": "not exist",
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_damaged_files_are_named_in_one_sentence(tmp_path: Path, channels: int) -> None:
    for name, part in bad_files(tmp_path).items():
        with pytest.raises(UnreadableImage) as error:
            read_image(tmp_path / name, channels)
        sentence = str(error.value)
        assert name in sentence
        assert part in sentence
        assert "\n" not in sentence
        assert sentence.endswith(".")


def test_results_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x.xyz has no image suffix"):
        write_image(Image.fromarray(COLOURS), tmp_path / "x.xyz")
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(CycleGANError, match="cannot be written"):
        write_image(Image.fromarray(COLOURS), tmp_path / "taken" / "x.png")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]
