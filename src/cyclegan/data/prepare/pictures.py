"""What is done to one image on its way into a prepared data set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cyclegan.errors import UsageError
from cyclegan.imaging.decode import read_header, read_pixels
from cyclegan.imaging.encode import supports_channels
from cyclegan.imaging.image import DecodeSpec, Pixels, to_uint8_image
from cyclegan.imaging.source import Source, UnsupportedImage

CHANNELS = {"L": 1, "1": 1, "I;16": 1, "I": 1, "F": 1, "LA": 2, "RGBA": 4, "RGBa": 4}  # of modes; color of all others
SIGMA = 2.0  # pixels; of the blur before edges are looked for


@dataclass(frozen=True)
class Recipe:
    """What is done to each image, in this order; nothing by default.

    `size` is the length of the shorter side, or (width, height). Crops are squares that share `overlap` pixels.
    """

    size: int | tuple[int, int] | None = None
    crops: int | None = None
    overlap: int = 0
    suffix: str | None = None  # of the results, such as ".png"; that of the sources if None

    @property
    def changes(self) -> bool:
        """Whether images are to be decoded at all."""
        return self.size is not None or self.crops is not None or self.suffix is not None


def read(source: Source, suffix: str) -> Pixels:
    """An image in its own channels and depth, upright, but without alpha where files of this suffix have none.

    Raises `UnreadableImage`.
    """
    channels = CHANNELS.get(read_header(source).mode, 3)
    return read_pixels(source, DecodeSpec(channels if supports_channels(suffix, channels) else channels - 1))


def joined(a: Pixels, b: Pixels) -> Pixels:
    """Both side by side, in the size of the first, as colors of 8 bit."""
    pictures = [to_uint8_image(each).convert("RGB") for each in (a, b.resize(a.size))]
    return Pixels(np.concatenate([np.asarray(each) for each in pictures], 1))


def edges(image: Pixels) -> Pixels:
    """Black edges on white, (H, W, 1), by Canny's detector. Raises `UsageError` without scikit-image."""
    try:
        from skimage.feature import canny
    except ImportError:
        raise UsageError("--edges needs scikit-image: pip install 'cyclegan[edges]'.") from None
    gray = np.asarray(to_uint8_image(image).convert("L"), np.float32) / 255
    found = canny(gray, SIGMA)  # type: ignore[no-untyped-call]
    return Pixels(np.where(found, 0, 255).astype(np.uint8)[..., None])


def prepared(images: Sequence[Pixels], recipe: Recipe) -> list[list[tuple[str, Pixels]]]:
    """For each image: itself or its crops, with their name suffixes. Raises `UnsupportedImage`."""
    if recipe.size is not None:
        images = [image.resize(_size(image.size, recipe.size)) for image in images]
    if recipe.crops is None:
        return [[("", image)] for image in images]
    if len({image.size for image in images}) > 1:
        raise UnsupportedImage(
            "and its partner have unequal sizes, so that their crops would be no pairs; give --size 512x512"
        )
    return [list(_crops(image, recipe.crops, recipe.overlap)) for image in images]


def _crops(image: Pixels, side: int, overlap: int) -> Iterator[tuple[str, Pixels]]:
    if min(image.size) < side:
        width, height = image.size
        raise UnsupportedImage(f"is {width}x{height} pixels, too small for crops of {side}x{side}")
    for row, top in enumerate(starts(image.size[1], side, overlap)):
        for column, left in enumerate(starts(image.size[0], side, overlap)):
            cut = image.crop((left, top, left + side, top + side))
            yield f"-r{row}-c{column}", replace(cut, values=np.ascontiguousarray(cut.values))


def starts(length: int, side: int, overlap: int) -> list[int]:
    """Where crops begin, so that they cover everything: the last one is moved inwards."""
    return [*range(0, length - side, side - overlap), length - side]


def _size(size: tuple[int, int], wanted: int | tuple[int, int]) -> tuple[int, int]:
    if isinstance(wanted, tuple):
        return wanted
    scale = wanted / min(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
