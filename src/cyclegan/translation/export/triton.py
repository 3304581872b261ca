"""A model of NVIDIA Triton Inference Server: a folder for its repository, with an ONNX file and its configuration."""

from pathlib import Path

from torch import nn

from cyclegan.translation.export.onnx import ONNX, open_graph, write_graph
from cyclegan.translation.export_formats import ExportJob, Format, register_format
from cyclegan.translation.exported import INPUT, OUTPUT, ExportMetadata

GRAPH, CONFIG = Path("1", "model.onnx"), "config.pbtxt"
MAX_BATCH = 8  # images of equal size; graphs of one size take one
TENSOR = '[{{name: "{name}", data_type: TYPE_FP32, dims: {dims}}}]'


def configuration(metadata: ExportMetadata) -> str:
    """The content of config.pbtxt."""
    # Triton adds the dimension of the batch to `dims` where batches are possible.
    batch, sizes = ([1], [*metadata.fixed_size]) if metadata.fixed_size else ([], [-1, -1])
    tensors = [
        TENSOR.format(name=name, dims=[*batch, channels, *sizes])
        for name, channels in ((INPUT, metadata.in_channels), (OUTPUT, metadata.out_channels))
    ]
    lines = [
        f"# {metadata.domain_in} to {metadata.domain_out}; values from -1 to 1",
        'backend: "onnxruntime"',
        f"max_batch_size: {0 if batch else MAX_BATCH}",
        f"input: {tensors[0]}",
        f"output: {tensors[1]}",
        *([] if batch else ["dynamic_batching {}"]),
    ]
    return "\n".join(lines) + "\n"


def _write(job: ExportJob, path: Path) -> None:
    (path / GRAPH).parent.mkdir(parents=True)
    write_graph(job, path / GRAPH)
    (path / CONFIG).write_text(configuration(job.metadata), encoding="utf-8")


def _reopen(job: ExportJob, path: Path) -> nn.Module:
    return open_graph(path / GRAPH, path, job.device, tf32=False)


TRITON = Format(
    _write,
    _reopen,
    precisions=ONNX.precisions,
    libraries=ONNX.libraries,
    owns=lambda path: all((path / name).is_file() for name in (GRAPH, CONFIG)),
    usage="Serve it with: tritonserver --model-repository {folder}",
)
register_format("triton", TRITON)
