"""Feeding the network: what is cached is what would have been decoded, within bounds, whatever happens to the files."""

import csv
import errno
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, floating_dtypes, integer_dtypes
from PIL import Image

from conftest import tensors
from cyclegan.config.schema import Config, DataConfig
from cyclegan.data import cache as caches
from cyclegan.data.cache import Array, ArrayCache, open_cache
from cyclegan.data.datasets import Batches, PairedImages, UnpairedImages, make_loader
from cyclegan.data.layouts import SplitFiles, find_domains
from cyclegan.data.preprocessing import load_resized, random_crop
from cyclegan.errors import UsageError
from cyclegan.imaging.image import DecodeSpec, to_tensor
from cyclegan.imaging.source import Half
from cyclegan.training import trainer
from cyclegan.training.loggers import MetricsFile
from cyclegan.training.monitor import TrainStatus
from cyclegan.training.setup import configure
from cyclegan.training.trainer import resume, train
from fakes import RecordingMonitor

MIB = 2**20


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory and the user's folder for caches are below the test's own."""
    for name in ("memory", "user"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(caches, "SHARED_MEMORY", tmp_path / "memory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))


def must_not_be_made() -> Array:
    raise AssertionError("it was kept")


def kept(cache: ArrayCache) -> int:
    """Bytes of all arrays in a cache's folder."""
    return sum(file.stat().st_size for file in cache.folder.glob("*.npy"))


def losses(run: Path) -> list[dict[str, str]]:
    clock = ("minutes", "images_per_second", "memory", "data_wait")
    with (run / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in clock} for row in csv.DictReader(file)]


@settings(max_examples=60, deadline=None)
@given(
    arrays(integer_dtypes() | floating_dtypes() | st.just(np.dtype(bool)), array_shapes(min_dims=1, max_side=6)),
    st.booleans(),
)
def test_cached_arrays_are_returned_unchanged(array: Array, by_columns: bool) -> None:
    array = np.asfortranarray(array) if by_columns else array
    with tempfile.TemporaryDirectory() as folder:
        cache = ArrayCache(Path(folder), MIB)
        assert cache.array("one", lambda: array) is array
        found = cache.array("one", must_not_be_made)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()
        assert cache.array("other", lambda: array[:1]) is not found


@pytest.mark.parametrize("workers", [0, 2])
def test_training_with_and_without_a_cache_is_equal(tiny: Callable[..., Config], tmp_path: Path, workers: int) -> None:
    """Over two epochs; a cache on disk is warm from the first of its two runs."""
    runs = [
        train(tiny(name=name, cache=cache, workers=workers, max_steps=15, preload=name == "preloaded"))
        for name, cache in (("off", "off"), ("memory", "memory"), ("preloaded", "memory"), ("1", "disk"), ("2", "disk"))
    ]
    first, *others = ((tensors(run), losses(run)) for run in runs)
    for values, rows in others:
        assert rows == first[1]
        assert [name for name, value in first[0].items() if not torch.equal(value, values[name])] == []
    assert len(list((tmp_path / "user" / "cyclegan" / "arrays").glob("*.npy"))) == 12
    assert list((tmp_path / "memory").iterdir()) == []


def test_resuming_with_another_cache_changes_nothing(tiny: Callable[..., Config]) -> None:
    straight = train(tiny(name="straight", max_steps=10, cache="off", schedule="constant"))
    parts = train(tiny(name="parts", max_steps=4, cache="disk", schedule="constant"))
    resume(parts, max_steps=10, cache="memory", preload=True)
    a, b = tensors(straight), tensors(parts)
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


