"""The tab Files: many images as a zip archive, and videos, with progress and cancel."""

import itertools
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.encode import IMAGE_SUFFIXES
from cyclegan.imaging.video import VIDEO_SUFFIXES, read_frames
from cyclegan.system.text import counted
from cyclegan.translation.files import find, plan, translate
from cyclegan.translation.translator import Size, Translator
from cyclegan.translation.video import translate_video
from cyclegan.web.app.models import Models
from cyclegan.web.app.widgets import display_image, explained, follow_model, note, parse_size, result_folder

POLL_SECONDS = 0.25
LISTED = 5  # files that could not be translated, named on the page


Result = tuple[Path, str]  # the file to download, and a sentence about it


class Cancelled(Exception):
    """The user has cancelled the work."""


class Job(threading.Thread):
    """Work in a thread of its own, which ends with the app, says how far it is, and can be cancelled."""

    def __init__(self, work: Callable[["Job"], Result]):
        super().__init__(daemon=True)
        self.work, self.done, self.total = work, 0, 0
        self.preview: tuple[Image.Image, Image.Image] | None = None  # before and after
        self.cancelled = threading.Event()
        self.future: Future[Result] = Future()
        self.start()

    def run(self) -> None:
        """Do the work."""
        try:
            with explained():
                self.future.set_result(self.work(self))
        except BaseException as error:
            self.future.set_exception(error)

    def advance(self, done: int, total: int | None) -> None:
        """Record progress. Raises `Cancelled` after a cancel."""
        self.done, self.total = done, total or 0
        if self.cancelled.is_set():
            raise Cancelled


def build_files_tab(models: Models) -> gr.Dropdown:
    """The tab's contents, inside a Blocks context. Returns its dropdown of models."""
    jobs: dict[str, Job] = {}  # by the page's session
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            model = gr.Dropdown(label="Model", allow_custom_value=True)
            direction = gr.Radio(label="Direction", visible=False)
            size = gr.Number(label="Size", info="Shorter side in pixels. 0: each file's own.", precision=0)
            files = gr.File(
                label="Images, or one video",
                file_count="multiple",
                file_types=[*sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES)],
                height=200,
                elem_id="files-input",
            )
            with gr.Row():
                go = gr.Button("Translate all", variant="primary", elem_id="files-go")
                cancel = gr.Button("Cancel", interactive=False, elem_id="files-cancel")
        with gr.Column(scale=7, min_width=320):
            status = gr.HTML(note("Images come back as one zip archive, a video as a video."), elem_id="files-status")
            preview = gr.ImageSlider(
                label="Preview",
                type="filepath",
                format="png",
                interactive=False,
                max_height=480,
                visible=False,
                buttons=["fullscreen"],
                elem_id="files-preview",
            )
            video = gr.Video(
                label="Translated video", visible=False, interactive=False, height=480, elem_id="files-video"
            )
            download = gr.DownloadButton("Download", visible=False, elem_id="files-download")

    def run(
        paths: Sequence[str] | None, source: str | None, direction: str | None, size: float | None, request: gr.Request
    ) -> Iterator[dict[Any, Any]]:
        session = str(request.session_hash)
        yield {
            status: note("Loading the model."),
            cancel: gr.update(interactive=True),
            go: gr.update(interactive=False),
            **{each: gr.update(visible=False) for each in (preview, video)},
            download: gr.update(visible=False),
        }
        idle = {cancel: gr.update(interactive=False), go: gr.update(interactive=True)}
        try:
            given = [Path(path) for path in paths or []]
            videos = [path for path in given if path.suffix.lower() in VIDEO_SUFFIXES]
            if not given or (videos and len(given) > 1):
                raise UsageError("Choose images, or one video." if given else "Choose files first.")

            def work(job: Job) -> Result:
                translator = models.load(source, direction)
                return (_video if videos else _zip)(job, translator, given, parse_size(size))

            job = jobs[session] = Job(work)
            noun, started, previewed = "frame" if videos else "image", time.monotonic(), False
            while not job.future.done():
                shown: dict[Any, Any] = {status: note(_describe(job, noun, time.monotonic() - started))}
                if job.preview and not previewed:
                    shown[preview], previewed = gr.update(value=job.preview, visible=True), True
                yield shown
                time.sleep(POLL_SECONDS)
            target, sentence = job.future.result()
        except Cancelled:
            yield {status: note("Cancelled; nothing was kept."), **idle}
        except CycleGANError as problem:
            yield {status: note(str(problem), "alert"), **idle}
        else:
            shown = {video: gr.update(value=str(target), visible=True)} if videos else {}
            yield {status: note(sentence), download: gr.update(value=str(target), visible=True), **shown, **idle}
        finally:
            if session in jobs:
                jobs.pop(session).cancelled.set()  # when the page was closed

    def cancel_now(request: gr.Request) -> None:
        if job := jobs.get(str(request.session_hash)):
            job.cancelled.set()

    follow_model(models, model, direction)
    outputs = [status, cancel, go, preview, video, download]
    go.click(
        run,
        [files, model, direction, size],
        outputs,
        concurrency_id="files",
        concurrency_limit=1,
        show_progress="hidden",
    )
    cancel.click(cancel_now, show_progress="hidden", queue=False)
    return model


