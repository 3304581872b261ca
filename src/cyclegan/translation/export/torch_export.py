"""Files of `torch.export`, for `torch.export.load` in Python."""

import json
from pathlib import Path

import torch
from torch import nn

from cyclegan.errors import UsageError
from cyclegan.translation.export.export import ExportJob
from cyclegan.translation.export.registry import Format, register_format
from cyclegan.translation.exported import KEY, ExportedGenerator


@register_format("torch-export")
class TorchExport(Format):
    """A .pt2 file."""

    suffix = ".pt2"
    usage = "Load it with torch.export.load, and only files that you trust."

    def write(self, job: ExportJob, path: Path) -> None:
        """Write the traced program with its metadata."""
        torch.export.save(job.program, path, extra_files={KEY: json.dumps(job.metadata.to_strings())})

    def open(self, path: Path, device: str) -> ExportedGenerator:
        """Raise `UsageError`."""
        raise UsageError(
            f"{path} is not opened: torch unpickles such files, which may run any code; "
            "translate with the run, or with an export to onnx or openvino."
        )

    def reopen(self, job: ExportJob, path: Path) -> nn.Module:
        """Load the file, which this process has just written."""
        # The guards hold for the sizes of the trace only, the graph for all sizes.
        network = torch.export.load(path).module(check_guards=False)
        return ExportedGenerator(lambda images: network(torch.from_numpy(images)).detach().numpy(), job.metadata)
