"""Translating animated images: GIF, WebP and APNG."""

from pathlib import Path
from typing import Any

from PIL import GifImagePlugin, Image, ImageSequence, PngImagePlugin, WebPImagePlugin

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.system.atomic import write_file
from cyclegan.translation.translator import Size, Translator

SUFFIXES = (".gif", ".webp", ".png")
_PLUGINS: dict[str, Any] = {  # the only formats that Pillow may try
    "GIF": GifImagePlugin.GifImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "PNG": PngImagePlugin.PngImageFile,
}


def is_animation(source: Path) -> bool:
    """Whether a file is an animated image, or any GIF."""
    if source.suffix.lower() not in SUFFIXES or not source.is_file():
        return False
    try:
        with Image.open(source, formats=tuple(_PLUGINS)) as image:
            return image.format == "GIF" or bool(getattr(image, "is_animated", False))
    except Exception:  # decoders raise nearly anything; damaged files are reported when they are read
        return False


def translate_animation(translator: Translator, source: Path, target: Path, *, size: Size = "keep") -> int:
    """Translate every frame of an animation into a new file, and return their number.

    Durations of frames and the number of repetitions are kept. Raises `UsageError` for a target that cannot be
    animated, and `CycleGANError` for a source that cannot be read.
    """
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{target} cannot be animated; use {', '.join(SUFFIXES)}, or for videos .mp4 or .webm.")
    frames, durations = [], []
    try:
        with Image.open(source, formats=tuple(_PLUGINS)) as image:
            loop = image.info.get("loop")
            for frame in ImageSequence.Iterator(image):
                frame.load()  # only then is its duration known
                durations.append(float(frame.info.get("duration", 100)))
                transparent = frame.mode in ("RGBA", "LA", "PA") or "transparency" in frame.info
                frames.append(translator.translate(frame.convert("RGBA" if transparent else "RGB"), size))
    except CycleGANError:
        raise
    except Exception:  # as above
        raise CycleGANError(f"{source} is damaged: it cannot be decoded.") from None
    settings: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": durations}
    settings |= {} if loop is None else {"loop": loop}
    settings |= {"lossless": True} if target.suffix.lower() == ".webp" else {}
    write_file(target, lambda temporary: frames[0].save(temporary, **settings))
    return len(frames)
