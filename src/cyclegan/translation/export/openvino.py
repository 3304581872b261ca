"""OpenVINO files: an .xml and a .bin next to it."""

from pathlib import Path
from typing import ClassVar

import torch

from cyclegan.errors import UsageError
from cyclegan.system.optional import optional_import
from cyclegan.translation.export.export import ExportJob, ExportSpec
from cyclegan.translation.export.onnx import Onnx, write_graph
from cyclegan.translation.export.registry import register_format
from cyclegan.translation.exported import KEY, ExportedGenerator, ExportMetadata, damaged_export


@register_format("openvino")
class OpenVino(Onnx):
    """An .xml and a .bin file, converted from ONNX."""

    suffix = ".xml"
    companions: ClassVar[tuple[str, ...]] = (".bin",)

    def check(self, spec: ExportSpec) -> None:
        """Raise `UsageError` without the libraries."""
        super().check(spec)
        optional_import("openvino", "export")

    def write(self, job: ExportJob, path: Path) -> None:
        """Write both files."""
        openvino = optional_import("openvino", "export")
        graph = path.with_name("graph.onnx")
        write_graph(job, graph)
        model = openvino.convert_model(graph)
        for name, value in job.metadata.to_strings().items():
            model.set_rt_info(value, [KEY, name])
        openvino.save_model(model, path, compress_to_fp16=False)

    def open(self, path: Path, device: str) -> ExportedGenerator:
        """Open in OpenVINO, on the CPU in float32 also where it could compute in less."""
        openvino = optional_import("openvino", "export")
        core = openvino.Core()
        available = [name.lower() for name in core.available_devices]
        name = ("gpu" if "gpu" in available else "cpu") if device == "auto" else device
        if name not in available:
            raise UsageError(f"OpenVINO has no device {device!r} here; it has {', '.join(available)}.")
        on_cpu = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        try:
            model = core.read_model(path)
            strings = model.get_rt_info([KEY]).value if model.has_rt_info([KEY]) else {}
            compiled = core.compile_model(model, name.upper(), on_cpu if name == "cpu" else {})
        except RuntimeError as error:
            raise damaged_export(path, error) from None
        metadata = ExportMetadata.from_strings(strings, path)
        return ExportedGenerator(lambda images: compiled(images)[0].copy(), metadata)
