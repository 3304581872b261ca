"""The formats that a generator can be exported to: how each is written, what it says of itself, and how it is run.

All take images (N, C, H, W) in [-1, 1], with the input's name ``images``, and give ``translated``, of the same size.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cyclegan.config.schema import Direction
from cyclegan.errors import CycleGANError, UsageError

FORMAT = "cyclegan-export-1"
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}
INPUT, OUTPUT = "images", "translated"
WORDS = ("direction", "method", "precision", "source", "range_in", "range_out", "background")
KEY = "cyclegan"  # under which OpenVINO and torch.export keep what an export says of itself

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ExportMetadata:
    """What an export says of itself; kept in its file as words, so that every viewer can show it."""

    direction: Direction
    in_channels: int
    out_channels: int
    method: str
    precision: str  # "float32", "float16" or "int8"
    source: str
    fixed_size: tuple[int, int] | None = None  # height and width; any if None
    range_in: str = ""  # stored values that are black and white, "LOW HIGH"; those of the files' type if empty
    range_out: str = ""
    background: str = "white"  # what transparent parts are laid on

    def words(self) -> dict[str, str]:
        """As a table of words."""
        height_width = "any" if self.fixed_size is None else "{}x{}".format(*self.fixed_size)
        said = asdict(self) | {"fixed_size": height_width}
        return {"format": FORMAT, "value_range": "-1 to 1", "layout": "NCHW"} | {k: str(v) for k, v in said.items()}

    @classmethod
    def of(cls, words: dict[str, str], path: Path) -> "ExportMetadata":
        """Read back. Raises `UsageError` when another program made the file."""
        try:
            if words["format"] != FORMAT:
                raise ValueError
            size = words["fixed_size"]
            height_width = None if size == "any" else tuple(int(side) for side in size.split("x"))
            known = {name: words[name] for name in WORDS}
            channels = {name: int(words[name]) for name in ("in_channels", "out_channels")}
            return cls(**known, **channels, fixed_size=height_width)  # type: ignore[arg-type]
        except (KeyError, ValueError):
            raise UsageError(f"{path} was not written by `cyclegan export`; make one of a run with that.") from None


class ExportedGenerator(nn.Module):
    """An export at work, as a generator: images (N, C, H, W) in [-1, 1] to images, by the runtime that it is for."""

    def __init__(self, run: Callable[[Array], Array], description: ExportMetadata):
        super().__init__()
        self.run, self.description = run, description

    def forward(self, images: Tensor) -> Tensor:
        """Translate a batch. Raises `UsageError` when the export takes another size only."""
        fixed = self.description.fixed_size
        if fixed is not None and tuple(images.shape[2:]) != fixed:
            height, width = fixed
            raise UsageError(
                f"This export takes images of {width}x{height} pixels only; make one without --fixed-size."
            )
        batches = torch.split(images, 1) if fixed is not None else (images,)
        return torch.cat([torch.from_numpy(self.run(batch.cpu().numpy())) for batch in batches]).to(images)


def open_export(path: Path, device: str = "auto") -> ExportedGenerator:
    """An export made ready to run. Raises `UsageError` when that is not possible here, or not safe."""
    if not path.is_file():
        raise UsageError(f"{path} does not exist; give a file that `cyclegan export` wrote.")
    return {".onnx": _open_onnx, ".xml": _open_openvino, ".pt2": _refuse_torch_export}[path.suffix](path, device)


def is_export(path: Path) -> bool:
    """Whether this is an export by its name."""
    return path.suffix in SUFFIXES.values() and not path.is_dir()


def _open_onnx(path: Path, device: str) -> ExportedGenerator:
    runtime = library("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = torch.get_num_threads()
    providers = {"cpu": ["CPUExecutionProvider"], "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"]}
    there = runtime.get_available_providers()
    name = ("cuda" if "CUDAExecutionProvider" in there else "cpu") if device == "auto" else device
    if name not in providers or providers[name][0] not in there:
        raise UsageError(f"This ONNX Runtime has no device {device!r}; 'auto' takes what there is.")
    try:
        session = runtime.InferenceSession(path, options, providers=providers[name])
    except Exception as error:  # its errors have no common class
        raise _damaged(path, error) from None
    description = ExportMetadata.of(session.get_modelmeta().custom_metadata_map, path)
    return ExportedGenerator(lambda images: session.run([OUTPUT], {INPUT: images})[0], description)


def _open_openvino(path: Path, device: str) -> ExportedGenerator:
    openvino = library("openvino")
    core = openvino.Core()
    there = [name.lower() for name in core.available_devices]
    name = ("gpu" if "gpu" in there else "cpu") if device == "auto" else device
    if name not in there:
        raise UsageError(f"OpenVINO has no device {device!r} here; there are {', '.join(there)}.")
    on_cpu = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    try:
        model = core.read_model(path)
        said = model.get_rt_info([KEY]).value if model.has_rt_info([KEY]) else {}
        compiled = core.compile_model(model, name.upper(), on_cpu if name == "cpu" else {})
    except RuntimeError as error:
        raise _damaged(path, error) from None
    return ExportedGenerator(lambda images: compiled(images)[0].copy(), ExportMetadata.of(said, path))


def _refuse_torch_export(path: Path, device: str) -> ExportedGenerator:
    raise UsageError(
        f"{path} is not opened, since torch unpickles such files and they may hold any code; "
        "translate with the run, or with an export to onnx or openvino."
    )


def open_own_torch_export(path: Path, description: ExportMetadata) -> ExportedGenerator:
    """A .pt2 file that this very process has written; strangers' must not be opened so, because torch unpickles."""
    # Without the guards: they hold for the sizes of the trace, the graph for all.
    network = torch.export.load(path).module(check_guards=False)
    return ExportedGenerator(lambda images: network(torch.from_numpy(images)).detach().numpy(), description)


def library(name: str) -> Any:
    """A library of the extra `export`. Raises `UsageError` when it is not installed."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise UsageError(f"This needs {name}, of the extra `export`: pip install 'cyclegan[export]'.") from None


def _damaged(path: Path, error: Exception) -> CycleGANError:
    return CycleGANError(f"{path} cannot be opened: {(str(error).strip() or type(error).__name__).splitlines()[-1]}")


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's murmur about libraries that are not there and things to come."""
    speaker = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = speaker.level
    speaker.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        speaker.setLevel(level)
