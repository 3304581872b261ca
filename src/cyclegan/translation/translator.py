"""A trained generator at work: images of any kind and size in, the same kind and size out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from cyclegan.config import Direction
from cyclegan.data.images import in_eight_bits, to_image, to_tensor
from cyclegan.errors import CycleGANError, UsageError, enough_memory
from cyclegan.methods import METHODS
from cyclegan.methods.method import Method
from cyclegan.networks import build_generator
from cyclegan.translation.export_formats import is_export, open_export
from cyclegan.translation.hub import is_name, located
from cyclegan.translation.model_folder import Model, read_model

ImageLike = TypeVar("ImageLike", Image.Image, np.ndarray[Any, Any], Tensor)


class Translator:
    """Translates images in one direction with a trained generator.

    >>> translator = Translator.load("runs/seasons", direction="AtoB")
    >>> winter = translator.translate(Image.open("summer.jpg"))
    """

    def __init__(
        self,
        generator: nn.Module,
        channels: tuple[int, int],
        device: str | torch.device = "cpu",
        method: type[Method] = Method,
    ):
        """`method` says how its generators are applied to images; most take and give images themselves."""
        self.method = method
        self.device = torch.device(device)
        self.generator = generator.to(self.device).eval()
        self.in_channels, self.out_channels = channels
        self.source: Path | None = None  # where it was loaded from

    @classmethod
    def load(cls, path: str | Path, direction: Direction | None = None, device: str = "auto") -> "Translator":
        """Load the generator of a run folder (its last checkpoint), a checkpoint folder, a model folder or an export.

        The model may be on the Hugging Face hub, ``hf:user/name``.
        Takes the averaged weights where the training kept them. `direction` is AtoB, or the only one that there is,
        if it is not given. `device` is "auto" (a GPU where there is one), or any name torch knows. Raises
        `UsageError` for a folder that is none, or a direction it has not learned, and `CycleGANError` for damaged
        weights.
        """
        if is_export(Path(path)):
            return _of_export(Path(path), direction, device)
        folder = located(path)
        model = read_model(folder)
        generator, channels, _ = trained_generator(model, direction, path)
        translator = cls(generator, channels, _device(device), METHODS[model.method])
        translator.source = folder
        return translator

    @classmethod
    def from_pretrained(
        cls, name: str | Path, direction: Direction | None = None, device: str = "auto"
    ) -> "Translator":
        """As `load`, of a folder or of a model on the Hugging Face hub, ``user/name`` or ``user/name@revision``.

        Raises as `load`, and `CycleGANError` when the hub does not give it.
        """
        from_hub = not Path(name).exists() and is_name(str(name))
        return cls.load(f"hf:{name}" if from_hub else name, direction, device)

    def push_to_hub(self, name: str, *, private: bool = False) -> str:
        """Upload the run or model that this was loaded from, with a card, as ``user/name``; returns the address.

        Raises `UsageError` when it was not loaded from a folder, and `CycleGANError` when the hub does not take it.
        """
        from cyclegan.publishing import publish  # the room above, which writes the card

        if self.source is None:
            raise UsageError("This translator was not loaded from a run or model, so there is nothing to upload.")
        return publish(self.source, name, private=private)

    @overload
    def translate(self, image: ImageLike, size: int | Literal["keep"] = "keep") -> ImageLike: ...

    @overload
    def translate(self, image: Sequence[ImageLike], size: int | Literal["keep"] = "keep") -> list[ImageLike]: ...

    def translate(self, image: Any, size: int | Literal["keep"] = "keep") -> Any:
        """Translate an image, or each of a list; the result is of the same kind.

        A PIL image of any mode, an array (H, W), (H, W, 3) of uint8 or of floats in [0, 1], or a tensor
        (C, H, W) or (N, C, H, W) in [-1, 1]. `size` is "keep" for the input's own size, or the length of the
        shorter side to which the image is scaled first. Raises `UsageError` for anything else.
        """
        if isinstance(image, list | tuple):
            return [self.translate(each, size) for each in image]
        if isinstance(image, Image.Image):
            return self._translate_picture(image, size)
        if isinstance(image, np.ndarray):
            return self._translate_array(image, size)
        if isinstance(image, Tensor):
            return self._translate_tensor(image, size)
        raise UsageError(f"A {type(image).__name__} cannot be translated; give a PIL image, an array or a tensor.")

    def seen(self, image: Image.Image) -> Image.Image:
        """What the generator gets to see of a picture: all of it, but for colourisation, which sees it in grey."""
        return to_image(self.method.seen(to_tensor(in_eight_bits(image, self.in_channels))[None])[0])

    def _translate_picture(self, image: Image.Image, size: int | str) -> Image.Image:
        image = scaled(in_eight_bits(image, self.in_channels), size)
        return to_image(self._run(to_tensor(image)[None])[0])

    def _translate_array(self, array: np.ndarray[Any, Any], size: int | str) -> np.ndarray[Any, Any]:
        floating = np.issubdtype(array.dtype, np.floating)
        channels = array.shape[2] if array.ndim == 3 else 1
        if array.ndim not in (2, 3) or channels not in (1, 3, 4) or not (floating or array.dtype == np.uint8):
            raise UsageError(
                f"An array of shape {array.shape} and type {array.dtype} is no image; "
                "give (H, W) or (H, W, 3), of uint8 or of floats in [0, 1]."
            )
        bytes_ = np.clip(np.round(array * 255), 0, 255).astype(np.uint8) if floating else array
        picture = Image.fromarray(bytes_[..., 0] if bytes_.ndim == 3 and bytes_.shape[2] == 1 else bytes_)
        result = np.asarray(self._translate_picture(picture, size))
        return (result / 255).astype(array.dtype) if floating else result

    def _translate_tensor(self, tensor: Tensor, size: int | str) -> Tensor:
        if tensor.ndim not in (3, 4) or tensor.shape[-3] != self.in_channels:
            raise UsageError(
                f"A tensor of shape {tuple(tensor.shape)} is no image here; "
                f"give ({self.in_channels}, H, W) or (N, {self.in_channels}, H, W) in [-1, 1]."
            )
        batch = tensor if tensor.ndim == 4 else tensor[None]
        if size != "keep":
            wanted = _sides(*batch.shape[-2:], shorter=int(size))
            batch = nn.functional.interpolate(batch, wanted, mode="bicubic", antialias=True, align_corners=False)
        result = self._run(batch.float()).to(tensor)
        return result if tensor.ndim == 4 else result[0]

    def _run(self, batch: Tensor) -> Tensor:
        advice = "take a smaller --size (`size` in Python), or another --device"
        with torch.inference_mode(), enough_memory(advice):
            result = self.method.image_to_image(self.generator, batch.to(self.device)).float().cpu()
        return result.clone()  # an ordinary tensor, which may take part in a caller's training


def trained_generator(
    model: Model, direction: Direction | None, path: str | Path
) -> tuple[nn.Module, tuple[int, int], Direction]:
    """The generator of a direction, or of the first if none is given; its images' channels, and the direction.

    `path` is what errors name. Raises `UsageError` for a direction that was not learned, and `CycleGANError` for
    weights that do not fit.
    """
    config, method = model.config, METHODS[model.method]
    direction = direction or model.directions[0]
    if direction not in model.directions:
        raise UsageError(f"{path} translates {' and '.join(model.directions)} only, not {direction}.")
    channels = (config.data.channels_a, config.data.channels_b)
    channels = channels if direction == "AtoB" else channels[::-1]
    generator = build_generator(config.networks, *method.generator_channels(channels))
    try:
        generator.load_state_dict(model.network(f"generators.{method.directions[direction]}"))
    except RuntimeError as error:
        raise CycleGANError(f"The weights in {path} cannot be loaded: {error}") from None
    return generator, channels, direction


def _of_export(path: Path, direction: Direction | None, device: str) -> Translator:
    exported = open_export(path, device)
    described = exported.description
    if direction not in (None, described.direction):
        raise UsageError(f"{path} translates {described.direction} only, not {direction}.")
    return Translator(exported, (described.in_channels, described.out_channels))  # its images stay on the CPU


def scaled(image: Image.Image, size: int | str) -> Image.Image:
    """The image with its shorter side brought to `size` pixels, or as it is for "keep"."""
    if size == "keep" or min(image.size) == int(size):
        return image
    return image.resize(_sides(*image.size, shorter=int(size)), Image.Resampling.BICUBIC)


def _sides(first: int, second: int, *, shorter: int) -> tuple[int, int]:
    """Two sides in their proportion, the shorter one as long as asked."""
    scale = shorter / min(first, second)
    return max(1, round(first * scale)), max(1, round(second * scale))


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()  # "meta" would take it and give nothing back
    except (RuntimeError, AssertionError, NotImplementedError, ImportError):
        raise UsageError(f"There is no device {name!r} on this machine; 'auto' takes what there is.") from None
    return device
