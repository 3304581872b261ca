"""Data sets of the Hugging Face hub, `hf:user/name`, through the `datasets` library (extra `hub`)."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from cyclegan.data.get.staging import is_marked, mark, new_folder
from cyclegan.errors import CycleGANError, UsageError, first_line
from cyclegan.imaging.encode import IMAGE_SUFFIXES
from cyclegan.system.optional import optional_import

SPECIFICATION = re.compile(r"hf:([\w.-]+/[\w.-]+)(?::([^,:]+),([^,:]+))?")
SPLITS = {"train": "train", "test": "test", "validation": "val", "valid": "val", "val": "val", "dev": "val"}
# Not all formats of Pillow: some of its decoders start external programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "TGA", "ICO")
DOMAIN_SPLITS = ("trainA", "trainB", "testA", "testB")
Part = tuple[str, Any, str]  # the folder to write, such as trainA, a split, and its column of images


def parse_specification(text: str) -> tuple[str, tuple[str, str] | None]:
    """The name of a data set, and what A and B are if given: hf:user/name:A,B. Raises `UsageError`."""
    found = SPECIFICATION.fullmatch(text)
    if not found:
        raise UsageError(f"{text!r} is not a data set of the hub; use hf:user/name or hf:user/name:A,B.")
    return found[1], (found[2], found[3]) if found[2] else None


def write_hub_dataset(specification: str, to: Path) -> str:
    """Write the images of a hub data set to trainA, trainB (and testA, valB, ...), and return their numbers as text.

    A and B are two image columns, two configurations, or two splits, which hf:user/name:A,B selects. Rows with two
    columns are pairs, so their files get equal names. Files are written unchanged. Raises `CycleGANError` and
    `UsageError`.
    """
    name, chosen = parse_specification(specification)
    if is_marked(to, specification):
        return "already there"
    datasets = optional_import("datasets", "hub")
    with _explain_errors(name):
        parts = _find_parts(datasets, name, chosen)
    if not {"trainA", "trainB"} <= {folder for folder, _, _ in parts}:
        raise CycleGANError(f"hf:{name} has no training split for both A and B.")
    counts: dict[str, int] = {}
    with new_folder(to) as root:
        for folder, split, column in parts:
            with _explain_errors(name):
                rows = split.select_columns([column]).cast_column(column, datasets.Image(decode=False))
                counts[folder] = _write_images((row[column] for row in rows), root / folder)
        mark(root, specification)
    return ", ".join(f"{count:,} images in {where}" for where, count in counts.items())


def _find_parts(library: Any, name: str, chosen: tuple[str, str] | None) -> list[Part]:
    """Find A and B: two configurations, else two columns, else two splits."""
    configurations = library.get_dataset_config_names(name)
    if two := _select_two(chosen, configurations):
        return _domain_parts(library, name, [(library.load_dataset(name, each), None) for each in two])
    ambiguous = f"hf:{name} has {{}}; choose two of them as A and B, as in hf:{name}:A,B."
    if len(configurations) > 1 and "default" not in configurations:
        raise UsageError(ambiguous.format(f"the configurations {', '.join(configurations)}"))
    splits = library.load_dataset(name, "default" if "default" in configurations else configurations[0])
    columns = _image_columns(library, next(iter(splits.values())))
    if two := _select_two(chosen, columns):
        return _domain_parts(library, name, [(splits, column) for column in two])
    named = {folder: splits[folder] for folder in DOMAIN_SPLITS if folder in splits and not chosen}
    if two := _select_two(chosen, [split for split in splits if chosen or split not in (*SPLITS, *DOMAIN_SPLITS)]):
        named |= {f"train{side}": splits[split] for side, split in zip("AB", two, strict=True)}
    if not named:
        listed = ", ".join(columns) or "none"
        raise UsageError(ambiguous.format(f"the splits {', '.join(splits)} and the image columns {listed}"))
    return [(folder, split, _image_column(library, name, split)) for folder, split in named.items()]


def _domain_parts(library: Any, name: str, domains: list[tuple[Any, str | None]]) -> list[Part]:
    """Training and test splits of A and B, each given by splits and image column; a single split is for training."""
    return [
        (f"{SPLITS.get(split, 'train')}{side}", content, column or _image_column(library, name, content))
        for side, (splits, column) in zip("AB", domains, strict=True)
        for split, content in splits.items()
        if split in SPLITS or len(splits) == 1
    ]


def _select_two(chosen: tuple[str, str] | None, available: list[str]) -> tuple[str, str] | None:
    """The chosen two, if available; without a choice, the available ones if there are exactly two."""
    if chosen:
        return chosen if set(chosen) <= set(available) else None
    return (available[0], available[1]) if len(available) == 2 else None


def _image_columns(library: Any, split: Any) -> list[str]:
    return [name for name, feature in split.features.items() if isinstance(feature, library.Image)]


def _image_column(library: Any, name: str, split: Any) -> str:
    columns = _image_columns(library, split)
    if len(columns) != 1:
        raise CycleGANError(f"hf:{name} needs one image column, but has {len(columns)} ({', '.join(split.features)}).")
    return columns[0]


def _write_images(cells: Iterator[Any], folder: Path) -> int:
    """Write image files unchanged if their format is supported, otherwise as PNG."""
    folder.mkdir()
    count = 0
    for number, cell in enumerate(cells):
        if cell is None:  # two columns of different lengths
            continue
        content = cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        kind = image.format or ""
        suffix = {"JPEG": ".jpg", "TIFF": ".tif"}.get(kind, f".{kind.lower()}")
        if suffix in IMAGE_SUFFIXES:
            (folder / f"{number:06d}{suffix}").write_bytes(content)
        else:
            image.save(folder / f"{number:06d}.png")
        count += 1
    return count


@contextmanager
def _explain_errors(name: str) -> Iterator[None]:
    """Convert the library's many kinds of errors to one sentence."""
    try:
        yield
    except CycleGANError:
        raise
    except Exception as error:
        raise CycleGANError(f"hf:{name} could not be loaded: {first_line(error)}.") from None
