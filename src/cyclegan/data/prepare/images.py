"""Operations on single images for a prepared data set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cyclegan.imaging.decode import read_header, read_pixels
from cyclegan.imaging.encode import supports_channels
from cyclegan.imaging.image import DecodeSpec, Pixels, to_uint8_image
from cyclegan.imaging.source import Source, UnsupportedImage
from cyclegan.system.optional import optional_import

CHANNELS = {"L": 1, "1": 1, "I;16": 1, "I": 1, "F": 1, "LA": 2, "RGBA": 4, "RGBa": 4}  # of modes; 3 for all others
SIGMA = 2.0  # pixels, of the Gaussian blur before edge detection


@dataclass(frozen=True)
class Recipe:
    """What to do to each image, in this order; nothing by default.

    `size` is the shorter side, or (width, height). Crops are squares of `crops` pixels that share `overlap` pixels.
    """

    size: int | tuple[int, int] | None = None
    crops: int | None = None
    overlap: int = 0
    suffix: str | None = None  # of the results, such as ".png"; None for that of the source

    @property
    def changes(self) -> bool:
        """Whether images must be decoded."""
        return (self.size, self.crops, self.suffix) != (None, None, None)


def read(source: Source, suffix: str) -> Pixels:
    """Read an image in its own channels and depth, without alpha if files with this suffix cannot have it.

    Raises `UnreadableImage`.
    """
    channels = CHANNELS.get(read_header(source).mode, 3)
    return read_pixels(source, DecodeSpec(channels if supports_channels(suffix, channels) else channels - 1))


def side_by_side(a: Pixels, b: Pixels) -> Pixels:
    """Both images in one, at the size of the first, in 8 bit color."""
    images = [to_uint8_image(each).convert("RGB") for each in (a, b.resize(a.size))]
    return Pixels(np.concatenate([np.asarray(each) for each in images], 1))


def detect_edges(image: Pixels) -> Pixels:
    """Black edges on white, (H, W, 1), by Canny's detector. Raises `UsageError` without scikit-image."""
    canny = optional_import("skimage.feature", "edges").canny
    edges = canny(np.asarray(to_uint8_image(image).convert("L"), np.float32) / 255, SIGMA)
    return Pixels(np.where(edges, 0, 255).astype(np.uint8)[..., None])


def apply_recipe(images: Sequence[Pixels], recipe: Recipe) -> list[list[tuple[str, Pixels]]]:
    """For one image, or each of a pair: the results with their name endings. Raises `UnsupportedImage`."""
    if isinstance(size := recipe.size, int):
        scales = [size / min(image.size) for image in images]
        sizes = [[max(1, round(side * s)) for side in image.size] for image, s in zip(images, scales, strict=True)]
        images = [image.resize((w, h)) for image, (w, h) in zip(images, sizes, strict=True)]
    elif size is not None:
        images = [image.resize(size) for image in images]
    if recipe.crops is None:
        return [[("", image)] for image in images]
    if len({image.size for image in images}) > 1:
        raise UnsupportedImage("and its partner differ in size, so their crops would not be pairs; add --size 512x512")
    return [list(_crops(image, recipe.crops, recipe.overlap)) for image in images]


def _crops(image: Pixels, side: int, overlap: int) -> Iterator[tuple[str, Pixels]]:
    width, height = image.size
    if min(width, height) < side:
        raise UnsupportedImage(f"has {width}x{height} pixels, too few for crops of {side}x{side}")
    for row, top in enumerate(crop_starts(height, side, overlap)):
        for column, left in enumerate(crop_starts(width, side, overlap)):
            crop = image.crop((left, top, left + side, top + side))
            yield f"-r{row}-c{column}", replace(crop, values=np.ascontiguousarray(crop.values))


def crop_starts(length: int, side: int, overlap: int) -> list[int]:
    """Start positions of crops that cover everything; the last one is moved inward."""
    return [*range(0, length - side, side - overlap), length - side]
