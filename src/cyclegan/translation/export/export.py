"""A trained generator for other programs: exported, run at once on real images, compared, and only then kept."""

import copy
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from cyclegan.config.schema import Direction
from cyclegan.data.datasets import readings
from cyclegan.data.layouts import find_images
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.decode import Source, UnreadableImage, read_pixels
from cyclegan.imaging.image import Reading, to_tensor
from cyclegan.methods.method import Method
from cyclegan.methods.registry import method_class
from cyclegan.networks import UNetGenerator, winograd
from cyclegan.networks.layers import Dropout
from cyclegan.runs.folder import is_model_folder
from cyclegan.runs.model import Model, read_model, write_model
from cyclegan.system.atomic import replace_folder
from cyclegan.translation import exported as formats
from cyclegan.translation.export import writers
from cyclegan.translation.export.web import is_page, runtime_archive, write_page
from cyclegan.translation.exported import ExportMetadata
from cyclegan.translation.translator import trained_generator

Format = Literal["onnx", "openvino", "torch-export", "safetensors", "web"]
Precision = Literal["float32", "float16", "int8"]

MIN_PSNR: dict[Precision, float] = {"float32": 80.0, "float16": 50.0, "int8": 30.0}  # dB, below which it fails
_ONNX = ("onnx", "onnxscript", "onnxruntime")
NEEDED: dict[Format, tuple[str, ...]] = {"onnx": _ONNX, "web": _ONNX, "openvino": (*_ONNX, "openvino")}  # libraries
CHECKED, CALIBRATED = 8, 32  # images at most
SIDE = 256  # pixels of the longer side at most, for the check


@dataclass(frozen=True)
class ExportSpec:
    """What to export, and how."""

    to: Format
    precision: Precision = "float32"
    fixed_size: tuple[int, int] | None = None  # height and width
    direction: Direction | None = None
    min_psnr: float | None = None  # dB; by precision if None
    web_runtime: Path | None = None  # archive of the browser's runtime; the one kept, or fetched, if None


@dataclass(frozen=True)
class Report:
    """How an export does beside the same generator in PyTorch, on so many images; values are in [-1, 1]."""

    images: int
    largest: float  # absolute difference
    mean: float
    psnr: float  # dB, of the worst image
    bytes: int
    seconds: float  # for an image, median
    ratio: float  # of that to PyTorch's time, median of pairs

    def __str__(self) -> str:
        figures = (
            f"largest difference {self.largest:.2g}, mean {self.mean:.2g} (of values in [-1, 1]), "
            f"PSNR at least {self.psnr:.1f} dB"
        )
        return (
            f"On {self.images} images, beside PyTorch: {figures if self.largest else 'no difference at all'}\n"
            f"{self.bytes / 2**20:.1f} MiB; {self.seconds:.3f} s an image, {self.ratio:.2f} of PyTorch's time"
        )


