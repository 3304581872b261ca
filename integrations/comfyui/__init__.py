"""A node for ComfyUI that translates images with a model of cyclegan: README.md tells how to install it.

It follows ComfyUI's schema V1: images are tensors (B, H, W, 3) in [0, 1].
"""

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from cyclegan import CycleGANError, Translator, UsageError
from cyclegan.metrics.content import luminance


@lru_cache(maxsize=2)
def _load(model: str, direction: str, memory: str, version: float) -> Translator:
    """The translator, loaded once for each `version` of the model's files."""
    return Translator.load(model, direction or None, memory=memory or None)


def _version(model: str | None) -> float:
    """When the files of a model were last written, in seconds since 1970; 0 for a model of the hub, NaN for None."""
    if model is None:
        return math.nan
    path = Path(model)
    files = [path / "model.safetensors", path / "state.json", path / "checkpoints" / "latest" / "state.json", path]
    return max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)


class CycleGANTranslate:
    """Translates a batch of images in one direction of a model."""

    DESCRIPTION = "Translates images with a run, model folder, export or hub model of cyclegan."
    CATEGORY = "image/cyclegan"
    FUNCTION = "translate"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("translated",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:
        """The inputs, as ComfyUI asks for them."""
        size = {"default": 0, "min": 0, "max": 16384, "tooltip": "Shorter side in pixels; 0: the image's own."}
        return {
            "required": {
                "image": ("IMAGE", {}),
                "model": ("STRING", {"default": "", "tooltip": "Path of a run, model or export, or hf:user/name."}),
            },
            "optional": {
                "direction": ("STRING", {"default": "", "tooltip": "AtoB, BtoA or as zebra2horse. Empty: the first."}),
                "size": ("INT", size),
                "memory": ("STRING", {"default": "", "tooltip": "Limit, such as 2GiB. Empty: most of what is free."}),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, model: str | None, direction: str | None = "", memory: str | None = "") -> bool | str:
        """True, or the sentence that ComfyUI shows at the node before anything is computed.

        Inputs that come from another node are None: they are not known yet.
        """
        try:
            if model is not None and direction is not None:
                _load(model, direction, memory or "", _version(model))
        except CycleGANError as error:
            return str(error)
        return True

    @classmethod
    def IS_CHANGED(cls, model: str | None, **_: Any) -> float:
        """A value that differs when the model was trained further, so that ComfyUI translates again.

        NaN, which equals nothing, for a model that comes from another node.
        """
        return _version(model)

    def translate(
        self, image: Tensor, model: str, direction: str = "", size: int = 0, memory: str = ""
    ) -> tuple[Tensor]:
        """Translate images (B, H, W, 3) in [0, 1] to the same, on the CPU. Raises `CycleGANError`."""
        translator = _load(model, direction, memory, _version(model))
        images = image[..., :3].permute(0, 3, 1, 2).float() * 2 - 1
        if translator.in_channels == 1:
            images = luminance(images)
        elif translator.in_channels != 3:
            raise UsageError(f"{model} takes images of {translator.in_channels} channels; ComfyUI has color images.")
        result = translator.translate(images, size or "keep")
        if result.shape[1] == 1:
            result = result.expand(-1, 3, -1, -1)
        return ((result[:, :3].clamp(-1, 1).cpu() + 1).div(2).permute(0, 2, 3, 1).contiguous(),)


NODE_CLASS_MAPPINGS: dict[str, type] = {"CycleGANTranslate": CycleGANTranslate}
NODE_DISPLAY_NAME_MAPPINGS = {"CycleGANTranslate": "Translate (cyclegan)"}
