"""Exporting a trained generator: written, run at once on real images, compared with PyTorch, and only then kept."""

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from cyclegan.config.schema import Direction
from cyclegan.data.layouts import find_images
from cyclegan.data.preprocessing import decode_specs
from cyclegan.data.select import find_data, require_data
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.decode import read_pixels
from cyclegan.imaging.image import DecodeSpec, to_tensor
from cyclegan.imaging.source import Source, UnreadableImage
from cyclegan.networks import winograd
from cyclegan.runs.folder import identify, read_run
from cyclegan.runs.hub import resolve_source
from cyclegan.runs.model import load_generator, read_model
from cyclegan.system.atomic import replace_folder, temporary_path
from cyclegan.system.machine import find_device
from cyclegan.system.optional import optional_import
from cyclegan.system.text import counted
from cyclegan.translation.export_formats import FORMATS, ExportJob, Format, infer_format, prepare_for_export
from cyclegan.translation.exported import ExportMetadata, Precision

MIN_PSNR: dict[Precision, float] = {"float32": 80.0, "float16": 50.0, "int8": 30.0}  # dB
VERIFIED, CALIBRATED = 8, 32  # images, at most
MAX_SIDE = 256  # pixels of the shorter side of images to verify on


@dataclass(frozen=True)
class ExportReport:
    """How an export compares with the generator in PyTorch; values are in [-1, 1]."""

    path: Path
    images: int  # compared
    max_difference: float
    mean_difference: float
    psnr: float  # dB, of the worst image
    bytes: int
    seconds: float  # per image, median
    relative_time: float  # to PyTorch's, median over images
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        difference = (
            f"max difference {self.max_difference:.2g}, mean {self.mean_difference:.2g} (of values in [-1, 1]), "
            f"PSNR at least {self.psnr:.1f} dB"
        )
        lines = (
            f"Compared with PyTorch on {counted(self.images, 'image')}: "
            f"{difference if self.max_difference else 'no difference'}\n"
            f"{self.bytes / 2**20:.1f} MiB; {self.seconds:.3f} s per image, {self.relative_time:.2f} of PyTorch's time"
        )
        return "\n".join((lines, *self.notes))


def export(
    source: str | Path,
    format: str | None = None,
    out: str | Path | None = None,
    *,
    precision: Precision = "float32",
    fixed_size: tuple[int, int] | None = None,
    direction: str | None = None,
    images: str | Path | Sequence[Source] | None = None,
    min_psnr: float | None = None,
    web_runtime: Path | None = None,
    overwrite: bool = False,
    device: str = "cpu",
) -> ExportReport:
    """Export the generator of a run, a checkpoint, a model folder or ``hf:user/name``, verified before it is kept.

    `format` defaults to the one that the suffix of `out` names, or ``"onnx"``, and `out` to a name after the source.
    `fixed_size` (height, width) is for devices that take one size.
    `direction` is as for `Translator.load`. `images` to compare and calibrate on, a folder or files, default to
    the run's own. The export fails, and nothing is written, when an image's PSNR against PyTorch is below `min_psnr`:
    80 dB by default, 50 for float16, 30 for int8. `web_runtime` is the npm package for the format "web", which is
    otherwise downloaded. `device` is the one to compare on. Raises `UsageError` for impossible requests,
    `CycleGANError` for failures.
    """
    runs_on = find_device(device)
    format = format or infer_format(out)
    name, source, writer = Path(source).resolve().name, resolve_source(source), FORMATS[format]
    model = read_model(source, generators_only=True)
    generator, channels, learned = load_generator(model, direction, source)
    suffix = {"float32": "", "float16": "-half", "int8": "-int8"}[precision] + (writer.suffix or f"-{format}")
    out = Path(out or f"{name}-{learned}{suffix}")
    data, order = model.config.data, 1 if learned == "AtoB" else -1
    (domain_in, domain_out), (range_in, range_out) = model.domains[::order], (data.range_a, data.range_b)[::order]
    metadata = ExportMetadata(
        direction=learned,
        in_channels=channels[0],
        out_channels=channels[1],
        method=model.method,
        precision=precision,
        source=model.source,
        domain_in=domain_in,
        domain_out=domain_out,
        trained_size=model.trained_size,
        trained_scale=model.trained_scale or 0,
        fixed_size=fixed_size,
        range_in=range_in or "",
        range_out=range_out or "",
        background=data.background,
    )
    _check_request(format, writer, metadata, out, overwrite)
    writer.check(web_runtime)
    sources = _find_images(source, learned, images, calibrate=precision == "int8")
    verification, calibration = _load_images(sources, decode_specs(data, learned)[0], fixed_size)
    winograd.set_winograd(generator, False)  # compare with PyTorch's own convolutions
    job = ExportJob(generator, model, metadata, calibration, web_runtime, runs_on.type)
    beside = temporary_path(out.resolve().parent, "export-")
    with tempfile.TemporaryDirectory(dir=beside.parent, prefix=beside.name) as temporary:
        written = Path(temporary) / out.name
        writer.write(job, written)
        report = _compare(
            prepare_for_export(generator).to(runs_on),
            writer.reopen(job, written).to(runs_on),  # not kept: Windows moves no file that a runtime has open
            [image.to(runs_on) for image in verification],
            out,
            writer.files(written),
        )
        limit = MIN_PSNR[precision] if min_psnr is None else min_psnr
        if not report.psnr >= limit:
            raise CycleGANError(
                f"The export deviates from the model: its PSNR is {report.psnr:.1f} dB, below {limit:g} dB "
                f"(--min-psnr); {out} was not written."
            )
        try:
            if written.is_dir():
                replace_folder(out, lambda new: shutil.copytree(written, new, dirs_exist_ok=True))
            else:
                for file in writer.files(written):
                    file.replace(out.with_suffix(file.suffix))
        except OSError as error:
            raise CycleGANError(f"{out} cannot be written: {error.strerror or error}.") from None
    if model.config.networks.dropout_at_test:
        return replace(report, notes=("The run's dropout at test time is left out: exports have no noise.",))
    return report


