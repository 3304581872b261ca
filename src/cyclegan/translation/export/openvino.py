"""OpenVINO files: an .xml and a .bin next to it."""

from pathlib import Path

import torch

from cyclegan.errors import UsageError
from cyclegan.system.optional import optional_import
from cyclegan.translation.export.onnx import LIBRARIES, ONNX, write_graph
from cyclegan.translation.export_formats import ExportJob, Format, register_format
from cyclegan.translation.exported import KEY, ExportedGenerator, ExportMetadata, damaged_export


def _write(job: ExportJob, path: Path) -> None:
    openvino = optional_import("openvino", "export")
    graph = path.with_name("graph.onnx")
    write_graph(job, graph)
    model = openvino.convert_model(graph)
    for name, value in job.metadata.to_strings().items():
        model.set_rt_info(value, [KEY, name])
    openvino.save_model(model, path, compress_to_fp16=False)


def _open(path: Path, device: str) -> ExportedGenerator:
    openvino = optional_import("openvino", "export")
    core = openvino.Core()
    available = [name.lower() for name in core.available_devices]
    name = ("gpu" if "gpu" in available else "cpu") if device == "auto" else device
    if name not in available:
        raise UsageError(f"OpenVINO has no device {device!r} here; it has {', '.join(available)}.")
    # OpenVINO would use lower precision where the CPU has it.
    on_cpu = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    try:
        model = core.read_model(path)
        strings = model.get_rt_info([KEY]).value if model.has_rt_info([KEY]) else {}
        compiled = core.compile_model(model, name.upper(), on_cpu if name == "cpu" else {})
    except RuntimeError as error:
        raise damaged_export(path, error) from None
    metadata = ExportMetadata.from_strings(strings, path)
    return ExportedGenerator(lambda images: compiled(images)[0].copy(), metadata)


OPENVINO = Format(
    _write,
    lambda job, path: _open(path, "cpu"),
    _open,
    suffix=".xml",
    companions=(".bin",),
    precisions=ONNX.precisions,
    libraries=(*LIBRARIES, "openvino"),
)
register_format("openvino", OPENVINO)