POLICIES = ["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "scale_shortside_and_crop", "none"]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("paired", [False, True])
def test_cached_items_equal_uncached_ones(tmp_path: Path, policy: str, paired: bool) -> None:
    """Color and gray, side by side in one file."""
    values = np.random.default_rng(0).integers(0, 256, (45, 2 * 61, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "pair.jpg")
    config = configure(
        "paper", preprocess=policy, load_size=40, crop_size=32, channels_b=1, lambda_identity=0.0, cache="memory"
    ).data
    files = SplitFiles((Half(tmp_path / "pair.jpg", "left"),), (Half(tmp_path / "pair.jpg", "right"),))
    kind = PairedImages if paired else UnpairedImages
    plain = kind(files, config, 0)
    with open_cache("memory", MIB, "it") as cache:
        assert cache is not None
        cached = kind(files, config, 0, cache)
        for epoch in range(4):
            item, wanted = cached[epoch, 0], plain[epoch, 0]
            assert all(torch.equal(item.images[domain], wanted.images[domain]) for domain in "AB")
        assert len(list(cache.folder.glob("*.npy"))) == 2


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 20), st.integers(8, 20), st.sampled_from([(), (1,), (3,)]), st.integers(0, 1000))
def test_cropping_and_scaling_agree_with_a_simple_implementation(
    height: int, width: int, channels: tuple[int, ...], seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), dtype=np.uint8)
    config = DataConfig(preprocess="crop", crop_size=8)
    draw = random.Random(seed)
    left, top, mirrored = draw.randint(0, width - 8), draw.randint(0, height - 8), draw.random() < 0.5
    wanted = np.empty((*channels, 8, 8), np.float32) if channels else np.empty((1, 8, 8), np.float32)
    for y, x in np.ndindex(8, 8):
        value = pixels[top + y, left + (7 - x if mirrored else x)]
        wanted[:, y, x] = value.astype(np.float32) / np.float32(127.5) - np.float32(1)
    assert to_tensor(random_crop(pixels, config, random.Random(seed))).numpy().tobytes() == wanted.tobytes()


def test_a_changed_file_is_decoded_again(tiny: Callable[..., Config], tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    config = tiny(preprocess="none", flip=False, serial_batches=True).data
    with open_cache("disk", MIB, "") as cache:
        images = UnpairedImages(SplitFiles((path,), (path,)), config, 0, cache)
        for level in (10, 200):
            Image.new("RGB", (40, 40), (level, level, level)).save(path)
            os.utime(path, ns=(level, level))
            assert images[0, 0].images["A"].mean() == pytest.approx(level / 127.5 - 1)
        path.unlink()
        assert "None of the 1 images" in str(images[0, 0].error)


def test_a_cache_stays_within_its_limit_by_evicting_unused_arrays(tmp_path: Path) -> None:
    array = np.zeros(1000, np.uint8)
    size = array.nbytes + 128
    old = ArrayCache(tmp_path / "cache", 4 * size)
    for number in range(6):
        old.array(str(number), lambda: array)
        assert kept(old) <= 4 * size
    assert kept(old) == 4 * size
    assert old.problem is not None
    assert old.problem.startswith("is full at")
    old.array("3", must_not_be_made)  # what is there keeps being used

    for file in old.folder.glob("*.npy"):
        os.utime(file, (1, 1))
    new = ArrayCache(old.folder, 4 * size)
    new.array("0", must_not_be_made)  # used again
    for number in range(10, 13):
        new.array(str(number), lambda: array)
    assert new.problem is None
    assert kept(new) == 4 * size
    new.array("0", must_not_be_made)
    new.array("13", lambda: array)
    assert new.problem is not None
    assert kept(ArrayCache(old.folder, 2 * size)) == 2 * size


def test_an_array_larger_than_the_limit_does_not_evict_smaller_ones(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path / "cache", 2000)
    cache.array("large", lambda: np.zeros(3000, np.uint8))
    cache.array("small", lambda: np.zeros(1000, np.uint8))
    cache.array("small", must_not_be_made)
    assert kept(cache) == 1128


@pytest.mark.parametrize("damage", ["empty", "short", "text", "header"])
def test_a_damaged_file_is_recomputed(tmp_path: Path, damage: str) -> None:
    cache, array = ArrayCache(tmp_path / "cache", MIB), np.arange(100)
    cache.array("it", lambda: array)
    (file,) = cache.folder.glob("*.npy")
    whole = file.read_bytes()
    file.write_bytes({"empty": b"", "short": whole[:-1], "text": b"hello" * 100, "header": whole[:40] * 9}[damage])
    assert cache.array("it", lambda: array) is array
    assert file.read_bytes() == whole
    (cache.folder / "held").write_text("")  # what a process killed in writing leaves
    cache.array("other", lambda: array)
    assert int((cache.folder / "held").read_text()) == kept(cache)


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path / "cache", MIB)
    cache.array("it", lambda: np.arange(3))
    (file,) = cache.folder.glob("*.npy")
    np.save(file, np.array([RecordingMonitor], dtype=object), allow_pickle=True)
    assert cache.array("it", lambda: np.arange(4)).shape == (4,)