def _check_request(name: str, format: Format, metadata: ExportMetadata, out: Path, overwrite: bool) -> None:
    """Raise `UsageError` for impossible combinations and for an `out` that is in the way or cannot be created."""
    if metadata.precision not in format.precisions:
        raise UsageError(f"The format {name} has no {metadata.precision}; it has {' and '.join(format.precisions)}.")
    if metadata.fixed_size and not format.fixed_size:
        raise UsageError(f"The format {name} takes any size; leave out --fixed-size.")
    if format.suffix and out.suffix != format.suffix:
        raise UsageError(f"{out} must end in {format.suffix}, for {name}.")
    existing = [file for file in dict.fromkeys((out, *format.files(out))) if file.exists()]
    if existing and not overwrite:
        raise UsageError(f"{existing[0]} exists; choose another -o, or replace it with --overwrite.")
    if out.exists() and not format.owns(out):
        raise UsageError(f"{out} is not an export to {name}, and is not replaced; choose another -o.")
    if not out.resolve().parent.is_dir():
        raise UsageError(f"The folder {out.parent} does not exist; create it first, or choose another -o.")
    for library in format.libraries:
        optional_import(library, "export")


def _find_images(
    source: Path, direction: Direction, images: str | Path | Sequence[Source] | None, *, calibrate: bool
) -> Sequence[Source]:
    """The images given, or those of a run, test images first; its newest sample images if its data is gone.

    Raises `UsageError` when there are none. Sample images are too few to `calibrate` on.
    """
    hint = "give a folder of images with --images"
    if isinstance(images, str | Path):
        if not Path(images).is_dir() or not (found := find_images(Path(images))):
            raise UsageError(f"There are no images in {images}; {hint}.")
        return found
    if images is not None:
        return images
    if identify(source) == "model":
        raise UsageError(f"{source} is a model without data to verify the export on; {hint}.")
    config = read_run(source)
    samples = sorted((source / "samples").glob(f"step-*-{direction}.png"))
    try:
        require_data(config, source, "--images FOLDER")
    except UsageError:
        if not samples or calibrate:
            raise
        return samples[-1:]
    try:
        domains = find_data(config)
    except (UsageError, OSError) as error:
        raise UsageError(f"The data of {source} cannot be read ({str(error).rstrip('.')}); {hint}.") from None
    test, train = (d.a if direction == "AtoB" else d.b for d in (domains.test, domains.train))
    return (*test[:VERIFIED], *train) if test else train


def _load_images(
    sources: Sequence[Source], spec: DecodeSpec, fixed_size: tuple[int, int] | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Images (1, C, H, W) to verify on, and further ones to calibrate on, or the same if there are no others."""
    loaded: list[Tensor] = []
    for source in sources:
        if len(loaded) == VERIFIED + CALIBRATED:
            break
        try:
            pixels = read_pixels(source, spec)
        except UnreadableImage:
            continue
        scale = min(1.0, MAX_SIDE / min(pixels.size))
        scaled = (max(1, round(pixels.size[0] * scale)), max(1, round(pixels.size[1] * scale)))
        loaded.append(to_tensor(pixels.resize(fixed_size[::-1] if fixed_size else scaled).values)[None])
    if not loaded:
        raise UsageError(f"None of the {len(sources)} images can be read; give others with --images.")
    verification = loaded[:VERIFIED]
    if fixed_size is None:  # one with odd sides, which no architecture takes without padding
        height, width = ((side - 1) // 2 * 2 + 1 for side in verification[0].shape[2:])
        verification[0] = verification[0][..., :height, :width]
    return verification, loaded[VERIFIED:] or verification


def _compare(
    reference: nn.Module, exported: nn.Module, images: Sequence[Tensor], out: Path, files: Sequence[Path]
) -> ExportReport:
    rows = []
    with torch.inference_mode(), _without_tf32():
        exported(images[-1]), reference(images[-1])  # warm-up
        for image in images:
            start = time.perf_counter()
            expected = reference(image).cpu()
            middle = time.perf_counter()
            result = exported(image).cpu()
            seconds, reference_seconds = time.perf_counter() - middle, middle - start
            if result.shape != expected.shape or not bool(result.isfinite().all()):
                raise CycleGANError(
                    f"The export does not work: it gives shape {tuple(result.shape)}, or values that are not finite."
                )
            difference = (result - expected).abs().double()
            psnr = 10 * torch.log10(4 / difference.square().mean()).item()  # values span 2
            rows.append((difference.max().item(), difference.mean().item(), psnr, seconds, seconds / reference_seconds))
    largest, means, psnrs, times, ratios = zip(*rows, strict=True)
    size = sum(file.stat().st_size for file in files)
    mean, time_per_image, ratio = statistics.fmean(means), statistics.median(times), statistics.median(ratios)
    return ExportReport(out, len(images), max(largest), mean, min(psnrs), size, time_per_image, ratio)


@contextmanager
def _without_tf32() -> Iterator[None]:
    """Convolutions on GPUs in full precision."""
    allowed, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed
