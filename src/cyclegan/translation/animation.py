"""Animated pictures, GIF, WebP and APNG, through a translator: frame by frame, their times and loops kept."""

from pathlib import Path
from typing import Any, Literal

from PIL import GifImagePlugin, Image, ImageSequence, PngImagePlugin, WebPImagePlugin

from cyclegan.data.writing import place
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.translation.translator import Translator

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
    place(target, lambda temporary: frames[0].save(temporary, **settings))
    return len(frames)


def _is_clear(frame: Image.Image) -> bool:
    return frame.mode in ("RGBA", "LA", "PA") or "transparency" in frame.info
