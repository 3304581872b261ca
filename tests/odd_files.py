"""Files as people have them: damaged, misnamed, of odd kinds and with odd names. Each is truly readable, or not."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageCms

SIZE = (48, 40)
NOISE = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
IMAGE = Image.fromarray(NOISE)
OTHER = Image.fromarray(255 - NOISE)


def encoded(kind: str, image: Image.Image = IMAGE, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def tiff(values: np.ndarray, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **settings)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, pixels: bytes = b"", depth: int = 8, color: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


FORMATS: dict[str, bytes] = {
    "plain.png": encoded("PNG"),
    "plain.jpg": encoded("JPEG", quality=90),
    "progressive.jpg": encoded("JPEG", quality=90, progressive=True),
    "plain.webp": encoded("WEBP", lossless=True),
    "plain.bmp": encoded("BMP"),
    "plain.tif": encoded("TIFF"),
    "deflated.tiff": encoded("TIFF", compression="tiff_deflate"),
}


def damaged() -> Iterator[tuple[str, bytes]]:
    """Files that no decoder can decode completely."""
    for name, content in FORMATS.items():
        stem, suffix = name.split(".")
        for share in (0.02, 0.1, 0.5, 0.9):
            yield f"{stem}-cut-at-{share}.{suffix}", content[: int(share * len(content))]
    for suffix, start in (("png", 8), ("jpg", 4), ("webp", 16), ("bmp", 14), ("tif", 8)):
        yield f"start-only.{suffix}", FORMATS[f"plain.{suffix}"][:start]
    yield "zero.png", b""
    yield "zero.jpg", b""
    yield "text.jpg", b"hello"
    yield "page.png", b"<!doctype html><html><body>404 Not Found</body></html>"
    yield "drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>'
    yield "document.jpg", b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    yield "archive.tif", b"PK\x03\x04" + bytes(64)
    yield "nulls.bmp", bytes(4096)
    yield "noise.webp", np.random.default_rng(1).bytes(4096)
    yield "bomb.png", png(60_000, 60_000)
    yield "bomb.bmp", b"BM" + struct.pack("<IHHIIiiHH", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24) + bytes(24)
    yield "no-width.png", png(0, 40)
    yield "no-pixels.png", png(*SIZE)
    yield "wrong-pixels.png", FORMATS["plain.png"].replace(b"IDAT", b"IDAT\xff\xff\xff\xff", 1)
    yield "wrong-sum.png", FORMATS["plain.png"][:20] + b"\x01" + FORMATS["plain.png"][21:]
    yield "torn\nname.png", FORMATS["plain.png"][:99]
    yield os.fsdecode(b"torn-\xe9.png"), FORMATS["plain.png"][:99]
    yield "floats.tif", tiff(np.full((40, 48), 7.5, np.float32))


def odd() -> Iterator[tuple[str, bytes]]:
    """Files that can be read, though each is unlike the usual."""
    yield "really-png.jpg", FORMATS["plain.png"]
    yield "really-jpeg.png", FORMATS["plain.jpg"]
    yield "really-webp.bmp", FORMATS["plain.webp"]
    yield "really-gif.png", encoded("GIF")
    frames = {"save_all": True, "append_images": [OTHER], "duration": 50}
    yield "moving-gif.png", encoded("GIF", **frames)
    yield "moving.webp", encoded("WEBP", **frames)
    yield "moving.png", encoded("PNG", **frames)
    yield "pages.tif", encoded("TIFF", save_all=True, append_images=[OTHER])
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield "profile.jpg", encoded("JPEG", icc_profile=profile)
    yield "broken-profile.png", encoded("PNG", icc_profile=b"no profile")
    yield "print.jpg", encoded("JPEG", IMAGE.convert("CMYK"))  # Pillow writes it inverted, as Adobe does
    yield "print.tif", encoded("TIFF", IMAGE.convert("CMYK"))
    deep = NOISE[..., 0].astype(np.uint16) * 257
    yield "deep.png", encoded("PNG", Image.fromarray(deep))
    yield "deep.tif", tiff(np.stack([deep] * 3, -1), photometric="rgb")
    yield "floats-in-range.tif", tiff((NOISE[..., 0] / 255).astype(np.float32))
    palette = IMAGE.quantize(16)
    yield "palette.png", encoded("PNG", palette)
    yield "clear-palette.png", encoded("PNG", palette, transparency=bytes(range(0, 256, 16)))
    yield "one-bit.png", encoded("PNG", IMAGE.convert("1"))
    yield "one-bit.tif", encoded("TIFF", IMAGE.convert("1"))
    alpha = Image.fromarray(NOISE[..., 0])
    yield "alpha.png", encoded("PNG", Image.merge("RGBA", [*IMAGE.split(), alpha]))
    yield "alpha.webp", encoded("WEBP", Image.merge("RGBA", [*IMAGE.split(), alpha]))
    yield "gray-alpha.png", encoded("PNG", Image.merge("LA", [alpha, alpha]))
    yield "gray.jpg", encoded("JPEG", alpha)
    turned = Image.Exif()
    turned[0x0112] = 6
    yield "turned.jpg", encoded("JPEG", exif=turned)
    yield "broken-exif.jpg", encoded("JPEG", exif=b"Exif\0\0broken")
    yield "trailing.png", FORMATS["plain.png"] + bytes(100)
    yield "dot.png", png(1, 1, b"\0\0")
    yield "line.png", encoded("PNG", IMAGE.resize((300, 1)))
    yield "\U0001f984 unicorn.png", FORMATS["plain.png"]
    yield "two\nlines.png", FORMATS["plain.png"]
    yield "[brackets] *?.png", FORMATS["plain.png"]
    yield "-dash.png", FORMATS["plain.png"]
    yield "  spaces  .PNG", FORMATS["plain.png"]
    yield "[bold]markup.png", FORMATS["plain.png"]
    yield f"{'long' * 50}.png", FORMATS["plain.png"]
    yield os.fsdecode(b"latin-\xe9\xff.png"), FORMATS["plain.png"]


def write_odd_files(folder: Path) -> tuple[set[Path], set[Path]]:
    """All of them, with links, a pipe and folders that lead in circles. Returns the unreadable, and the others."""
    folder.mkdir(parents=True)
    broken, fine = ({folder / name: content for name, content in kind} for kind in (damaged(), odd()))
    for path, content in (broken | fine).items():
        path.write_bytes(content)
    (folder / "nowhere.png").symlink_to("gone.png")
    (folder / "itself.jpg").symlink_to("itself.jpg")
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / "here").symlink_to(".")
    (folder / "up").symlink_to("../..")
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    (folder / "one" / "other").symlink_to("../two")
    (folder / "two" / "other").symlink_to("../one")
    return set(broken) | {folder / name for name in ("nowhere.png", "itself.jpg", "pipe.png")}, set(fine)
