"""Model folders: all generators of a run as safetensors, in float16 half as large; for this package and model hubs."""

from dataclasses import replace
from pathlib import Path

from torch import nn

from cyclegan.runs.folder import is_model_folder
from cyclegan.runs.model import read_model, write_model
from cyclegan.translation.export.export import ExportJob
from cyclegan.translation.export_formats import Format, register_format
from cyclegan.translation.translator import load_generator


def _write(job: ExportJob, path: Path) -> None:
    model = job.model
    if job.spec.precision == "float16":
        weights = {k: v.half() if v.is_floating_point() else v for k, v in model.weights.items()}
        model = replace(model, weights=weights)
    write_model(model, path)


def _reopen(job: ExportJob, path: Path) -> nn.Module:
    return load_generator(read_model(path), job.metadata.direction, path)[0].eval()


register_format("safetensors", Format(_write, _reopen, fixed_size=False, owns=is_model_folder))
