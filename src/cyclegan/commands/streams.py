"""`cyclegan translate` for pipes, videos, cameras and animations."""

import io
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclegan.errors import CycleGANError, UsageError

if TYPE_CHECKING:
    from cyclegan.commands.translation import Translate
    from cyclegan.translation.translator import Translator


def translate_stream(options: "Translate", size: int | Literal["keep"]) -> None:
    """Translate the one input of `options`. Raises `UsageError` for inputs and options that do not go together."""
    from cyclegan.translation.smoothing import smoothed
    from cyclegan.translation.translator import Translator
    from cyclegan.translation.video import is_video

    if len(options.input) > 1:
        raise UsageError("Pipes, videos and animations are translated one at a time; give one input.")
    if options.side_by_side or options.alpha != "keep":
        raise UsageError("--side-by-side and --alpha are for files of images.")
    source = options.input[0]
    if options.smooth and not is_video(source) and options.raw is None:
        raise UsageError(f"--smooth is for videos, and {source} is none.")
    if is_video(source) and options.raw is None and str(options.out) == "-":
        raise UsageError("Videos do not go to standard output; give a file, or of a camera --raw 640x480.")
    target = Path("-") if str(options.out) == "-" else _target(options, is_video(source))
    translator = Translator.load(
        options.run, options.direction, options.device, options.memory, winograd=options.winograd
    )
    translator.any_size.blend = options.blend
    if options.smooth:
        translator = smoothed(translator, options.smooth)
    if options.raw is not None:
        _raw(translator, options)
    elif str(source) == "-" or str(target) == "-":
        _picture(translator, source, target, size)
    elif is_video(source):
        _video(translator, source, target, size)
    else:
        _animation(translator, source, target, size)


def _target(options: "Translate", moving: bool) -> Path:
    """The file to write. Raises `UsageError` if it is there, or is the source."""
    source, out = options.input[0], options.out
    if out.is_dir() or not out.suffix:
        name = "camera.mp4" if str(source).startswith("camera:") else "image.png" if str(source) == "-" else source.name
        out = out / name
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"{source} would be replaced by its own translation; choose another -o.")
    if out.exists() and not options.overwrite:
        raise UsageError(f"{out} exists; choose another -o, or replace with --overwrite.")
    return out


def _raw(translator: "Translator", options: "Translate") -> None:
    from cyclegan.translation.pipes import translate_raw
    from cyclegan.translation.video import CAMERA, translate_camera_raw

    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", options.raw or "")
    if found is None:
        raise UsageError(f"--raw is {options.raw!r}; it must be width and height, such as 640x480.")
    source = str(options.input[0])
    if not (source == "-" or source.startswith(CAMERA)) or str(options.out) != "-":
        raise UsageError("--raw takes frames from standard input or a camera to standard output; write - -o -.")
    if (translator.in_channels, translator.out_channels) != (3, 3):
        raise UsageError("--raw is for generators of colour images.")
    width, height, stopped = int(found[1]), int(found[2]), 0
    try:
        if source == "-":
            count = translate_raw(translator, sys.stdin.buffer, sys.stdout.buffer, width, height)
        else:
            filmed = translate_camera_raw(translator, source, sys.stdout.buffer, width, height)
            count, stopped = filmed.frames, filmed.stopped
    except BrokenPipeError:
        raise CycleGANError("The program that takes the frames has ended, and so does the translation.") from None
    print(f"{count} frames translated", file=sys.stderr)
    if stopped:
        raise SystemExit(128 + stopped)


def _picture(translator: "Translator", source: Path, target: Path, size: int | Literal["keep"]) -> None:
    from cyclegan.data.sources import UnreadableImage
    from cyclegan.translation.pipes import translate_picture

    given = sys.stdin.buffer if str(source) == "-" else io.BytesIO(source.read_bytes())
    try:
        translate_picture(translator, given, sys.stdout.buffer if str(target) == "-" else target, size=size)
    except UnreadableImage:
        name = "The standard input" if str(source) == "-" else source
        raise UsageError(f"{name} holds no image of a known kind, or a damaged one.") from None
    if str(target) != "-":
        print(f"{target} is written.")


def _video(translator: "Translator", source: Path, target: Path, size: int | Literal["keep"]) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from cyclegan.translation.video import translate_video

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("Translating", total=None)
        filmed = translate_video(
            translator,
            str(source),
            target,
            size=size,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    print(f"{target}: {filmed.frames} frames{', as far as it went: it was stopped' if filmed.stopped else ''}.")
    for note in filmed.notes:
        print(note)
    if filmed.stopped:
        raise SystemExit(128 + filmed.stopped)


def _animation(translator: "Translator", source: Path, target: Path, size: int | Literal["keep"]) -> None:
    from cyclegan.translation.animation import translate_animation

    print(f"{target}: {translate_animation(translator, source, target, size=size)} frames.")
