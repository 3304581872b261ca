"""A trained generator at work: images of any kind and size in, the same kind and size out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from cyclegan.config.schema import Direction
from cyclegan.data.datasets import readings
from cyclegan.errors import CycleGANError, UsageError, enough_memory
from cyclegan.imaging.decode import pixels_of
from cyclegan.imaging.image import (
    Pixels,
    Reading,
    Stored,
    dtype_for,
    to_picture,
    to_pixels,
    to_tensor,
    to_values,
    with_alpha,
)
from cyclegan.imaging.npy import channels_last
from cyclegan.imaging.source import Unfit
from cyclegan.imaging.value_range import Span, span_of
from cyclegan.methods.method import Method
from cyclegan.methods.registry import method_class, method_spec
from cyclegan.networks import build_generator
from cyclegan.networks.cpu.rewrite import fast_for_translation
from cyclegan.networks.winograd import allow
from cyclegan.runs.hub import is_hub_name, resolve_source
from cyclegan.runs.model import Model, read_model
from cyclegan.system.machine import find_device
from cyclegan.translation.exported import is_export, open_export
from cyclegan.translation.streaming.large_images import AnySize
from cyclegan.translation.streaming.memory import in_bytes

ImageLike = TypeVar("ImageLike", Image.Image, np.ndarray[Any, Any], Tensor, Pixels)

ADVICE = "take less --memory or a smaller --size (`memory` and `size` in Python), or another --device"


class Translator:
    """Translates images in one direction with a trained generator.

    >>> translator = Translator.load("runs/seasons", direction="AtoB")
    >>> winter = translator.translate(Image.open("summer.jpg"))

    An image that does not fit into memory as a whole is translated in bands of rows, with the same result: see
    `AnySize`, whose settings may be changed at any time: ``translator.any_size.progress = bar``.
    """

    def __init__(
        self,
        generator: nn.Module,
        channels: tuple[int, int],
        device: str | torch.device = "cpu",
        method: type[Method] = Method,
        spans: tuple[Span | None, Span | None] = (None, None),
        background: str = "white",
        memory: int | None = None,
        winograd: bool = True,
    ):
        """`method` says how its generators are applied to images; most take and give images themselves.

        `spans` are the stored values that are black and white, of the input's images and of the results'; None for
        those of their types. `memory` is how many bytes the process, or on a GPU the arrays there, may take.
        `winograd` lets the generator be rewritten for processors where that is faster; see `networks.inference`.
        """
        self.method = method
        self.device = torch.device(device)
        self.generator = generator.to(self.device).eval()
        allow(self.generator, winograd)
        self.fast = fast_for_translation(self.generator) if winograd else self.generator
        self.in_channels, self.out_channels = channels
        self.reading = Reading(channels[0], spans[0], background)  # how images to translate are read
        self.writing = Reading(channels[1], spans[1], background)  # how results would be read again
        self.any_size = AnySize(self.generator, self.fast, channels, self.device, method, memory)
        self.source: Path | None = None  # where it was loaded from

    @classmethod
    def load(
        cls,
        path: str | Path,
        direction: Direction | None = None,
        device: str = "auto",
        memory: int | str | None = None,
        winograd: bool = True,
    ) -> "Translator":
        """Load the generator of a run folder (its last checkpoint), a checkpoint folder, a model folder or an export.

        The model may be on the Hugging Face hub, ``hf:user/name``.
        Takes the averaged weights where the training kept them. `direction` is AtoB, or the only one that there is,
        if it is not given. `device` is "auto" (a GPU where there is one), or any name torch knows. `memory` is how
        much may be used, in bytes or as "2GiB"; a share of what is free if it is not given. Without `winograd`
        processors do the same as PyTorch does, and take twice as long for the paper's generator. Raises `UsageError`
        for a folder that is none, or a direction it has not learned, and `CycleGANError` for damaged weights.
        """
        most = in_bytes(memory) if isinstance(memory, str) else memory
        if is_export(Path(path)):
            return _of_export(Path(path), direction, device)
        folder = resolve_source(path)
        model = read_model(folder)
        generator, channels, direction = trained_generator(model, direction, path)
        before, after = (readings(model.config.data)[domain] for domain in direction.split("to"))
        translator = cls(
            generator,
            channels,
            find_device(device),
            method_class(model.method),
            (before.span, after.span),
            before.background,
            most,
            winograd,
        )
        translator.source = folder
        return translator

    @classmethod
    def from_pretrained(
        cls, name: str | Path, direction: Direction | None = None, device: str = "auto", **settings: Any
    ) -> "Translator":
        """As `load`, with its settings, of a folder or of a model on the Hugging Face hub, ``user/name[@revision]``.

        Raises as `load`, and `CycleGANError` when the hub does not give it.
        """
        from_hub = not Path(name).exists() and is_hub_name(str(name))
        return cls.load(f"hf:{name}" if from_hub else name, direction, device, **settings)

    def push_to_hub(self, name: str, *, private: bool = False) -> str:
        """Upload the run or model that this was loaded from, with a card, as ``user/name``; returns the address.

        Raises `UsageError` when it was not loaded from a folder, and `CycleGANError` when the hub does not take it.
        """
        from cyclegan.runs.publish import publish  # the room above, which writes the card

        if self.source is None:
            raise UsageError("This translator was not loaded from a run or model, so there is nothing to upload.")
        return publish(self.source, name, private=private)

    @overload
    def translate(self, image: ImageLike, size: int | Literal["keep"] = "keep") -> ImageLike: ...

    @overload
    def translate(self, image: Sequence[ImageLike], size: int | Literal["keep"] = "keep") -> list[ImageLike]: ...

    def translate(self, image: Any, size: int | Literal["keep"] = "keep") -> Any:
        """Translate an image, or each of a list; the result is of the same kind and depth.

        A PIL image of any mode; an array (H, W), (H, W, C) or (C, H, W) of whole numbers or floats, in the range that
        the training stated, or that of its type, [0, 1] for floats; `Pixels`; or a tensor (C, H, W) or (N, C, H, W)
        in [-1, 1]. Alpha is kept aside and put back. `size` is "keep" for the input's own size, or the length of the
        shorter side to which the image is scaled first. Raises `UsageError` for anything else.
        """
        if isinstance(image, list | tuple):
            return [self.translate(each, size) for each in image]
        if isinstance(image, Pixels):
            return self._translate_pixels(image, size)
        if isinstance(image, Image.Image):
            return to_picture(self._translate_pixels(self._pixels_of_picture(image), size))
        if isinstance(image, np.ndarray):
            return with_alpha(self._translate_pixels(self._pixels_of_array(image), size))
        if isinstance(image, Tensor):
            return self._translate_tensor(image, size)
        raise UsageError(f"A {type(image).__name__} cannot be translated; give a PIL image, an array or a tensor.")

    def seen(self, pixels: Pixels) -> Pixels:
        """What the generator gets to see of an image: all of it, but for colorisation, which sees it in gray."""
        seen = self.method.seen(to_tensor(pixels.values)[None])[0]
        return replace(pixels, values=to_values(seen, pixels.dtype, pixels.span))

    def _pixels_of_picture(self, image: Image.Image) -> Pixels:
        try:
            return pixels_of(image, self.reading)
        except Unfit as error:
            raise UsageError(f"The picture of mode {image.mode} {error}.") from None

    def _pixels_of_array(self, array: np.ndarray[Any, Any]) -> Pixels:
        """Gray, color and color with alpha for networks of gray or color, else as many channels as they have."""
        bits, last = 8 * array.dtype.itemsize, array.shape[2] if array.ndim == 3 else 1
        if self.reading.span is None and array.dtype.kind == "f":
            array = array.clip(0, 1)
        try:
            if self.reading.span is None and array.dtype.kind in "iu" and bits > 16:
                raise Unfit("has whole numbers of which no range is known")
            if self.in_channels in (1, 3) and array.ndim in (2, 3) and last in (1, 3, 4):
                stored = Stored(np.atleast_3d(array), bits, "straight" if last == 4 else "")
            else:
                values, first = channels_last(array, self.in_channels)
                stored = Stored(values, bits, picture=False, channels_first=first)
            return to_pixels(stored, self.reading)
        except Unfit as error:
            wanted = "(H, W)" if self.in_channels == 1 else f"(H, W, {self.in_channels})"
            raise UsageError(
                f"An array of shape {array.shape} and type {array.dtype} is no image here: it {error}. "
                f"Give {wanted}, of uint8, uint16 or floats."
            ) from None

    def _translate_pixels(self, pixels: Pixels, size: int | str) -> Pixels:
        if size != "keep" and min(pixels.size) != int(size):
            pixels = pixels.resized(_sides(*pixels.size, shorter=int(size)))
        span = self.writing.span
        dtype = dtype_for(pixels.dtype, span)
        height, width = pixels.values.shape[:2]
        with enough_memory(ADVICE):
            if self.any_size.fits(height, width):
                values = to_values(self._run_whole(to_tensor(pixels.values)[None])[0], dtype, span)
            else:
                values = self._values_in_parts(pixels, dtype)
        return replace(pixels, values=values, dtype=dtype, span=span)

    def _values_in_parts(self, pixels: Pixels, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """The values of the result, (H, W, C), of an image that does not fit into memory whole."""
        span, (height, width) = self.writing.span, pixels.values.shape[:2]
        values = np.full((height, width, self.out_channels), 0, to_values(torch.zeros(1, 1, 1), dtype, span).dtype)

        def write(first: int, band: Tensor) -> None:
            values[first : first + band.shape[1]] = to_values(band, dtype, span)

        self.any_size.translate(height, width, lambda first, end: to_tensor(pixels.values[first:end]), write)
        return values

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
        with enough_memory(ADVICE):
            if not self.any_size.fits(batch.shape[2], batch.shape[3], images=len(batch)):
                return torch.stack([self._run_in_parts(image) for image in batch])
            return self._run_whole(batch)

    def _run_whole(self, batch: Tensor) -> Tensor:
        with torch.inference_mode():
            result = self.method.image_to_image(self.fast, batch.to(self.device)).float().cpu()
        return result.clone()  # an ordinary tensor, which may take part in a caller's training

    def _run_in_parts(self, image: Tensor) -> Tensor:
        _, height, width = image.shape
        result = torch.full((self.out_channels, height, width), 0.0)  # written to, so that it counts as in use

        def write(first: int, band: Tensor) -> None:
            result[:, first : first + band.shape[1]] = band

        self.any_size.translate(height, width, lambda first, end: image[:, first:end], write)
        return result


def trained_generator(
    model: Model, direction: Direction | None, path: str | Path
) -> tuple[nn.Module, tuple[int, int], Direction]:
    """The generator of a direction, or of the first if none is given; its images' channels, and the direction.

    `path` is what errors name. Raises `UsageError` for a direction that was not learned, and `CycleGANError` for
    weights that do not fit.
    """
    config, method = model.config, method_class(model.method)
    direction = direction or model.directions[0]
    if direction not in model.directions:
        raise UsageError(f"{path} translates {' and '.join(model.directions)} only, not {direction}.")
    channels = (config.data.channels_a, config.data.channels_b)
    channels = channels if direction == "AtoB" else channels[::-1]
    generator = build_generator(config.networks, *method.generator_channels(channels))
    try:
        generator.load_state_dict(model.network(f"generators.{method_spec(model.method).directions[direction]}"))
    except RuntimeError as error:
        raise CycleGANError(f"The weights in {path} cannot be loaded: {error}") from None
    return generator, channels, direction


def _of_export(path: Path, direction: Direction | None, device: str) -> Translator:
    exported = open_export(path, device)
    described = exported.description
    if direction not in (None, described.direction):
        raise UsageError(f"{path} translates {described.direction} only, not {direction}.")
    channels = described.in_channels, described.out_channels
    spans = span_of(described.range_in or None), span_of(described.range_out or None)
    return Translator(exported, channels, "cpu", Method, spans, described.background)  # the runtime has the device


def _sides(first: int, second: int, *, shorter: int) -> tuple[int, int]:
    """Two sides in their proportion, the shorter one as long as asked."""
    scale = shorter / min(first, second)
    return max(1, round(first * scale)), max(1, round(second * scale))
