"""Decoding and encoding: every mode and depth that files come in, and the errors for damaged ones."""

import io
import os
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageCms

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging import source as sources
from cyclegan.imaging.decode import image_size, read_image
from cyclegan.imaging.encode import write_image
from cyclegan.imaging.image import to_image, to_tensor
from cyclegan.imaging.source import UnreadableImage

COLORS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def pixels(path: Path, channels: int = 3) -> np.ndarray:
    return np.asarray(read_image(path, channels)).astype(int)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".webp", ".PNG"])
def test_lossless_formats_survive_a_round_trip(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"deep/er{suffix}"
    write_image(Image.fromarray(COLORS), file)
    assert np.array_equal(pixels(file), COLORS)
    assert [p.name for p in file.parent.iterdir()] == [file.name]


SIDE = st.integers(1, 12)


@settings(max_examples=40, deadline=None)
@given(st.one_of(arrays(np.uint8, st.tuples(SIDE, SIDE, st.just(3))), arrays(np.uint8, st.tuples(SIDE, SIDE))))
def test_png_survives_a_round_trip(tmp_path_factory: pytest.TempPathFactory, values: np.ndarray) -> None:
    file = tmp_path_factory.mktemp("png") / "x.png"
    write_image(Image.fromarray(values), file)
    assert np.array_equal(pixels(file, 3 if values.ndim == 3 else 1), values)


def test_jpeg_is_written_at_high_quality(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    write_image(Image.fromarray(smooth), tmp_path / "x.jpg")
    assert np.abs(pixels(tmp_path / "x.jpg") - smooth).mean() < 2


@pytest.mark.parametrize("channels", [1, 3])
def test_every_byte_survives_conversion_to_a_tensor_and_back(channels: int) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(values if channels == 1 else np.stack([values] * 3, -1))
    tensor = to_tensor(image)
    assert tensor.shape == (channels, 16, 16)
    assert (tensor.min().item(), tensor.max().item()) == (-1, 1)
    assert np.array_equal(np.asarray(to_image(tensor)), np.asarray(image))


def test_tensors_are_clamped_and_rounded_not_truncated() -> None:
    values = torch.tensor([-3.0, 127.6 / 127.5 - 1, 5.0]).reshape(1, 1, 3)
    assert np.asarray(to_image(values)).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.webp", "deep.tif", "late.png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_read_upright(tmp_path: Path, orientation: int, name: str) -> None:
    upright = Image.fromarray(COLORS)
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
    if name == "deep.tif":
        deep = np.asarray(stored).astype(np.uint16) * 257
        tag = (274, "H", 1, orientation, True)
        tifffile.imwrite(tmp_path / name, deep, photometric="rgb", extratags=[tag])
    else:
        stored.save(tmp_path / name, exif=exif, **({"lossless": True} if name == "x.webp" else {}))
    if name == "late.png":
        content = (tmp_path / name).read_bytes()
        start = content.index(b"eXIf") - 4
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        (tmp_path / name).write_bytes(content[:start] + content[end:-12] + content[start:end] + content[-12:])
    assert np.array_equal(pixels(tmp_path / name), COLORS)
    assert image_size(tmp_path / name) == upright.size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpegs_are_read_upright(tmp_path: Path, orientation: int) -> None:
    corner = Image.new("L", (32, 16))
    corner.paste(255, (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    corner.save(tmp_path / "x.jpg", exif=exif)
    bright = np.argwhere(pixels(tmp_path / "x.jpg", 1) > 128).mean(0)
    height, width = pixels(tmp_path / "x.jpg", 1).shape
    assert image_size(tmp_path / "x.jpg") == (width, height) == ((16, 32) if orientation > 4 else (32, 16))
    assert tuple(bright > (height / 2, width / 2)) == {
        1: (False, False), 2: (False, True), 3: (True, True), 4: (True, False),
        5: (False, False), 6: (False, True), 7: (True, True), 8: (True, False),
    }[orientation]  # fmt: skip


def test_a_header_is_read_without_decoding(tmp_path: Path) -> None:
    write_image(Image.fromarray(COLORS), tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(content[: content.index(b"IDAT") + 4])
    assert image_size(tmp_path / "x.png") == (9, 6)
    exif = b"Exif\0\0broken"
    Image.fromarray(COLORS).save(tmp_path / "exif.jpg", exif=exif)
    assert image_size(tmp_path / "exif.jpg") == read_image(tmp_path / "exif.jpg").size == (9, 6)


def test_gray_and_one_bit_images_are_read(tmp_path: Path) -> None:
    gray = COLORS[..., 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    assert np.array_equal(pixels(tmp_path / "gray.png"), np.stack([gray] * 3, -1))
    assert np.array_equal(pixels(tmp_path / "gray.png", 1), gray)
    Image.fromarray(gray > 127).save(tmp_path / "bit.png")
    assert np.array_equal(pixels(tmp_path / "bit.png", 1), (gray > 127) * 255)


def test_hidden_colors_of_transparent_pixels_do_not_leak(tmp_path: Path) -> None:
    alpha = np.zeros((6, 9, 1), np.uint8)
    alpha[:, :4] = 255
    Image.fromarray(np.concatenate([COLORS, alpha], -1)).save(tmp_path / "rgba.png")
    Image.fromarray(np.concatenate([COLORS[..., :1], alpha], -1)).save(tmp_path / "la.png")
    seen = pixels(tmp_path / "rgba.png")
    assert np.array_equal(seen[:, :4], COLORS[:, :4])
    assert (seen[:, 4:] == 255).all()
    assert (pixels(tmp_path / "la.png", 1)[:, 4:] == 255).all()


def test_palettes_with_and_without_transparency_are_read(tmp_path: Path) -> None:
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
        cyan.save(tmp_path / name)  # Pillow writes JPEGs as Adobe does, inverted and marked so
        assert (b"Adobe" in (tmp_path / name).read_bytes()) == (name == "x.jpg")
        red, green, blue = pixels(tmp_path / name)[8, 8]
        assert red < 30
        assert green > 225
        assert blue > 225


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_gray_is_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 257, 30_000, 65_535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / f"x.{suffix}")
    assert pixels(tmp_path / f"x.{suffix}", 1).tolist() == [[0, 1, 117, 255]]


def test_16_bit_big_endian_and_color_tiffs_are_read(tmp_path: Path) -> None:
    deep = (COLORS.astype(np.uint16)) * 257
    tifffile.imwrite(tmp_path / "big.tif", deep[..., 0].astype(">u2"), byteorder=">")
    assert np.array_equal(pixels(tmp_path / "big.tif", 1), COLORS[..., 0])
    tifffile.imwrite(tmp_path / "color.tif", deep, photometric="rgb")
    assert np.array_equal(pixels(tmp_path / "color.tif"), COLORS)
    assert image_size(tmp_path / "color.tif") == (9, 6)
    tifffile.imwrite(tmp_path / "planes.tif", np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate")
    assert np.array_equal(pixels(tmp_path / "planes.tif"), COLORS)


def png_16(values: np.ndarray, color_type: int) -> bytes:
    """A PNG of 16 bit, which Pillow cannot write in color."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, color_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("color_type", "bands"), [(2, 3), (6, 4), (4, 2)])
def test_16_bit_color_and_alpha_pngs_are_read(tmp_path: Path, color_type: int, bands: int) -> None:
    deep = np.full((6, 9, bands), 65_535, np.uint16)
    colors = 3 if bands > 2 else 1
    deep[..., :colors] = COLORS[..., :colors] * np.uint16(257)
    (tmp_path / "x.png").write_bytes(png_16(deep, color_type))
    wanted = COLORS if bands > 2 else np.repeat(COLORS[..., :1], 3, -1)
    assert np.array_equal(pixels(tmp_path / "x.png"), wanted)


@pytest.mark.parametrize("extra", [None, "unassalpha", "assocalpha"])
def test_16_bit_tiffs_with_alpha_and_extra_channels_are_read(tmp_path: Path, extra: str | None) -> None:
    deep = np.zeros((1, 2, 4), np.uint16)
    deep[0, 0] = (65_535, 257, 0, 65_535)
    kinds = [extra] if extra else ["unspecified"]
    tifffile.imwrite(tmp_path / "x.tif", deep, photometric="rgb", extrasamples=kinds)
    seen = pixels(tmp_path / "x.tif")[0].tolist()
    assert seen == [[255, 1, 0], [255] * 3 if extra else [0] * 3]
    gray = np.array([[[514, 65_535], [0, 0]]], np.uint16)
    tifffile.imwrite(tmp_path / "la.tif", gray, photometric="minisblack", extrasamples=["unassalpha"])
    assert pixels(tmp_path / "la.tif", 1).tolist() == [[2, 255]]


def test_tiffs_of_other_depths_and_color_spaces_are_read(tmp_path: Path) -> None:
    file = tmp_path / "x.tif"
    deep = np.array([[0, 257, 65_535]], np.uint16)
    tifffile.imwrite(file, deep, photometric="miniswhite")
    assert pixels(file, 1).tolist() == [[255, 254, 0]]
    tifffile.imwrite(file, np.array([[0, 32_767]], np.int16), photometric="minisblack")
    assert pixels(file, 1).tolist() == [[0, 255]]
    for dtype in (np.float16, np.float64):
        tifffile.imwrite(file, np.ones((4, 5, 3), dtype), photometric="rgb")
        assert (pixels(file) == 255).all()
        assert image_size(file) == (5, 4)
    tifffile.imwrite(file, np.full((4, 5, 4), (65_535, 0, 0, 0), np.uint16), photometric="separated")
    assert pixels(file)[0, 0].tolist() == [0, 255, 255]
    for values in (np.full((2, 2), np.nan, np.float32), np.full((2, 2), 70_000, np.uint32), np.ones((2, 2), complex)):
        tifffile.imwrite(file, values)
        with pytest.raises(UnreadableImage, match=r"x\.tif [^\n]+\.$"):
            read_image(file)


@pytest.mark.processes
def test_compressed_deep_tiffs_are_read_without_imagecodecs(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")  # to write them
    for photometric, values in (("rgb", COLORS), ("miniswhite", COLORS[..., 0])):
        deep = values.astype(np.uint16) * 257
        tifffile.imwrite(tmp_path / f"{photometric}.tif", deep, photometric=photometric, compression="lzw")
    tifffile.imwrite(
        tmp_path / "jxl.tif", COLORS, photometric="rgb", compression="jpegxl", compressionargs={"lossless": True}
    )
    script = """if True:
        import sys; sys.modules["imagecodecs"] = None
        import os, pathlib
        from cyclegan.imaging.decode import read_image
        os.chdir(sys.argv[1])
        for name in ("rgb", "miniswhite", "jxl"):
            try:
                print(read_image(pathlib.Path(name + ".tif")).tobytes().hex())
            except Exception as error:
                print(type(error).__name__, error)
    """
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    rgb, gray, jxl = done.stdout.splitlines()
    assert bytes.fromhex(rgb) == COLORS.tobytes()
    assert bytes.fromhex(gray) == np.repeat(255 - COLORS[..., :1], 3, -1).tobytes()
    assert jxl.startswith("UnreadableImage jxl.tif is ")
    assert done.stderr == ""


def test_floats_outside_0_to_1_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "float.tif", np.array([[0.0, 0.5, 1.0]], np.float32))
    assert pixels(tmp_path / "float.tif", 1).tolist() == [[0, 128, 255]]
    tifffile.imwrite(tmp_path / "hot.tif", np.array([[0.0, 300.0]], np.float32))
    with pytest.raises(UnreadableImage, match=r"hot.tif .*has values outside 0 to 1"):
        read_image(tmp_path / "hot.tif")


def test_the_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    for name in ("x.webp", "gif.png", "x.tif"):
        kind = "GIF" if name == "gif.png" else None
        frames[0].save(tmp_path / name, kind, save_all=True, append_images=frames[1:], lossless=True)
        assert pixels(tmp_path / name)[0, 0].tolist() == [255, 0, 0]


def test_other_color_spaces_are_converted_to_srgb(tmp_path: Path) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    swapped = bytes(profile.replace(b"rXYZ", b"tmp!", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tmp!", b"bXYZ", 1))
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "xRGB".encode("utf-16-be"))
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    for name, image in (("x.png", red), ("a.png", red.convert("RGBA")), ("x.tif", red), ("p.png", red.convert("P"))):
        image.save(tmp_path / name, icc_profile=swapped)
        assert np.abs(pixels(tmp_path / name)[0, 0] - (0, 0, 255)).max() <= 2
        assert read_image(tmp_path / name).info == {}


def test_profiles_are_applied_and_broken_ones_ignored(tmp_path: Path) -> None:
    image = Image.fromarray(COLORS)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / "srgb.png", icc_profile=srgb)
    image.save(tmp_path / "broken.png", icc_profile=b"no profile at all")
    assert np.abs(pixels(tmp_path / "srgb.png") - COLORS).max() <= 1
    assert np.array_equal(pixels(tmp_path / "broken.png"), COLORS)


def claiming(side: int, png: bytes) -> bytes:
    """A PNG with another size in its header."""
    header = b"IHDR" + struct.pack(">II", side, side) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def without_pixels() -> dict[str, bytes]:
    """An image of each format with a width of 0 in its header, at offsets from the bytes in front of it."""
    fields = {"BMP": [(b"BM", 18)], "GIF": [(b"GIF", 6), (b",\0\0\0\0", 5)], "JPEG": [(b"\xff\xc0", 7)]}
    fields["TIFF"] = [(b"\0\1\4\0", 8)]
    flat = {"flat.png": claiming(0, encoded("PNG"))}
    for kind, places in fields.items():
        content = bytearray(encoded(kind))
        for start, offset in places:
            at = content.index(start) + offset
            content[at : at + 2] = bytes(2)
        flat[f"flat.{kind.lower()}"] = bytes(content)
    return flat


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COLORS).save(buffer, kind)
    return buffer.getvalue()


GOOD_HEADERS = {"half.png", "half.jpg", "half-gray.tif"}


def bad_files(folder: Path) -> dict[str, str]:
    """Files that are not images, and a part of the error message for each."""
    png, jpg, tif = io.BytesIO(), io.BytesIO(), io.BytesIO()
    big = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    big.save(png, "PNG")
    big.save(jpg, "JPEG")
    bomb, hollow = (claiming(side, png.getvalue()) for side in (60_000, 20_000))
    tifffile.imwrite(tif, np.full((64, 64), 9, np.uint16))
    contents = {
        "text.jpg": (b"this is a text\n", "not an image"),
        "empty.png": (b"", "is empty"),
        "half.png": (png.getvalue()[:900], "damaged"),
        "half.jpg": (jpg.getvalue()[:900], "damaged"),
        "head.png": (png.getvalue()[:20], ""),
        "bomb.png": (bomb, "60000 x 60000 pixels"),
        "hollow.png": (hollow, "20000 x 20000 pixels"),
        "half-gray.tif": (tif.getvalue()[: len(tif.getvalue()) // 2], "damaged"),
        "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "not an image"),
        "half.tif": (b"II*\x00\x08\x00\x00\x00\x01\x00", ""),
    }
    contents |= {name: (content, "") for name, content in without_pixels().items()}
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    return {name: part for name, (_, part) in contents.items()} | {
        "folder.png": "a folder",
        "gone.png": "not exist",
        "pipe.png": "not a regular file",
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_damaged_files_are_reported_in_one_sentence(tmp_path: Path, channels: int) -> None:
    for name, part in bad_files(tmp_path).items():
        with pytest.raises(UnreadableImage) as error:
            read_image(tmp_path / name, channels)
        sentence = str(error.value)
        assert name in sentence
        assert part in sentence
        assert "\n" not in sentence
        assert "Traceback" not in sentence
        assert sentence.endswith(".")


def test_bad_headers_are_reported_with_the_same_message(tmp_path: Path) -> None:
    names = set(bad_files(tmp_path)) - GOOD_HEADERS
    for name in names:
        with pytest.raises(UnreadableImage) as error:
            image_size(tmp_path / name)
        with pytest.raises(UnreadableImage) as again:
            read_image(tmp_path / name)
        assert str(error.value) == str(again.value)


def test_files_without_read_permission_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    write_image(Image.fromarray(COLORS), tmp_path / "x.png")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UnreadableImage, match=r"x\.png cannot be read; check its permissions\.$"):
        read_image(tmp_path / "x.png")


def test_large_images_are_read_without_changing_global_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("x.png", "x.jpg", "x.tif"):
        write_image(Image.fromarray(COLORS), tmp_path / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # stands for an image beyond Pillow's limit
    monkeypatch.setattr(sources, "SUSPECT_PIXELS", 10)
    for name in ("x.png", "x.jpg", "x.tif"):
        assert read_image(tmp_path / name).size == image_size(tmp_path / name) == (9, 6)
    assert Image.MAX_IMAGE_PIXELS == 10
    monkeypatch.setattr(sources, "MAX_PIXELS", 20)
    for read in (read_image, image_size):
        with pytest.raises(UnreadableImage, match=r"x\.png claims 9 x 6 pixels"):
            read(tmp_path / "x.png")


@pytest.mark.processes
def test_damaged_files_write_nothing_to_the_terminal(tmp_path: Path) -> None:
    draw = random.Random(0)
    for suffix in ("jpg", "png", "webp", "tif"):
        whole = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(COLORS).resize((60, 40)).save(
            whole, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix), exif=exif
        )
        for number in range(25):
            content = bytearray(whole.getvalue())
            for _ in range(3):
                content[draw.randrange(4, min(len(content), 400))] = draw.randrange(256)
            (tmp_path / f"{number}.{suffix}").write_bytes(content)
    script = """if True:
        import os, pathlib, sys
        from cyclegan.imaging.source import UnreadableImage
        from cyclegan.imaging.decode import image_size, read_image
        os.chdir(sys.argv[1])  # only now: the package may be found by a relative path
        for path in sorted(pathlib.Path().iterdir()):
            for read in (image_size, read_image):
                try:
                    read(path)
                except UnreadableImage as error:
                    assert str(error).startswith(path.name) and "\\n" not in str(error), error
    """
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_images_are_written_atomically(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x.xyz cannot be written; its suffix must be"):
        write_image(Image.fromarray(COLORS), tmp_path / "x.xyz")
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(CycleGANError, match="cannot be written"):
        write_image(Image.fromarray(COLORS), tmp_path / "taken" / "x.png")
    with pytest.raises(CycleGANError, match=r"x\.jpg cannot be written: JPEG is limited to 65500"):
        write_image(Image.new("L", (65_501, 1)), tmp_path / "x.jpg")
    with pytest.raises(CycleGANError, match=r"x\.jpg cannot be written"):
        write_image(Image.new("RGBA", (1, 1)), tmp_path / "x.jpg")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(self: Image.Image, file: Path, **_: object) -> None:
        file.write_bytes(b"half an image")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fill)
    with pytest.raises(CycleGANError, match=r"x\.png cannot be written: No space left on device\.$"):
        write_image(Image.fromarray(COLORS), tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
