"""Model folders: the generators' weights as safetensors, for this package and for model hubs."""

from dataclasses import replace
from pathlib import Path

from torch import nn

from cyclegan.runs.folder import is_model_folder
from cyclegan.runs.model import read_model, write_model
from cyclegan.translation.export.export import ExportJob
from cyclegan.translation.export.registry import Format, register_format
from cyclegan.translation.translator import load_generator


@register_format("safetensors")
class ModelFolder(Format):
    """A model folder with all generators of the run, in float16 half as large."""

    fixed_size = False

    def write(self, job: ExportJob, path: Path) -> None:
        """Write the folder."""
        model = job.model
        if job.spec.precision == "float16":
            weights = {k: v.half() if v.is_floating_point() else v for k, v in model.weights.items()}
            model = replace(model, weights=weights)
        write_model(model, path)

    def reopen(self, job: ExportJob, path: Path) -> nn.Module:
        """The generator loaded from the folder."""
        return load_generator(read_model(path), job.metadata.direction, path)[0].eval()

    def owns(self, path: Path) -> bool:
        """Whether it is a model folder."""
        return is_model_folder(path)
