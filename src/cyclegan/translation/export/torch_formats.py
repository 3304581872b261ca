"""Formats of PyTorch: files of `torch.export`, and model folders with all generators of a run as safetensors."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.export.passes import move_to_device_pass

from cyclegan.errors import UsageError
from cyclegan.runs.folder import is_model_folder
from cyclegan.runs.model import load_generator, read_model
from cyclegan.runs.publish import write_model
from cyclegan.translation.export_formats import ExportJob, Format, register_format
from cyclegan.translation.exported import KEY, ExportedGenerator


def _write_program(job: ExportJob, path: Path) -> None:
    torch.export.save(job.program, path, extra_files={KEY: json.dumps(job.metadata.to_strings())})


def _reopen_program(job: ExportJob, path: Path) -> nn.Module:
    # The guards hold for the sizes of the trace only, the graph for all sizes.
    return move_to_device_pass(torch.export.load(path), job.device).module(check_guards=False)


def _refuse_program(path: Path, device: str) -> ExportedGenerator:
    raise UsageError(
        f"{path} is not opened: torch unpickles such files, which may run any code; "
        "translate with the run, or with an export to onnx or openvino."
    )


def _write_folder(job: ExportJob, path: Path) -> None:
    model = job.model
    if job.metadata.precision == "float16":
        weights = {k: v.half() if v.is_floating_point() else v for k, v in model.weights.items()}
        model = replace(model, weights=weights)
    write_model(model, path)


def _reopen_folder(job: ExportJob, path: Path) -> nn.Module:
    return load_generator(read_model(path), job.metadata.direction, path)[0].eval()


USAGE = "Load it with torch.export.load, and only files that you trust."
register_format("torch-export", Format(_write_program, _reopen_program, _refuse_program, suffix=".pt2", usage=USAGE))
register_format("safetensors", Format(_write_folder, _reopen_folder, fixed_size=False, owns=is_model_folder))
