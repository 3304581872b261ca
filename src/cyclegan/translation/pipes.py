"""Images through standard input and output: a picture, or raw frames one after the other."""

import tempfile
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from PIL import GifImagePlugin, Image, ImageSequence, PngImagePlugin, WebPImagePlugin

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.decode import read_header, read_pixels
from cyclegan.imaging.encode import write_pixels
from cyclegan.system.atomic import write_file
from cyclegan.translation.translator import Translator

KINDS = {"JPEG": ".jpg", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "NPY": ".npy", "NPZ": ".npz"}


def translate_image_stream(
    translator: Translator, given: IO[bytes], made: IO[bytes] | Path, *, size: int | Literal["keep"] = "keep"
) -> None:
    """Translate the one image that a stream holds, into a file, or a stream in the same format; of others PNG.

    Raises `UnreadableImage` for what is no image.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "standard-input"
        source.write_bytes(given.read())
        translated = translator.translate(read_pixels(source, translator.input_spec), size)
        if isinstance(made, Path):
            write_pixels(translated, made)
            return
        result = Path(folder) / f"result{KINDS.get(read_header(source).kind, '.png')}"
        write_pixels(translated, result)
        made.write(result.read_bytes())
        made.flush()


def translate_raw_frames(translator: Translator, given: IO[bytes], made: IO[bytes], width: int, height: int) -> int:
    """Translate frames of 8 bit RGB, rows from the top, until the stream ends, and return how many there were.

    Raises `CycleGANError` when it ends within a frame.
    """
    count, length = 0, width * height * 3
    while chunk := _exactly(given, length):
        if len(chunk) < length:
            raise CycleGANError(f"The input ends within frame {count + 1}; are its frames {width}x{height} of rgb24?")
        frame = np.frombuffer(chunk, np.uint8).reshape(height, width, 3)
        made.write(np.ascontiguousarray(translator.translate(frame)).tobytes())
        made.flush()
        count += 1
    return count


def _exactly(given: IO[bytes], length: int) -> bytes:
    """So many bytes, or fewer at the end; a pipe may give less at once."""
    parts = b""
    while len(parts) < length and (part := given.read(length - len(parts))):
        parts += part
    return parts


SUFFIXES = (".gif", ".webp", ".png")
_DECODERS: dict[str, Any] = {
    "GIF": GifImagePlugin.GifImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "PNG": PngImagePlugin.PngImageFile,
}


def is_animation(source: Path) -> bool:
    """Whether a file is an animated picture, or a GIF at all."""
    if source.suffix.lower() not in SUFFIXES or not source.is_file():
        return False
    try:
        with Image.open(source, formats=tuple(_DECODERS)) as image:
            return image.format == "GIF" or bool(getattr(image, "is_animated", False))
    except Exception:  # decoders raise nearly anything; that it is damaged is said where it is read
        return False


def translate_animation(
    translator: Translator, source: Path, target: Path, *, size: int | Literal["keep"] = "keep"
) -> int:
    """Translate each frame of an animation into a new one, and return how many there were.

    Times of frames in milliseconds, and how often it plays, are kept. Raises `UsageError` for a target that cannot
    move, and `CycleGANError` for a source that cannot be read.
    """
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{target} cannot be animated; {', '.join(SUFFIXES)} can, and videos (.mp4, .webm) of videos.")
    frames, durations = [], []
    try:
        with Image.open(source, formats=tuple(_DECODERS)) as image:
            loop = image.info.get("loop")
            for frame in ImageSequence.Iterator(image):
                frame.load()  # its time is known then
                durations.append(float(frame.info.get("duration", 100)))
                frames.append(translator.translate(frame.convert("RGBA" if _is_clear(frame) else "RGB"), size))
    except CycleGANError:
        raise
    except Exception:  # as above
        raise CycleGANError(f"{source} is damaged (it cannot be decoded).") from None
    settings: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": durations}
    settings |= {} if loop is None else {"loop": loop}
    settings |= {"lossless": True} if target.suffix.lower() == ".webp" else {}
    write_file(target, lambda temporary: frames[0].save(temporary, **settings))
    return len(frames)


def _is_clear(frame: Image.Image) -> bool:
    return frame.mode in ("RGBA", "LA", "PA") or "transparency" in frame.info
