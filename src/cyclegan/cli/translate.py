"""`cyclegan translate`."""

import io
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from typing_extensions import Doc

from cyclegan.cli.app import command, process_numbers, require_model
from cyclegan.cli.settings import NO_DEFAULT, Device, OptionalDirection, OptionalPath, OptionalText, Switch
from cyclegan.config.schema import Devices
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.value_range import COLOR_FORM, parse_color
from cyclegan.system.remote import is_remote, is_url, local_copy, to_path

if TYPE_CHECKING:
    from rich.progress import Progress

    from cyclegan.translation.files import Job
    from cyclegan.translation.translator import Translator


PATH_OR_URL = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="PATH",
    instance_from_str=lambda words: to_path(words[0]),
    is_instance=lambda value: not isinstance(value, str),
    str_from_instance=lambda path: [str(path)],
)


@dataclass
class Options:
    """Options of `cyclegan translate`."""

    run: Annotated[
        Path,
        tyro.conf.Positional,
        Doc("Run folder, checkpoint, model folder, exported model, or hf:user/name from the Hugging Face hub."),
    ]
    input: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="INPUT ...", help_behavior_hint="(required)"),
        Doc("Images, folders (with their subfolders), patterns, https:// or s3:// URLs, one video, or - for stdin."),
    ]
    output: Annotated[
        Path, PATH_OR_URL, tyro.conf.arg(aliases=["-o"]), Doc("Folder for the results, or a file for one input.")
    ]
    direction: Annotated[
        OptionalDirection,
        Doc("AtoB, BtoA, or by the domains' names, such as zebra2horse. Default: AtoB, or the only one."),
    ] = None
    size: Annotated[str, Doc("'keep', or resize to this many pixels on the shorter side.")] = "keep"
    side_by_side: Annotated[Switch, Doc("Write input and result next to each other in one image.")] = False
    alpha: Annotated[str, Doc("Transparency: 'keep' it, or fill it with white, black or #rrggbb.")] = "keep"
    masks: Annotated[
        OptionalPath, Doc("Folder of masks with the names of the images, or one mask: a part of each input is kept.")
    ] = None
    keep_part: Annotated[
        Literal["outside", "inside"], Doc("What --masks keeps: outside of the white area of a mask, or inside.")
    ] = "outside"
    save_masks: Annotated[
        Switch, Doc("Also write what an attention generator changed, as NAME-mask.png: black where the input is kept.")
    ] = False
    smooth: Annotated[
        float, Doc("For videos: fraction of the normalization statistics kept from frame to frame, such as 0.9.")
    ] = 0.0
    raw: Annotated[
        OptionalText, Doc("Read raw rgb24 frames of this size, such as 640x480, from stdin and write them to stdout.")
    ] = None
    overwrite: Annotated[Switch, Doc("Replace existing results.")] = False
    resume: Annotated[Switch, Doc("Keep existing results, and translate the other images.")] = False
    device: Device = "auto"
    devices: Annotated[
        Devices,
        tyro.conf.arg(metavar="INT|auto"),
        Doc("Processes that share the images, on a GPU each; auto: one for each GPU. Also under torchrun and srun."),
    ] = 1
    winograd: Annotated[
        bool,
        tyro.conf.FlagCreatePairsOff,
        NO_DEFAULT,
        Doc("Turn off faster CPU convolutions, which are equal up to rounding."),
    ] = True
    memory: Annotated[OptionalText, Doc("Maximum memory to use, such as 2GiB. Default: most of what is free.")] = None


@command("translate")
def translate(options: Annotated[Options, tyro.conf.arg(name="")]) -> None:
    """Translate images, folders or a video with a model.

    Images of any size are translated as a whole, in limited memory.

    For example
      cyclegan translate runs/horse2zebra photos/ -o zebras
      cyclegan translate runs/horse2zebra walk.mp4 -o walk-zebra.mp4 --smooth 0.9
      cyclegan translate hf:user/name zebra.jpg -o horse.jpg --direction zebra2horse
      cyclegan translate runs/horse2zebra photos/ -o zebras --devices auto --resume
    """
    if not options.input:
        raise UsageError("`cyclegan translate` needs INPUT; see `cyclegan translate --help`.")
    size = _size(options.size)
    _require_alpha(options.alpha)
    require_model(options.run)

    from cyclegan.data.get.url import download
    from cyclegan.imaging.video import VIDEO_SUFFIXES

    with ExitStack() as copies:

        def fetch(text: str) -> str:
            if text.lower().startswith(("http://", "https://")):
                folder = copies.enter_context(tempfile.TemporaryDirectory(prefix="cyclegan-"))
                return str(download(text, Path(folder)))
            is_moving = Path(text).suffix.lower() in {".gif", *VIDEO_SUFFIXES}
            return str(copies.enter_context(local_copy(to_path(text)))) if is_url(text) and is_moving else text

        options = replace(options, input=tuple(map(fetch, options.input)))
        if _is_stream(options):
            _translate_stream(options, size)
        else:
            _translate_files(options, size)


