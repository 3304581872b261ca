"""Translating images with a trained generator: any kind and size in, the same kind and size out."""

import copy
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from cyclegan.config.schema import Direction
from cyclegan.data.preprocessing import decode_specs
from cyclegan.errors import UsageError, explain_out_of_memory
from cyclegan.imaging.decode import from_pil_image
from cyclegan.imaging.image import (
    DecodeSpec,
    Pixels,
    Stored,
    output_dtype,
    to_array,
    to_pil_image,
    to_pixels,
    to_tensor,
    to_values,
)
from cyclegan.imaging.npy import channels_last
from cyclegan.imaging.source import UnsupportedImage
from cyclegan.imaging.value_range import ValueRange, fixed_range
from cyclegan.methods.registry import method_spec
from cyclegan.networks.attention import AttentionGenerator, MaskGenerator
from cyclegan.networks.cpu.rewrite import rewrite_for_cpu
from cyclegan.networks.generator import as_generator
from cyclegan.networks.winograd import scratch, set_winograd
from cyclegan.runs.folder import identify
from cyclegan.runs.hub import is_hub_name, resolve_source
from cyclegan.runs.model import Model, find_direction, load_generator, read_model
from cyclegan.runs.publish import publish, write_model
from cyclegan.system.machine import find_device
from cyclegan.translation.export_formats import open_export
from cyclegan.translation.exported import ExportedGenerator
from cyclegan.translation.streaming.large_images import AnySize, parse_bytes

ImageLike = TypeVar("ImageLike", Image.Image, np.ndarray[Any, Any], Tensor, Pixels)
Size = int | Literal["keep"]  # of the shorter side, pixels

FAR = 4  # factor between the scale of an image and that of training, from which on users are told
FEW_THREADS = 2  # one that loads and tries a translator, and one that uses it
MEMORY_HINT = "use less --memory or a smaller --size (`memory` and `size` in Python), or another --device"