def _describe(job: Job, noun: str, seconds: float) -> str:
    if not job.total:
        return "Translating …"
    left = seconds / job.done * (job.total - job.done) if job.done else 0
    return f"{job.done:,} of {counted(job.total, noun)}" + (f", {left:.0f} s left." if left >= 1 else ".")


def _zip(job: Job, translator: Translator, images: Sequence[Path], size: Size) -> Result:
    """Translate the images into a zip archive."""
    target = result_folder() / f"{translator.domains[1]}.zip"
    problems = []
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        inputs, results = Path(folder, "inputs"), Path(folder, "results")
        inputs.mkdir()
        for number, image in enumerate(images):  # equal names, and names that differ in their suffix only, stay apart
            taken = {each.stem for each in inputs.iterdir()}
            name = image.name if image.stem not in taken else f"{image.stem}-{number}{image.suffix}"
            shutil.copy(image, inputs / name)
        jobs = plan(find([inputs]), results, channels=translator.out_channels)
        job.advance(0, len(jobs))
        for done, problem in enumerate(translate(translator, jobs, size=size), 1):
            problems += [problem.replace(f"{inputs}/", "")] if problem else []
            job.advance(done, len(jobs))
        written = [each.target for each in jobs if each.target.exists()]
        if not written:
            raise CycleGANError(f"None of the {counted(len(jobs), 'image')} can be read: {problems[0]}")
        with zipfile.ZipFile(target, "w") as archive:  # stored: images are compressed already
            for file in written:
                archive.write(file, file.relative_to(results))
    skipped = "".join(f" {each}" for each in itertools.islice(problems, LISTED))
    return target, f"{counted(len(written), 'image')} translated, {len(problems)} skipped.{skipped}"


def _video(job: Job, translator: Translator, videos: Sequence[Path], size: Size) -> Result:
    """Translate a video, after its first frame as a preview."""
    (source,) = videos
    job.preview = first_frame(translator, source, size)
    target = result_folder() / f"{source.stem}-{translator.domains[1]}.mp4"
    result = translate_video(translator, source, target, size=size, progress=job.advance)
    return target, " ".join((f"{counted(result.frames, 'frame')} translated.", *result.notes))


def first_frame(translator: Translator, source: Path, size: Size) -> tuple[Image.Image, Image.Image]:
    """The first frame of a video and its translation, of one size. Raises as `translate_video`."""
    frame = next((pixels for _, _, pixels in read_frames(source, every=1)), None)
    if frame is None:
        raise CycleGANError(f"{source.name} has no frames that can be decoded.")
    after = translator.translate(frame, size)
    return display_image(frame.resize(after.size)), display_image(after)
