"""Files of `torch.export`, for `torch.export.load` in Python."""

import json
from pathlib import Path

import torch
from torch import nn

from cyclegan.errors import UsageError
from cyclegan.translation.export.export import ExportJob
from cyclegan.translation.export_formats import Format, register_format
from cyclegan.translation.exported import KEY, ExportedGenerator


def _write(job: ExportJob, path: Path) -> None:
    torch.export.save(job.program, path, extra_files={KEY: json.dumps(job.metadata.to_strings())})


def _reopen(job: ExportJob, path: Path) -> nn.Module:
    # The guards hold for the sizes of the trace only, the graph for all sizes.
    network = torch.export.load(path).module(check_guards=False)
    return ExportedGenerator(lambda images: network(torch.from_numpy(images)).detach().numpy(), job.metadata)


def _refuse(path: Path, device: str) -> ExportedGenerator:
    raise UsageError(
        f"{path} is not opened: torch unpickles such files, which may run any code; "
        "translate with the run, or with an export to onnx or openvino."
    )


USAGE = "Load it with torch.export.load, and only files that you trust."
register_format("torch-export", Format(_write, _reopen, _refuse, suffix=".pt2", usage=USAGE))
