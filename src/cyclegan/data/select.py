"""The images that a configured method learns from."""

from collections.abc import Callable

from cyclegan.config.schema import Config, Direction
from cyclegan.data.cache import ArrayCache
from cyclegan.data.datasets import PairedImages, UnpairedImages
from cyclegan.data.layouts import (
    DataFiles,
    SplitFiles,
    find_domains,
    find_pairs,
    find_single_images,
    paired_by_name,
    require_equal_sizes,
)
from cyclegan.errors import UsageError
from cyclegan.imaging.source import Source
from cyclegan.methods.registry import method_spec


def find_data(config: Config) -> DataFiles:
    """The images where the configuration says, in the layout that its method needs. Raises `UsageError`."""
    data, layout = config.data, method_spec(config.loss.method).layout
    if layout == "single domain":
        return find_single_images(data.data or data.a)
    return (find_pairs if layout == "paired" else find_domains)(data.data, data.a, data.b)


def is_paired(config: Config) -> bool:
    """Whether A and B of a batch belong together: images of pairs, or one image seen twice."""
    return method_spec(config.loss.method).layout != "unpaired"


def find_training_data(config: Config) -> DataFiles:
    """As `find_data`; raises `UsageError` for pairs of unequal sizes, too."""
    domains = find_data(config)
    if is_paired(config):
        require_equal_sizes(domains.train)
    return domains


def sample_rows(config: Config, domains: DataFiles, direction: Direction) -> list[tuple[Source, ...]]:
    """The images for sample grids, of the test set where there is one; for a paired method, each with its truth."""
    test, train = (d if direction == "AtoB" else d.swapped() for d in (domains.test, domains.train))
    if is_paired(config):
        return [*(paired_by_name(test) or paired_by_name(train))]
    return [(path,) for path in test.a or train.a]


def make_dataset(config: Config, files: SplitFiles, cache: ArrayCache | None = None) -> UnpairedImages:
    """The images of a split as training sees them."""
    kind = PairedImages if is_paired(config) else UnpairedImages
    return kind(files, config.data, config.run.seed, cache)


def preload(dataset: UnpairedImages, share: float, tell: Callable[[int, int], None]) -> str:
    """Decode all images into the cache, and return a sentence that says what they take.

    Each of several processes begins at its own `share` of the way, 0 to 1, and finds what the others have done.
    `tell` hears the numbers of images done and of all.
    """
    images = dataset.images()
    first = round(share * len(images))
    sizes: list[int] = []
    for size in dataset.preload([*images[first:], *images[:first]]):
        sizes.append(size)
        tell(len(sizes), len(images))
    decoded, where = sum(size > 0 for size in sizes), "on disk" if dataset.config.cache == "disk" else "in memory"
    return f"Decoded {decoded:,} of {len(images):,} images ahead; they take {sum(sizes) / 2**30:.2g} GiB {where}."


def find_data_if_present(config: Config) -> tuple[DataFiles | None, list[str]]:
    """The data of a run, or None and a sentence when it is no longer there."""
    try:
        return find_data(config), []
    except (UsageError, OSError) as error:
        return None, [f"The data is no longer where it was, so this page shows no test images: {error}"]