def test_a_full_disk_is_reported_as_a_message(
    tiny: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    listener = RecordingMonitor()
    monkeypatch.setattr(np, "save", full)
    train(tiny(max_steps=8), monitors=[listener])
    (message,) = listener.messages
    assert message.startswith("The cache of decoded images in ")
    assert message.endswith("cannot be written (No space left on device); the other images are decoded every time.")


def test_an_unusable_folder_is_reported_as_a_message(tiny: Callable[..., Config], tmp_path: Path) -> None:
    (tmp_path / "user" / "cyclegan").write_text("this is no folder")
    listener = RecordingMonitor()
    train(tiny(max_steps=2, cache="disk"), monitors=[listener])
    assert ["cannot be written" in message for message in listener.messages] == [True]


def test_a_small_limit_is_reported_once_and_kept(tiny: Callable[..., Config], tmp_path: Path) -> None:
    cached: list[int] = []  # files in the cache after each step
    listener = RecordingMonitor(lambda status: cached.append(len(list((tmp_path / "memory").glob("*/*.npy")))))
    size = 36 * 36 * 3 + 128
    train(tiny(max_steps=14, cache_size=5 * size / 2**30, workers=2), monitors=[listener])
    assert [message.split(";")[0].split(" at ")[0] for message in listener.messages] == [
        "The cache of decoded images is full"
    ]
    assert cached[-1] == 5


def _fill(folder: Path, limit: int, first: int) -> int:
    """How many of 40 arrays this process had to make."""
    cache, made = ArrayCache(folder, limit), []
    for number in (*range(first, 40), *range(first)):
        cache.array(str(number), lambda number=number: made.append(number) or np.full(5000, number, np.int16))
    assert all((cache.array(str(n), lambda n=n: np.full(5000, n, np.int16)) == n).all() for n in range(40))
    return len(made)


@pytest.mark.processes
@pytest.mark.parametrize("room", [40, 15])
def test_processes_share_one_cache_and_its_limit(tmp_path: Path, room: int) -> None:
    folder, limit = tmp_path / "shared", room * (10_000 + 128)
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        made = list(pool.map(_fill, [folder] * 4, [limit] * 4, [0, 10, 20, 30]))
    assert sum(made) >= 40
    cache = ArrayCache(folder, limit)
    assert kept(cache) == limit
    assert int((folder / "held").read_text()) == limit
    if room == 40:
        assert _fill(folder, limit, 0) == 0


def test_loader_workers_share_decoded_images(tiny: Callable[..., Config], data: Path) -> None:
    config = tiny(workers=2).data
    with open_cache("memory", MIB, "it") as cache:
        assert cache is not None
        images = UnpairedImages(find_domains(data).train, config, 0, cache)
        feed = iter(make_loader(images, Batches(len(images), 1)))
        for _ in range(14):
            next(feed)
        del feed
        assert len(list(cache.folder.glob("*.npy"))) >= 7
        for path, spec in images.images()[:7]:
            assert (images.load(path, spec) == load_resized(path, spec, config)).all()


def test_memory_is_freed_after_a_process_was_killed(tmp_path: Path) -> None:
    left = tmp_path / "memory" / f"{caches.TEMPORARY}left"
    held, new = (left.with_name(f"{caches.TEMPORARY}{name}") for name in ("held", "new"))
    others = tmp_path / "memory" / "cyclegan-of-mine"
    for folder in (left, held, new, others):
        folder.mkdir()
        (folder / "x.npy").write_bytes(b"x")
    for folder in (left, held, others):
        os.utime(folder, (1, 1))
    with FileLock(held / "holder"):
        os.utime(held, (1, 1))
        with open_cache("memory", MIB, "it") as cache, open_cache("memory", MIB, "it") as same:
            assert cache is not None
            assert same is not None
            assert cache.folder == same.folder
            assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert sorted((tmp_path / "memory").iterdir()) == sorted([held, new, others])


def test_the_memory_cache_respects_free_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "free_memory", lambda: 40_000)
    with open_cache("memory", MIB, "it") as cache:
        assert cache is not None
        assert cache.limit == 10_000
        assert cache.folder.parent == tmp_path / "memory"
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=8_000))
    assert ArrayCache(tmp_path / "disk", MIB).limit == 4_000
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "user"))
    with open_cache("memory", MIB, "it") as cache:  # the loaders need what little there is
        assert cache is not None
        assert cache.folder.parent == tmp_path / "user"


