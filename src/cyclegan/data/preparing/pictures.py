"""What is done to one image on its way into a prepared data set."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from cyclegan.data.images import Source, read_header, read_pixels
from cyclegan.data.pixels import Pixels, Reading, shown
from cyclegan.data.sources import UnreadableImage
from cyclegan.errors import UsageError

CHANNELS = {"L": 1, "1": 1, "I;16": 1, "I": 1, "F": 1, "LA": 2, "RGBA": 4, "RGBa": 4}  # of modes; colour of all others
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


def read(source: Source) -> Pixels:
    """An image in its own channels and depth, upright. Raises `UnreadableImage`."""
    return read_pixels(source, Reading(CHANNELS.get(read_header(source).mode, 3)))


def joined(a: Pixels, b: Pixels) -> Pixels:
    """Both side by side, in the size of the first, as colours of 8 bit."""
    pictures = [shown(each).convert("RGB") for each in (a, b.resized(a.size))]
    return Pixels(np.concatenate([np.asarray(each) for each in pictures], 1))


def edges(image: Pixels) -> Pixels:
    """Black edges on white, (H, W, 1), by Canny's detector. Raises `UsageError` without scikit-image."""
    try:
        from skimage.feature import canny
    except ImportError:
        raise UsageError("--edges needs scikit-image: pip install 'cyclegan[edges]'.") from None
    grey = np.asarray(shown(image).convert("L"), np.float32) / 255
    found = canny(grey, SIGMA)  # type: ignore[no-untyped-call]
    return Pixels(np.where(found, 0, 255).astype(np.uint8)[..., None])


def prepared(image: Pixels, recipe: Recipe) -> Iterator[tuple[str, Pixels]]:
    """What becomes of an image, each with the end of its name: one image, or its crops. Raises `UnreadableImage`."""
    if recipe.size is not None:
        image = image.resized(_size(image.size, recipe.size))
    if recipe.crops is None:
        yield "", image
        return
    side = recipe.crops
    if min(image.size) < side:
        width, height = image.size
        raise UnreadableImage(f"is {width}x{height} pixels, too small for crops of {side}x{side}")
    for row, top in enumerate(starts(image.size[1], side, recipe.overlap)):
        for column, left in enumerate(starts(image.size[0], side, recipe.overlap)):
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
