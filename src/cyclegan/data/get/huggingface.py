"""Data sets of the Hugging Face hub: `hf:user/name`, through the `datasets` library (extra `hub`)."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from cyclegan.data.get.staging import is_marked, mark, new_folder
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.encode import IMAGE_SUFFIXES

SPECIFICATION = re.compile(r"hf:([\w.-]+/[\w.-]+)(?::([^,:]+),([^,:]+))?")
SPLITS = {"train": "train", "test": "test", "validation": "val", "valid": "val", "val": "val", "dev": "val"}
# Not all that Pillow knows: some of its decoders start programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "TGA", "ICO")
NAMED = ("trainA", "trainB", "testA", "testB")


@dataclass(frozen=True)
class Part:
    """One column of images of one split, and the folder that it becomes, such as trainA."""

    folder: str
    split: Any
    column: str


def parsed(specification: str) -> tuple[str, tuple[str, str] | None]:
    """The name of a data set and what is A and B in it, if that is said: hf:user/name:A,B. Raises `UsageError`."""
    found = SPECIFICATION.fullmatch(specification)
    if not found:
        raise UsageError(f"{specification!r} is no data set of the hub; one is named hf:user/name or hf:user/name:A,B.")
    return found[1], (found[2], found[3]) if found[2] else None


def write(specification: str, to: Path) -> str:
    """Write the images of a data set of the hub into trainA, trainB (and testA, valB, ...), and say how many.

    A and B are two columns of images, two configurations, or two splits; which, may be said as in hf:user/name:A,B.
    Rows of two columns are pairs, so their files get equal names. Files are written as they are stored, not coded
    anew. Raises `CycleGANError` and `UsageError`.
    """
    name, chosen = parsed(specification)
    if is_marked(to, specification):
        return "already there"
    library = _library()
    with _complaints_named(name):
        parts = _parts(library, name, chosen)
    if not {"trainA", "trainB"} <= {part.folder for part in parts}:
        raise CycleGANError(f"hf:{name} has no split to train on for both A and B.")
    counts: dict[str, int] = {}
    with new_folder(to) as folder:
        for part in parts:
            with _complaints_named(name):
                counts[part.folder] = _write_images(library, part, folder / part.folder)
        mark(folder, specification)
    return ", ".join(f"{count:,} images in {where}" for where, count in counts.items())


def _library() -> Any:
    try:
        import datasets
    except ImportError:
        raise UsageError("Data sets of the hub need the extra `hub`: pip install 'cyclegan[hub]'.") from None
    return datasets


def _parts(library: Any, name: str, chosen: tuple[str, str] | None) -> list[Part]:
    """Find A and B: two configurations, else two columns, else two splits."""
    configurations = library.get_dataset_config_names(name)
    two = _two(chosen, configurations)
    if two:
        return [
            Part(folder, split, _one_column(library, name, split))
            for side, configuration in zip("AB", two, strict=True)
            for folder, split in _folders(library.load_dataset(name, configuration), side)
        ]
    if len(configurations) > 1 and "default" not in configurations:
        raise _unclear(name, f"the configurations {', '.join(configurations)}")
    splits = library.load_dataset(name, "default" if "default" in configurations else configurations[0])
    columns = _image_columns(library, next(iter(splits.values())))
    two = _two(chosen, columns)
    if two:
        return [
            Part(folder, split, column)
            for side, column in zip("AB", two, strict=True)
            for folder, split in _folders(splits, side)
        ]
    named = {folder: splits[folder] for folder in NAMED if folder in splits and not chosen}
    two = _two(chosen, [split for split in splits if chosen or split not in (*SPLITS, *NAMED)])
    if two:
        named |= {f"train{side}": splits[split] for side, split in zip("AB", two, strict=True)}
    if not named:
        raise _unclear(name, f"the splits {', '.join(splits)} with {', '.join(columns) or 'nothing'} as images")
    return [Part(folder, split, _one_column(library, name, split)) for folder, split in named.items()]


def _two(chosen: tuple[str, str] | None, there: list[str]) -> tuple[str, str] | None:
    """The two that were chosen, if they are there; if none were, the two that are there, if there are just two."""
    if chosen:
        return chosen if set(chosen) <= set(there) else None
    return (there[0], there[1]) if len(there) == 2 else None


def _folders(splits: Any, side: str) -> Iterator[tuple[str, Any]]:
    """The splits to train and test on, with the folders that they become; a single one is to train on."""
    for split, content in splits.items():
        if split in SPLITS or len(splits) == 1:
            yield f"{SPLITS.get(split, 'train')}{side}", content


def _image_columns(library: Any, split: Any) -> list[str]:
    return [name for name, feature in split.features.items() if isinstance(feature, library.Image)]


def _one_column(library: Any, name: str, split: Any) -> str:
    columns = _image_columns(library, split)
    if len(columns) != 1:
        raise CycleGANError(
            f"hf:{name} has {len(columns)} columns of images where one is needed ({', '.join(split.features)})."
        )
    return columns[0]


def _unclear(name: str, there: str) -> UsageError:
    return UsageError(f"hf:{name} has {there}; say which two are A and B, as in hf:{name}:A,B.")


def _write_images(library: Any, part: Part, folder: Path) -> int:
    folder.mkdir()
    count = 0
    rows = part.split.select_columns([part.column]).cast_column(part.column, library.Image(decode=False))
    for number, row in enumerate(rows):
        cell = row[part.column]
        if cell is None:  # two columns of unequal length
            continue
        content = cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()
        _write_image(content, folder / f"{number:06d}")
        count += 1
    return count


def _write_image(content: bytes, stem: Path) -> None:
    """Write an image file as it is if we read its format, else as PNG."""
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    kind = image.format or ""
    suffix = {"JPEG": ".jpg", "TIFF": ".tif"}.get(kind, f".{kind.lower()}")
    if suffix in IMAGE_SUFFIXES:
        stem.with_suffix(suffix).write_bytes(content)
    else:
        image.save(stem.with_suffix(".png"))


@contextmanager
def _complaints_named(name: str) -> Iterator[None]:
    """Make one sentence of whatever the library raises: it has many kinds of errors, and passes on others' too."""
    try:
        yield
    except CycleGANError:
        raise
    except Exception as error:
        words = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CycleGANError(f"hf:{name} could not be loaded: {words.rstrip('.')}.") from None
