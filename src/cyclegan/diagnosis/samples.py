"""The images on which diagnostics run."""

import torch

from cyclegan.config.schema import Config
from cyclegan.data.layouts import DataFiles, SplitFiles, paired_by_name
from cyclegan.data.preprocessing import decode_specs
from cyclegan.data.select import load_fixed_images, strided
from cyclegan.diagnosis.evidence import Samples, weight_rms
from cyclegan.imaging.source import Source
from cyclegan.methods.method import Batch, build_method

TRAIN, HELD_OUT = 64, 16  # images per domain; only held-out ones are translated
HELD_OUT_IN_TRAINING = 8  # during training, to save time


def initial_weight_rms(config: Config) -> float:
    """Root mean square of the generators' weights as initialized for this configuration."""
    with torch.random.fork_rng([]):
        torch.manual_seed(config.run.seed)
        return weight_rms(build_method(config, seed=0))


def read_samples(config: Config, domains: DataFiles, held_out: int) -> Samples | None:
    """Images of both domains, `held_out` per domain for translation; None when no training image can be read."""
    train, test = (_batch(config, d, n) for d, n in ((domains.train, TRAIN), (domains.test, held_out)))
    if not train:
        return None
    paired = bool(paired_by_name(domains.test if test else domains.train))
    held_out_images = test or {name: images[:held_out] for name, images in train.items()}
    return Samples(train, held_out_images, unseen=bool(test), paired=paired)


def _batch(config: Config, files: SplitFiles, count: int) -> Batch:
    """Equally many images of both domains, as pairs if there are any; empty without images."""
    specs, size = decode_specs(config.data), config.data.crop_size
    pairs: list[tuple[Source, ...]] = [*paired_by_name(files)]
    if pairs:
        columns = load_fixed_images(strided(pairs, count), count, size, [*specs])
    else:
        columns = []
        for paths, spec in zip((files.a, files.b), specs, strict=True):
            columns += load_fixed_images(strided([(path,) for path in paths], count), count, size, [spec])
    if len(columns) < 2:
        return {}
    shortest = min(map(len, columns))
    return {name: images[:shortest] for name, images in zip("AB", columns, strict=True)}