def test_preloading_decodes_all_images_and_reports_their_size(tiny: Callable[..., Config], tmp_path: Path) -> None:
    cached: list[int] = []  # files in the cache after each step
    listener = RecordingMonitor(lambda status: cached.append(len(list((tmp_path / "memory").glob("*/*.npy")))))
    train(tiny(max_steps=1, preload=True), monitors=[listener])
    assert listener.preloads == [(done, 12) for done in range(1, 13)]
    assert cached[-1] == 12
    size = 12 * 36 * 36 * 3 / 2**30
    assert listener.messages == [f"Preloaded 12 of 12 images, {size:.2g} GiB in memory."]
    with pytest.raises(UsageError, match="--preload decodes images into the cache"):
        tiny(preload=True, cache="off")


def test_drafts_of_large_jpegs_are_close_to_full_decoding(tmp_path: Path) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(colors).resize((640, 480), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=90)
    whole = DataConfig(load_size=72, crop_size=64)
    drafted = configure("small", load_size=72, crop_size=64).data
    assert drafted.draft
    assert not configure("paper").data.draft
    a, b = (load_resized(tmp_path / "large.jpg", DecodeSpec(), config).astype(int) for config in (whole, drafted))
    difference = np.abs(a - b)
    assert 0 < difference.mean() < 0.6
    assert difference.max() <= 4
    Image.open(tmp_path / "large.jpg").resize((140, 140)).save(tmp_path / "small.jpg")  # less than twice
    a, b = (load_resized(tmp_path / "small.jpg", DecodeSpec(), config) for config in (whole, drafted))
    assert (a == b).all()


def test_waiting_for_data_is_measured_and_reported_once(
    tiny: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = UnpairedImages.__getitem__

    def slow(self: UnpairedImages, at: tuple[int, int]) -> dict[str, Any]:
        time.sleep(0.3)
        return original(self, at)

    monkeypatch.setattr(trainer, "WARM_UP", 0.0)
    monkeypatch.setattr(trainer, "SLOW_DATA", 0.0)  # a busy machine may take any time for the steps between
    monkeypatch.setattr(UnpairedImages, "__getitem__", slow)
    listener = RecordingMonitor()
    run = train(tiny(max_steps=3), monitors=[listener])
    with (run / "metrics.csv").open() as file:
        assert all(0 < float(row["data_wait"]) <= 1 for row in csv.DictReader(file))
    (message,) = listener.messages
    assert "of the time is spent waiting for images; raise --workers" in message


def test_metrics_of_an_earlier_version_keep_their_columns(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,minutes,G_A\n1,0.5,2.0\n9,0.9,7.0\n")
    metrics = MetricsFile()
    metrics.on_start(tmp_path, 1)
    metrics.on_losses(TrainStatus(2, 1, 0.1, 0.75, 1.0, 0.1, 1e-4, 0.3), {"G_A": 3.0})
    assert (tmp_path / "metrics.csv").read_text() == "step,minutes,G_A\n1,0.5,2.0\n2,0.75,3.0\n"
