"""Writing a generator as ONNX, OpenVINO or torch.export files."""

import json
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from cyclegan.translation.exported import INPUT, KEY, OUTPUT, ExportMetadata, _quietly, library


def trace(network: nn.Module, channels: int, multiple: int, fixed_size: tuple[int, int] | None) -> ExportedProgram:
    """The network as one graph, for batches and images of any size, or for single images of one size.

    Sizes that are no `multiple` of what the architecture asks for are extended and cut back within the graph.
    """
    # Only shapes are followed, nothing is computed. Sides of one multiple would be taken for constants.
    sample = (
        torch.zeros(1, channels, *fixed_size)
        if fixed_size
        else torch.zeros(2, channels, 3 * multiple + 1, 4 * multiple + 1)
    )
    dynamic = None if fixed_size else ({0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO},)
    with _quietly():
        return torch.export.export(network, (sample,), dynamic_shapes=dynamic, strict=False)


def write_onnx(program: ExportedProgram, description: ExportMetadata, path: Path) -> None:
    """Write an ONNX file."""
    onnx = library("onnx")
    library("onnxscript")
    with _quietly():
        made = torch.onnx.export(program, input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False)
    assert made is not None
    graph = made.model_proto
    if description.fixed_size is None:
        for value in (graph.graph.input[0], graph.graph.output[0]):
            for place, name in ((0, "batch"), (2, "height"), (3, "width")):
                value.type.tensor_type.shape.dim[place].dim_param = name
    onnx.helper.set_model_props(graph, description.words())
    onnx.save(graph, path)


def write_openvino(graph: Path, description: ExportMetadata, path: Path) -> None:
    """Write an ONNX file as OpenVINO's, an .xml and a .bin beside it."""
    openvino = library("openvino")
    model = openvino.convert_model(graph)
    for name, value in description.words().items():
        model.set_rt_info(value, [KEY, name])
    openvino.save_model(model, path, compress_to_fp16=False)


def write_torch_export(program: ExportedProgram, description: ExportMetadata, path: Path) -> None:
    """Write a .pt2 file for `torch.export.load`."""
    torch.export.save(program, path, extra_files={KEY: json.dumps(description.words())})