class Translator:
    """Translates images in one direction with a trained generator.

    >>> translator = Translator.load("runs/seasons", direction="AtoB")
    >>> winter = translator(Image.open("summer.jpg"))

    An image that does not fit into memory as a whole is translated in bands of rows, with the same result: see
    `AnySize`, whose settings can be changed at any time: ``translator.any_size.progress = callback``.

    Threads may share a translator. Their images run through the generator one after the other, since several at once
    would need more memory than `memory`, and would not be faster; decoding and encoding overlap.
    """

    def __init__(
        self,
        generator: nn.Module,
        channels: tuple[int, int],
        device: str | torch.device = "cpu",
        *,
        value_ranges: tuple[ValueRange | None, ValueRange | None] = (None, None),
        background: str = "white",
        memory: int | None = None,
        winograd: bool = True,
        direction: Direction = "AtoB",
    ):
        """`generator` is a `Generator`, or any module from images (N, C, H, W) in [-1, 1] to images.

        `channels` and `value_ranges` are of input and output; a range is the stored values mapped to black and white,
        or None for that of the images' type. `memory` is the limit in bytes of the process, or on a GPU of its arrays.
        `winograd` rewrites the generator for CPUs where that is faster.
        """
        self.device = torch.device(device)
        self.winograd = winograd
        self.in_channels, self.out_channels = channels
        self.input_spec = DecodeSpec(channels[0], value_ranges[0], background)  # how input images are decoded
        self.output_spec = DecodeSpec(channels[1], value_ranges[1], background)  # how results would be decoded
        self.direction: Direction = direction
        self.directions: tuple[Direction, ...] = (direction,)  # of the model
        self.domains = ("A", "B")  # the names of input and output
        self.trained_scale: int | None = None  # side of whole images in training, pixels; None if they kept their own
        self.source: Path | None = None  # where it was loaded from
        self._model: Model | None = None  # without weights
        self._lock = threading.RLock()  # held by the thread whose image is translated
        self._threads: set[int] = set()  # that have held it
        self.generator = as_generator(generator)
        self.any_size = AnySize(self.generator, self.generator, channels[0], self.device, memory)
        self._set_generator(generator)

    def _set_generator(self, generator: nn.Module, *, rewrite: bool = True) -> None:
        self.generator = as_generator(generator).to(self.device).eval()
        set_winograd(self.generator, self.winograd)
        self.fast = rewrite_for_cpu(self.generator) if self.winograd and rewrite else self.generator
        self.any_size = replace(self.any_size, generator=self.generator, whole=self.fast, device=self.device)

    def __repr__(self) -> str:
        size = sum(parameter.numel() for parameter in self.generator.parameters()) / 1e6
        parts = [
            f"{self.direction}: {self.domains[0]} to {self.domains[1]}",
            type(self.generator).__name__ + (f" with {size:.3g} million parameters" if size else ""),
            f"{self.in_channels} to {self.out_channels} channels",
            str(self.device),
            *([f"from {self.source}"] if self.source else []),
        ]
        return f"Translator({', '.join(parts)})"

    @classmethod
    def load(
        cls,
        path: str | Path,
        direction: str | None = None,
        device: str = "auto",
        memory: int | str | None = None,
        winograd: bool = True,
    ) -> "Translator":
        """Load the generator of a run (its latest checkpoint), a checkpoint, a model folder or an export.

        ``hf:user/name`` is a model on the Hugging Face hub. Averaged weights are used if there are any. `direction` is
        "AtoB", "BtoA", or named after the domains, such as "zebra2horse"; by default the first one learned. `device` is
        "auto" (a GPU if there is one) or a name that torch knows. `memory` limits what is used, in bytes or as "2GiB";
        by default a fraction of what is free. Without `winograd`, CPUs compute exactly as PyTorch does, which takes
        twice as long for the paper's generator. Raises `UsageError`
        for other paths and directions that were not learned, `CycleGANError` for damaged weights.
        """
        folder = resolve_source(path)
        if identify(folder) == "export":
            translator = cls._from_export(folder, direction, device)
        else:
            model = read_model(folder, generators_only=True)
            generator, channels, learned = load_generator(model, direction, path)
            source, target = decode_specs(model.config.data, learned)
            translator = cls(
                generator,
                channels,
                find_device(device),
                value_ranges=(source.value_range, target.value_range),
                background=source.background,
                memory=parse_bytes(memory) if isinstance(memory, str) else memory,
                winograd=winograd,
                direction=learned,
            )
            translator.directions = model.directions
            translator.domains = model.domains if learned == "AtoB" else model.domains[::-1]
            translator.trained_scale = model.trained_scale
            translator._model = replace(model, weights={})
        translator.source = folder
        return translator

    @classmethod
    def _from_export(cls, path: Path, direction: str | None, device: str) -> "Translator":
        exported = open_export(path, device)
        metadata = exported.metadata
        names = (metadata.domain_in, metadata.domain_out)
        find_direction(direction, [metadata.direction], names if metadata.direction == "AtoB" else names[::-1], path)
        translator = cls(
            exported,
            (metadata.in_channels, metadata.out_channels),
            value_ranges=(fixed_range(metadata.range_in or None), fixed_range(metadata.range_out or None)),
            background=metadata.background,
            direction=metadata.direction,
        )
        translator.domains, translator.trained_scale = names, metadata.trained_scale or None
        return translator

    @classmethod
    def from_pretrained(
        cls, name: str | Path, direction: str | None = None, device: str = "auto", **settings: Any
    ) -> "Translator":
        """As `load`, for a path or a model on the Hugging Face hub, ``user/name[@revision]``.

        Raises as `load`, and `CycleGANError` when the model cannot be downloaded.
        """
        from_hub = not Path(name).exists() and is_hub_name(str(name))
        return cls.load(f"hf:{name}" if from_hub else name, direction, device, **settings)

    def push_to_hub(self, name: str, *, private: bool = False) -> str:
        """Publish the run or model that this was loaded from as ``user/name``, and return its address.

        Raises `UsageError` when it was not loaded from a run or model, and `CycleGANError` when the upload fails.
        """
        if self.source is None or self._model is None:
            raise UsageError("This translator was not loaded from a run or model, so there is nothing to publish.")
        return publish(self.source, name, private=private)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the generator of this direction as a model folder.

        Raises `UsageError` when the folder exists, or this was not loaded from a run or model.
        """
        if self._model is None:
            raise UsageError(
                "This translator was not loaded from a run or model; export formats cannot be saved again."
            )
        name = method_spec(self._model.method).directions[self.direction]
        weights = {f"generators.{name}.{key}": value for key, value in self.generator.state_dict().items()}
        write_model(replace(self._model, weights=weights), Path(folder), overwrite=overwrite)

    def to(self, device: str | torch.device) -> "Translator":
        """Move the generator to a device, as `nn.Module.to` does. Raises `UsageError` for unknown ones and exports."""
        if isinstance(self.generator, ExportedGenerator):
            raise UsageError("An export stays on the device that it was opened on; load it with `device` instead.")
        with self._lock:
            self.device = find_device(str(device))
            self._set_generator(self.generator)
        return self

    def with_generator(self, generator: nn.Module, *, rewrite: bool = True) -> "Translator":
        """A copy that uses another generator of the same channels; without `rewrite`, it is not rewritten for CPUs."""
        translator = copy.copy(self)
        translator._set_generator(generator, rewrite=rewrite)
        return translator

    def masks(self) -> "Translator":
        """A translator to this generator's masks, one channel each, black where the input is kept.

        Raises `UsageError` if the generator has no masks.
        """
        if not isinstance(self.generator, AttentionGenerator):
            raise UsageError(f"{self.source or 'The generator'} has no masks; train with --generator attention.")
        translator = self.with_generator(MaskGenerator(self.generator))
        translator.out_channels = self.generator.count
        translator.output_spec = DecodeSpec(self.generator.count)
        return translator

    @overload
    def translate(self, image: ImageLike, size: Size = "keep") -> ImageLike: ...

    @overload
    def translate(self, image: Sequence[ImageLike], size: Size = "keep") -> list[ImageLike]: ...

    def translate(self, image: Any, size: Size = "keep") -> Any:
        """Translate an image, or each of a list; the result has the same type and bit depth.

        An image is a PIL image of any mode; an array (H, W), (H, W, C) or (C, H, W) of integers or floats, in the
        range that was set for training, or in that of its type ([0, 1] for floats); `Pixels`; or a tensor (C, H, W) or
        (N, C, H, W) in [-1, 1]. Alpha is kept. `size` scales the shorter side to that many pixels first. Raises
        `UsageError` for anything else.
        """
        if isinstance(image, list | tuple):
            return [self.translate(each, size) for each in image]
        if isinstance(image, Pixels):
            return self._translate_pixels(image, size)
        if isinstance(image, Image.Image):
            try:
                pixels = from_pil_image(image, self.input_spec)
            except UnsupportedImage as error:
                raise UsageError(f"The image of mode {image.mode} {error}.") from None
            return to_pil_image(self._translate_pixels(pixels, size))
        if isinstance(image, np.ndarray):
            return to_array(self._translate_pixels(self._pixels_of_array(image), size))
        if isinstance(image, Tensor):
            return self._translate_tensor(image, size)
        raise UsageError(f"A {type(image).__name__} cannot be translated; give a PIL image, an array or a tensor.")

    __call__ = translate

    def translate_batch(self, images: Sequence[Pixels]) -> list[Pixels]:
        """Translate images of equal size and type in one batch, which GPUs do faster: equal up to rounding."""
        first, value_range = images[0], self.output_spec.value_range
        dtype = output_dtype(first.dtype, value_range)
        results = self._translate_tensor(torch.stack([to_tensor(image.values) for image in images]), "keep")
        return [
            replace(image, values=to_values(result, dtype, value_range), dtype=dtype, value_range=value_range)
            for image, result in zip(images, results, strict=True)
        ]

    def scale_note(self, name: str | Path, size: tuple[int, int]) -> str | None:
        """A sentence about an image whose width and height are far from the scale of training, else None."""
        trained = self.trained_scale or min(size)
        if 1 / FAR <= min(size) / trained <= FAR:
            return None
        scale = "smaller" if min(size) > trained else "larger"
        return (
            f"{name} has {size[0]}x{size[1]} pixels, but the model was trained on images of {trained}, in which "
            f"objects are much {scale}; for more effect, try --size {trained}."
        )

    def visible_input(self, pixels: Pixels) -> Pixels:
        """The part of an image that the generator uses, as an image: in gray for colorization."""
        visible = self.generator.visible_input(to_tensor(pixels.values)[None])[0]
        return replace(pixels, values=to_values(visible, pixels.dtype, pixels.value_range))

    def _pixels_of_array(self, array: np.ndarray[Any, Any]) -> Pixels:
        """Gray, color and color with alpha for generators of gray or color, else as many channels as they have."""
        value_range, bits = self.input_spec.value_range, 8 * array.dtype.itemsize
        last = array.shape[2] if array.ndim == 3 else 1
        if value_range is None and array.dtype.kind == "f":
            array = array.clip(0, 1)
        try:
            if value_range is None and array.dtype.kind in "iu" and bits > 16:
                raise UnsupportedImage("has integers of more than 16 bits, whose range is unknown")
            if self.in_channels in (1, 3) and array.ndim in (2, 3) and last in (1, 3, 4):
                stored = Stored(np.atleast_3d(array), bits, "straight" if last == 4 else "")
            else:
                values, first = channels_last(array, self.in_channels)
                stored = Stored(values, bits, is_image=False, channels_first=first)
            return to_pixels(stored, self.input_spec)
        except UnsupportedImage as error:
            shape = "(H, W)" if self.in_channels == 1 else f"(H, W, {self.in_channels})"
            raise UsageError(
                f"An array of shape {array.shape} and type {array.dtype} cannot be translated: it {error}. "
                f"Give {shape}, of uint8, uint16 or floats."
            ) from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads out of the generator. Of many threads, none keeps scratch memory for its next image."""
        with self._lock, explain_out_of_memory(MEMORY_HINT):
            self._threads.add(threading.get_ident())
            yield
            if len(self._threads) > FEW_THREADS:
                scratch.release()

    def _translate_pixels(self, pixels: Pixels, size: Size) -> Pixels:
        if size != "keep" and min(pixels.size) != size:
            pixels = pixels.resize(scaled_size(*pixels.size, shorter=size))
        value_range, (height, width) = self.output_spec.value_range, pixels.values.shape[:2]
        dtype = output_dtype(pixels.dtype, value_range)
        with self._alone():
            if self.any_size.fits(height, width):
                values = to_values(self._run_whole(to_tensor(pixels.values)[None])[0], dtype, value_range)
            else:  # in bands, converted one by one: the whole result as floats would need more memory
                values = np.full(
                    (height, width, self.out_channels), 0, to_values(torch.zeros(1, 1, 1), dtype, value_range).dtype
                )

                def write(first: int, band: Tensor) -> None:
                    values[first : first + band.shape[1]] = to_values(band, dtype, value_range)

                self.any_size.translate(height, width, lambda first, end: to_tensor(pixels.values[first:end]), write)
        return replace(pixels, values=values, dtype=dtype, value_range=value_range)

    def _translate_tensor(self, tensor: Tensor, size: Size) -> Tensor:
        if tensor.ndim not in (3, 4) or tensor.shape[-3] != self.in_channels:
            raise UsageError(
                f"A tensor of shape {tuple(tensor.shape)} cannot be translated; "
                f"give ({self.in_channels}, H, W) or (N, {self.in_channels}, H, W) in [-1, 1]."
            )
        batch = tensor if tensor.ndim == 4 else tensor[None]
        if size != "keep":
            sides = scaled_size(*batch.shape[-2:], shorter=size)
            batch = nn.functional.interpolate(batch, sides, mode="bicubic", antialias=True, align_corners=False)
        batch = batch.float()
        with self._alone():
            if self.any_size.fits(batch.shape[2], batch.shape[3], images=len(batch)):
                result = self._run_whole(batch)
            else:
                result = torch.stack([self._run_in_bands(image) for image in batch])
        result = result.to(tensor)
        return result if tensor.ndim == 4 else result[0]

    def _run_whole(self, batch: Tensor) -> Tensor:
        with torch.inference_mode():
            result = self.fast(batch.to(self.device)).float().cpu()
        return result.clone()  # not an inference tensor, so that callers may train with it

    def _run_in_bands(self, image: Tensor) -> Tensor:
        _, height, width = image.shape
        result = torch.full((self.out_channels, height, width), 0.0)  # written to, so that it counts as in use

        def write(first: int, band: Tensor) -> None:
            result[:, first : first + band.shape[1]] = band

        self.any_size.translate(height, width, lambda first, end: image[:, first:end], write)
        return result


def scaled_size(first: int, second: int, *, shorter: int) -> tuple[int, int]:
    """Two sides scaled so that the shorter one has this length."""
    scale = shorter / min(first, second)
    return max(1, round(first * scale)), max(1, round(second * scale))