class ExportModule(nn.Module):
    """What an export holds: pictures to pictures, also for a method whose generator sees and makes a part of them."""

    def __init__(self, generator: nn.Module, method: type[Method], precision: Precision = "float32"):
        super().__init__()
        self.generator = copy.deepcopy(generator).eval().requires_grad_(False)
        self.method = method
        self.dtype = torch.float16 if precision == "float16" else torch.float32
        self.generator.to(self.dtype)
        for module in self.generator.modules():
            if isinstance(module, Dropout):
                module.noise_seed = None  # its noise is drawn by torch, for each size another

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] to the same."""
        return self.method.image_to_image(lambda x: self.generator(x.to(self.dtype)).float(), images)  # type: ignore[arg-type]


def export(source: Path, out: Path, order: ExportSpec, images: Sequence[Source], *, overwrite: bool = False) -> Report:
    """Export the generator of a run, a checkpoint or a model folder to `out`, compared on `images`.

    Nothing is left in place when the export fails, or deviates further than its order allows. Raises `UsageError` and
    `CycleGANError`.
    """
    _require_possible(order, out, overwrite)
    model = read_model(source)
    generator, channels, direction = trained_generator(model, order.direction, source)
    winograd.allow(generator, False)  # beside PyTorch's own convolutions
    reference = ExportModule(generator, method_class(model.method))
    description = _described(model, channels, direction, order)
    reading = readings(model.config.data)[direction[0]]
    check, calibration = _chosen(images, reading, order.fixed_size)
    with tempfile.TemporaryDirectory(dir=out.resolve().parent, prefix=".export-") as temporary:
        made = Path(temporary) / out.name
        exported = _make(made, model, generator, description, order, calibration)
        report = _compared(reference, exported, check, made)
        least = MIN_PSNR[order.precision] if order.min_psnr is None else order.min_psnr
        if not report.psnr >= least:
            raise CycleGANError(
                f"The export deviates from the model: PSNR {report.psnr:.1f} dB, and {least:g} dB is the least allowed "
                f"(--min-psnr); {out} was not written."
            )
        _put_in_place(made, out)
    return report


def _described(model: Model, channels: tuple[int, int], direction: Direction, order: ExportSpec) -> ExportMetadata:
    data = model.config.data
    ranges = [data.range_a or "", data.range_b or ""]
    of_input, of_result = ranges if direction == "AtoB" else ranges[::-1]
    return ExportMetadata(
        direction,
        *channels,
        model.method,
        order.precision,
        model.source,
        order.fixed_size,
        of_input,
        of_result,
        data.background,
    )


def _require_possible(order: ExportSpec, out: Path, overwrite: bool) -> None:
    """Raise `UsageError` for an order that makes no sense, or a place that is taken or not there."""
    if order.precision == "int8" and order.to in ("torch-export", "safetensors"):
        raise UsageError("--int8 is for onnx, openvino and web; this format takes --half.")
    if order.fixed_size and order.to in ("safetensors", "web"):
        raise UsageError(f"--fixed-size is not for {order.to}, which takes any size.")
    ending = formats.SUFFIXES.get(order.to, out.suffix)
    if out.suffix != ending:
        raise UsageError(f"{out} must end in {ending}, for {order.to}.")
    taken = [file for file in (out, out.with_suffix(".bin")) if file.exists() and (file == out or ending == ".xml")]
    if taken and not overwrite:
        raise UsageError(f"{taken[0]} exists; choose another -o, or replace it with --overwrite.")
    if out.is_dir() and not (is_model_folder(out) if order.to == "safetensors" else is_page(out)):
        raise UsageError(f"{out} is a folder of something else, and is not replaced; choose another -o.")
    if not out.resolve().parent.is_dir():
        raise UsageError(f"The folder {out.parent} does not exist; make it first, or choose another -o.")
    for name in NEEDED.get(order.to, ()):  # told now, not after a minute's work
        formats.library(name)
    if order.to == "web":
        runtime_archive(order.web_runtime)


def suffix(order: ExportSpec) -> str:
    """What the name of an export ends in."""
    precision = {"float32": "", "float16": "-half", "int8": "-int8"}[order.precision]
    return precision + formats.SUFFIXES.get(order.to, f"-{order.to}")


def images_of_run(source: Path, direction: Direction) -> tuple[Source, ...]:
    """The images that a run was tested on, and trained on after them. Raises `UsageError` when they are not there."""
    from cyclegan.data.select import find_data
    from cyclegan.runs.folder import read_run

    advice = "give some images of the kind that it translates with --images"
    if is_model_folder(source):
        raise UsageError(f"{source} does not know its data; {advice}.")
    try:
        domains = find_data(read_run(source))
    except (UsageError, OSError) as error:
        raise UsageError(f"The data of {source} is not there ({str(error).rstrip('.')}); {advice}.") from None
    test, train = (d.a if direction == "AtoB" else d.b for d in (domains.test, domains.train))
    return (*test[:CHECKED], *train) if test else train


def images_in_folder(folder: Path) -> tuple[Source, ...]:
    """The images of a folder. Raises `UsageError` when there are none."""
    if not folder.is_dir() or not (found := find_images(folder)):
        raise UsageError(f"There is no image in {folder}; give a folder with --images.")
    return found


def _chosen(
    images: Sequence[Source], reading: Reading, fixed_size: tuple[int, int] | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Images (1, C, H, W) to compare on, and others to calibrate on, or the same if there are no others."""
    readable: list[Tensor] = []
    for source in images:
        if len(readable) == CHECKED + CALIBRATED:
            break
        try:
            readable.append(_tensor(source, reading, fixed_size))
        except UnreadableImage:
            continue
    if not readable:
        raise UsageError(f"None of the {len(images)} images can be read; give others with --images.")
    check = readable[:CHECKED]
    if fixed_size is None:  # one of a size that suits no architecture
        height, width = ((side - 1) // 2 * 2 + 1 for side in check[0].shape[2:])
        check[0] = check[0][..., :height, :width]
    return check, readable[CHECKED:] or check


def _tensor(source: Source, reading: Reading, fixed_size: tuple[int, int] | None) -> Tensor:
    pixels = read_pixels(source, reading)
    if fixed_size is not None:
        return to_tensor(pixels.resized(fixed_size[::-1]).values)[None]
    scale = min(1.0, SIDE / min(pixels.size))
    width, height = (max(1, round(side * scale)) for side in pixels.size)
    return to_tensor(pixels.resized((width, height)).values)[None]


def _make(
    path: Path,
    model: Model,
    generator: nn.Module,
    description: ExportMetadata,
    order: ExportSpec,
    calibration: list[Tensor],
) -> nn.Module:
    """Write the export, and open it as whoever gets it would."""
    method = method_class(model.method)
    if order.to == "safetensors":
        write_model(_halved(model) if order.precision == "float16" else model, path)
        return ExportModule(trained_generator(read_model(path), description.direction, path)[0], method)
    network = ExportModule(generator, method, order.precision)
    multiple = generator.multiple if isinstance(generator, UNetGenerator) else 4
    program = writers.trace(network, description.in_channels, multiple, order.fixed_size)
    if order.to == "torch-export":
        writers.write_torch_export(program, description, path)
        return formats.open_own_torch_export(path, description)
    graph = path if order.to == "onnx" else path.with_name("graph.onnx")
    writers.write_onnx(program, description, graph)
    if order.precision == "int8":
        from cyclegan.translation.export.int8 import quantize

        quantize(graph, calibration)
    if order.to == "web":
        write_page(graph, description, runtime_archive(order.web_runtime), path)
        return formats.open_export(graph, "cpu")
    if order.to == "openvino":
        writers.write_openvino(graph, description, path)
    return formats.open_export(path, "cpu")


def _halved(model: Model) -> Model:
    return Model(
        model.settings, {k: v.half() if v.is_floating_point() else v for k, v in model.weights.items()}, model.source
    )


def _compared(reference: nn.Module, exported: nn.Module, images: Sequence[Tensor], made: Path) -> Report:
    largest, means, psnrs, seconds, ratios = 0.0, [], [], [], []
    with torch.inference_mode():
        exported(images[-1]), reference(images[-1])  # the first time is no measure
        for image in images:
            expected, beside = _timed(reference, image)
            result, took = _timed(exported, image)
            if result.shape != expected.shape or not bool(result.isfinite().all()):
                raise CycleGANError(
                    f"The export gives no images: shape {tuple(result.shape)}, or values that are no numbers."
                )
            difference = (result - expected).abs().double()
            largest = max(largest, difference.max().item())
            means.append(difference.mean().item())
            psnrs.append(10 * torch.log10(4 / difference.square().mean()).item())  # values span 2
            seconds.append(took)
            ratios.append(took / beside)
    size = sum(file.stat().st_size for file in _files(made))
    mean, second, ratio = statistics.fmean(means), statistics.median(seconds), statistics.median(ratios)
    return Report(len(images), largest, mean, min(psnrs), size, second, ratio)


def _timed(network: nn.Module, image: Tensor) -> tuple[Tensor, float]:
    start = time.perf_counter()
    return network(image), time.perf_counter() - start


def _files(made: Path) -> list[Path]:
    """The files of an export: one, or OpenVINO's two, the second first, or those of a folder."""
    if made.is_dir():
        return sorted(made.iterdir())
    return [file for file in (made.with_suffix(".bin"), made) if file.exists()]


def _put_in_place(made: Path, out: Path) -> None:
    try:
        if made.is_dir():
            replace_folder(out, lambda newer: _copy(made, newer))
        for file in [] if made.is_dir() else _files(made):
            file.replace(out.with_suffix(file.suffix))
    except OSError as error:
        raise CycleGANError(f"{out} cannot be written: {error.strerror or error}.") from None


def _copy(made: Path, folder: Path) -> None:
    for file in _files(made):
        shutil.copy(file, folder)