def _translate_files(options: Options, size: int | Literal["keep"]) -> None:
    if options.overwrite and options.resume:
        raise UsageError("--overwrite and --resume were both given; choose one.")

    from cyclegan.translation import files

    found = files.find([*map(to_path, options.input)])
    rank, _, processes = process_numbers()
    plan = partial(
        files.plan,
        found,
        options.output,
        overwrite=options.overwrite,
        resume=options.resume,
        masks=options.masks,
        share=(rank, processes),
    )
    try:
        plan()  # its errors need no torch
        _translate_jobs(options, size, plan, len(found[rank::processes]))
    except CycleGANError as error:
        error.alone = processes > 1  # others may have succeeded
        raise


def _translate_jobs(
    options: Options, size: int | Literal["keep"], plan: Callable[..., "list[Job]"], planned: int
) -> None:
    from rich.progress import Progress

    from cyclegan.system.machine import local_processes
    from cyclegan.translation import files
    from cyclegan.translation.processes import select_gpu, translate_in_processes

    rank, local_rank, processes = process_numbers()
    workers = 1 if processes > 1 else local_processes(options.devices, options.device)
    if processes > 1:
        select_gpu(local_rank)
    translator = _load(options) if workers == 1 else _load(replace(options, device="cpu"))  # only to describe it
    channels = 3 if options.side_by_side else translator.out_channels
    jobs = plan(channels=channels)
    if workers == 1:
        translate: Callable[..., Iterator[str | None]] = partial(files.translate, translator)
    else:
        translate = partial(translate_in_processes, partial(_load, options), processes=min(workers, len(jobs)))
    problems = translate(
        jobs=jobs,
        size=size,
        side_by_side=options.side_by_side,
        alpha=options.alpha,
        save_masks=options.save_masks,
        keep=options.keep_part,
    )
    if size == "keep":
        _note(files.scale_note(translator, (job.source for job in jobs)))
    failed = 0
    with Progress(disable=not sys.stderr.isatty()) as progress:
        translator.any_size.progress = _band_progress(progress)
        for problem in progress.track(problems, len(jobs), description="Translating"):
            if problem:
                failed += 1
                print(problem, file=sys.stderr)
    who = f"Process {rank + 1} of {processes}: " if processes > 1 else ""
    existed = f"; {planned - len(jobs)} existed" if options.resume else ""
    print(f"{who}{len(jobs) - failed} of {len(jobs)} images translated to {options.output}{existed}")
    if any(job.target.suffix == ".tif" != job.source.suffix for job in jobs) and len(jobs) > 1:
        print(f"Images with {channels} channels were written as .tif where the format of the input cannot hold them.")
    if failed:
        raise SystemExit(1)


def _load(options: Options) -> "Translator":
    from cyclegan.translation.translator import Translator

    return Translator.load(options.run, options.direction, options.device, options.memory, winograd=options.winograd)


def _note(sentence: str | None) -> None:
    if sentence:
        print(sentence, file=sys.stderr)


def _is_stream(options: Options) -> bool:
    """Whether the input is a pipe, a video, a camera or an animation."""
    from cyclegan.translation.files import is_animation
    from cyclegan.translation.video import is_video

    if options.raw is not None or options.smooth or str(options.output) == "-":
        return True
    first = Path(options.input[0])
    return len(options.input) == 1 and (str(first) == "-" or is_video(first) or is_animation(first))


def _band_progress(progress: "Progress") -> Callable[[int, int], None]:
    """A second bar while an image is translated in bands."""
    bar = progress.add_task("  bands", visible=False)

    def update(done: int, total: int) -> None:
        progress.update(bar, completed=done, total=total, visible=done < total)

    return update


def _require_alpha(text: str) -> None:
    try:
        if text != "keep":
            parse_color(text)
    except ValueError:
        raise UsageError(f"--alpha is {text!r}; it must be keep, {COLOR_FORM}.") from None


def _size(text: str) -> int | Literal["keep"]:
    if text == "keep":
        return "keep"
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise UsageError(f"--size is {text!r}; it must be 'keep' or a number of pixels.")


