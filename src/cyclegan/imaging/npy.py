"""Images in NumPy files: ``.npy``, and ``.npz`` with one array. Nothing is ever unpickled."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from cyclegan.imaging.source import Header, UnsupportedImage, expected_channels, require_plausible_size

Array = np.ndarray[Any, Any]
_NPY, _NPZ = b"\x93NUMPY", b"PK\x03\x04"


def is_array(start: bytes) -> bool:
    """Whether a file with these first bytes is a NumPy file."""
    return start.startswith((_NPY, _NPZ))


def read_array_header(file: IO[bytes]) -> Header:
    """The header; of three axes, the shorter one of the first and the last counts as the channels."""
    with _npy(file) as (kind, npy):
        shape, dtype = _read_shape(npy, file)
    height, width = shape[:2] if len(shape) == 2 or shape[2] <= shape[0] else shape[1:]
    return Header(kind, dtype.name, 8 * dtype.itemsize, (width, height), several=False)


def decode_array(file: IO[bytes], channels: int) -> tuple[Array, bool]:
    """Values (H, W, C), and whether the file stores channels first. Raises `UnsupportedImage`."""
    with _npy(file) as (_, npy):
        _read_shape(npy, file)
        npy.seek(0)
        return channels_last(np.lib.format.read_array(npy, allow_pickle=False), channels)


def channels_last(values: Array, channels: int) -> tuple[Array, bool]:
    """Convert (H, W), (H, W, C) or (C, H, W) to (H, W, C), and return whether channels came first.

    If both axes match, channels are last. Raises `UnsupportedImage` for another number of channels.
    """
    if values.ndim == 2 and channels == 1:
        return values[..., None], False
    if values.ndim == 3 and values.shape[2] == channels:
        return values, False
    if values.ndim == 3 and values.shape[0] == channels:
        return np.moveaxis(values, 0, 2), True
    raise UnsupportedImage(f"has shape {values.shape}, without the {expected_channels(channels)}")


@contextmanager
def _npy(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """The kind of file, and a stream of the array in NPY format."""
    file.seek(0)
    if file.read(len(_NPY)) == _NPY:
        file.seek(0)
        yield "NPY", file
        return
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            if len(names) != 1:
                held = ", ".join(name.removesuffix(".npy") for name in names[:5]) or "none"
                raise UnsupportedImage(f"must contain one array, the image, but contains {len(names)} ({held})")
            with archive.open(names[0]) as member:
                yield "NPZ", member
    except zipfile.BadZipFile:
        raise UnsupportedImage("is damaged (it cannot be unpacked)") from None


def _read_shape(npy: IO[bytes], file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype. Raises `UnsupportedImage` if it is not an image, or larger than the file can hold."""
    version = np.lib.format.read_magic(npy)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(npy)
    if dtype.hasobject:
        raise UnsupportedImage("contains Python objects, which are not loaded for safety; save plain numbers")
    if dtype.kind not in "buif" or len(shape) not in (2, 3) or 0 in shape:
        raise UnsupportedImage(f"has shape {shape} and type {dtype}, which is not an image")
    require_plausible_size((shape[-1], shape[-2]), file, shape[0] if len(shape) == 3 else 1)
    if npy is file:
        here = file.tell()
        available = file.seek(0, 2) - here
        file.seek(here)
        if np.prod(shape, dtype=object) * dtype.itemsize > available:
            raise UnsupportedImage("is damaged (truncated)")
    return shape, dtype
