"""ONNX files, run by ONNX Runtime, and OpenVINO files made from them, an .xml and a .bin next to it.

In float32, float16 or with convolutions in 8-bit integers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cyclegan.errors import UsageError
from cyclegan.system.optional import optional_import
from cyclegan.translation.export_formats import ExportJob, Format, register_format
from cyclegan.translation.exported import INPUT, KEY, OUTPUT, ExportedGenerator, ExportMetadata, damaged_export, quiet

LIBRARIES = ("onnx", "onnxscript", "onnxruntime")


def write_graph(job: ExportJob, path: Path) -> None:
    """Write an ONNX file."""
    onnx = optional_import("onnx", "export")
    with quiet("torch.onnx._internal.exporter._registration"):
        program = torch.onnx.export(job.program, input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False)
    assert program is not None
    graph = program.model_proto
    if job.metadata.fixed_size is None:
        for value in (graph.graph.input[0], graph.graph.output[0]):
            for axis, name in ((0, "batch"), (2, "height"), (3, "width")):
                value.type.tensor_type.shape.dim[axis].dim_param = name
    onnx.helper.set_model_props(graph, job.metadata.to_strings())
    onnx.save(graph, path)
    if job.metadata.precision == "int8":
        _quantize(path, job.calibration)


def open_graph(graph: Path | bytes, path: Path, device: str, *, tf32: bool = True) -> ExportedGenerator:
    """Open an ONNX graph, from a file or its content; errors name `path`. GPUs may round to TF32 unless forbidden."""
    runtime = optional_import("onnxruntime", "export")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = torch.get_num_threads()
    cuda = ("CUDAExecutionProvider", {"use_tf32": int(tf32)})
    providers = {"cpu": ["CPUExecutionProvider"], "cuda": [cuda, "CPUExecutionProvider"]}
    available = runtime.get_available_providers()
    name = ("cuda" if "CUDAExecutionProvider" in available else "cpu") if device == "auto" else device
    if name not in providers or f"{name.upper()}ExecutionProvider" not in available:
        raise UsageError(f"This ONNX Runtime has no device {device!r}; use 'auto' for the best one it has.")
    try:
        session = runtime.InferenceSession(graph, options, providers=providers[name])
    except Exception as error:  # its errors have no common base class
        raise damaged_export(path, error) from None
    metadata = ExportMetadata.from_strings(session.get_modelmeta().custom_metadata_map, path)
    return ExportedGenerator(lambda images: session.run([OUTPUT], {INPUT: images})[0], metadata)


def _quantize(path: Path, images: Sequence[Tensor]) -> None:
    """Quantize an ONNX file's convolutions in place, with value ranges measured on `images`, each (1, C, H, W).

    Weights are scaled per output channel, activations per layer. Norms, transposed convolutions and the last
    convolution, whose rounding would be visible, stay in float32.
    """
    quantization = optional_import("onnxruntime.quantization", "export")
    graph = optional_import("onnx", "export").load(path)
    last = [node.name for node in graph.graph.node if node.op_type == "Conv"][-1]

    feeds = iter([{INPUT: image.numpy()} for image in images])

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def get_next(self) -> dict[str, Any] | None:
            return next(feeds, None)

    quantized = path.with_suffix(".int8")
    with quiet(None):  # it gives advice on the root logger
        quantization.quantize_static(
            path,
            quantized,
            Reader(),
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=[last],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    quantized.replace(path)


def _write_openvino(job: ExportJob, path: Path) -> None:
    openvino = optional_import("openvino", "export")
    graph = path.with_name("graph.onnx")
    write_graph(job, graph)
    model = openvino.convert_model(graph)
    for name, value in job.metadata.to_strings().items():
        model.set_rt_info(value, [KEY, name])
    openvino.save_model(model, path, compress_to_fp16=False)


def _open_openvino(path: Path, device: str) -> ExportedGenerator:
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


ONNX = Format(
    write_graph,
    lambda job, path: open_graph(path, path, job.device, tf32=False),
    lambda path, device: open_graph(path, path, device),
    suffix=".onnx",
    precisions=("float32", "float16", "int8"),
    libraries=LIBRARIES,
)
register_format("onnx", ONNX)
_openvino = Format(
    _write_openvino,
    lambda job, path: _open_openvino(path, job.device),
    _open_openvino,
    suffix=".xml",
    companions=(".bin",),
    precisions=ONNX.precisions,
    libraries=(*LIBRARIES, "openvino"),
)
register_format("openvino", _openvino)