def _translate_stream(options: Options, size: int | Literal["keep"]) -> None:
    """Translate a single stream. Raises `UsageError` for options that do not apply to it."""
    from cyclegan.translation.temporal import with_temporal_smoothing
    from cyclegan.translation.video import is_video

    if len(options.input) > 1:
        raise UsageError("Pipes, videos and animations are translated one at a time; give one input.")
    if options.side_by_side or options.alpha != "keep" or options.save_masks or options.masks:
        raise UsageError("--side-by-side, --alpha, --masks and --save-masks apply to image files only.")
    if options.resume or options.devices != 1:
        raise UsageError("--resume and --devices apply to image files only.")
    source = Path(options.input[0])
    if options.raw is not None and size != "keep":
        raise UsageError("--size does not apply to --raw, whose frames keep their size.")
    if options.smooth and not is_video(source) and options.raw is None:
        raise UsageError(f"--smooth applies to videos only; {source} is not a video.")
    if is_video(source) and options.raw is None and str(options.output) == "-":
        raise UsageError(
            "Videos cannot be written to standard output; name a file with -o, or use --raw 640x480 for a camera."
        )
    target = Path("-") if str(options.output) == "-" else _target(options, is_video(source))
    translator = _load(options)
    if options.smooth:
        translator = with_temporal_smoothing(translator, options.smooth)
    if options.raw is not None:
        _raw(translator, options)
    elif str(source) == "-" or str(target) == "-":
        _image(translator, source, target, size)
    elif is_video(source):
        _video(translator, source, target, size)
    else:
        _animation(translator, source, target, size)


def _target(options: Options, moving: bool) -> Path:
    """The file to write. Raises `UsageError` if it is the source, or exists without --overwrite."""
    source, out = Path(options.input[0]), options.output
    if out.is_dir() or not out.suffix:
        name = "camera.mp4" if str(source).startswith("camera:") else "image.png" if str(source) == "-" else source.name
        out = out / name
    if out.exists() and source.exists() and not is_remote(out) and out.samefile(source):
        raise UsageError(f"-o would overwrite the input {source}; choose another file.")
    if out.exists() and not options.overwrite:
        raise UsageError(f"{out} exists; choose another -o, or add --overwrite.")
    return out


def _raw(translator: "Translator", options: Options) -> None:
    from cyclegan.translation.video import CAMERA, translate_camera_raw, translate_raw_frames

    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", options.raw or "")
    if found is None:
        raise UsageError(f"--raw is {options.raw!r}; it must be width and height, such as 640x480.")
    source = options.input[0]
    if not (source == "-" or source.startswith(CAMERA)) or str(options.output) != "-":
        raise UsageError("--raw reads from standard input or a camera and writes to standard output; use `- -o -`.")
    if (translator.in_channels, translator.out_channels) != (3, 3):
        raise UsageError("--raw needs a generator for color images (3 channels in and out).")
    width, height, stopped = int(found[1]), int(found[2]), 0
    try:
        if source == "-":
            count = translate_raw_frames(translator, sys.stdin.buffer, sys.stdout.buffer, width, height)
        else:
            result = translate_camera_raw(translator, source, sys.stdout.buffer, width, height)
            count, stopped = result.frames, result.stopped
    except BrokenPipeError:
        raise CycleGANError("The program that reads the frames has exited; translation stopped.") from None
    print(f"{count} frames translated", file=sys.stderr)
    if stopped:
        raise SystemExit(128 + stopped)


def _image(translator: "Translator", source: Path, target: Path, size: int | Literal["keep"]) -> None:
    from cyclegan.imaging.source import UnreadableImage
    from cyclegan.translation.files import translate_image_stream

    stream = sys.stdin.buffer if str(source) == "-" else io.BytesIO(source.read_bytes())
    try:
        _note(
            translate_image_stream(translator, stream, sys.stdout.buffer if str(target) == "-" else target, size=size)
        )
    except UnreadableImage:
        name = "Standard input" if str(source) == "-" else source
        raise UsageError(f"{name} is not a supported image, or is damaged.") from None
    if str(target) != "-":
        print(f"Translated to {target}")


def _video(translator: "Translator", source: Path, target: Path, size: int | Literal["keep"]) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from cyclegan.translation.video import translate_video

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("Translating", total=None)
        result = translate_video(
            translator,
            str(source),
            target,
            size=size,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    print(f"{target}: {result.frames} frames{' until it was stopped' if result.stopped else ''}.")
    for note in result.notes:
        print(note)
    if result.stopped:
        raise SystemExit(128 + result.stopped)


def _animation(translator: "Translator", source: Path, target: Path, size: int | Literal["keep"]) -> None:
    from cyclegan.translation.files import scale_note, translate_animation

    if size == "keep":
        _note(scale_note(translator, [source]))
    print(f"{target}: {translate_animation(translator, source, target, size=size)} frames.")
