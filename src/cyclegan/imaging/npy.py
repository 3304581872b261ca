"""Images as numpy's files: ``.npy``, and ``.npz`` with one array. Nothing is ever unpickled."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from cyclegan.imaging.source import Header, Unfit, require_sane, wanted

Array = np.ndarray[Any, Any]
_NPY, _NPZ = b"\x93NUMPY", b"PK\x03\x04"


def is_array(start: bytes) -> bool:
    """Whether a file that starts so is numpy's."""
    return start.startswith((_NPY, _NPZ))


def header_of_array(file: IO[bytes]) -> Header:
    """The header; of three sides, the shorter one of the first and the last is taken for the channels."""
    with _npy(file) as (kind, npy):
        shape, dtype = _checked(npy, file)
    height, width = shape[:2] if len(shape) == 2 or shape[2] <= shape[0] else shape[1:]
    return Header(kind, dtype.name, 8 * dtype.itemsize, (width, height), several=False)


def decode_array(file: IO[bytes], channels: int) -> tuple[Array, bool]:
    """Values (H, W, C), and whether the file has the channels first. Raises `Unfit`."""
    with _npy(file) as (_, npy):
        _checked(npy, file)
    with _npy(file) as (_, npy):
        return channels_last(np.lib.format.read_array(npy, allow_pickle=False), channels)


def channels_last(values: Array, channels: int) -> tuple[Array, bool]:
    """(H, W), (H, W, C) or (C, H, W) as (H, W, C), and whether channels came first; last if both would do.

    Raises `Unfit` when there are not as many channels as wanted.
    """
    if values.ndim == 2 and channels == 1:
        return values[..., None], False
    if values.ndim == 3 and values.shape[2] == channels:
        return values, False
    if values.ndim == 3 and values.shape[0] == channels:
        return np.moveaxis(values, 0, 2), True
    raise Unfit(f"has the shape {values.shape}, without the {wanted(channels)}")


@contextmanager
def _npy(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """The kind of file, and the array in numpy's format within it, from its beginning."""
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
                raise Unfit(f"must hold one array, the image, and holds {len(names)} ({held})")
            with archive.open(names[0]) as member:
                yield "NPZ", member
    except zipfile.BadZipFile:
        raise Unfit("is damaged (it cannot be unpacked)") from None


def _checked(npy: IO[bytes], file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type from the header. Raises `Unfit` for what is no image, or claims more than the file can hold."""
    version = np.lib.format.read_magic(npy)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(npy)
    if dtype.hasobject:
        raise Unfit("holds Python objects, which are not read for safety; save plain numbers")
    if dtype.kind not in "buif" or len(shape) not in (2, 3) or 0 in shape:
        raise Unfit(f"has the shape {shape} and type {dtype}, which are no image's")
    require_sane((shape[-1], shape[-2]), file, shape[0] if len(shape) == 3 else 1)
    if npy is file and np.prod(shape, dtype=object) * dtype.itemsize > _left(file):
        raise Unfit("is damaged (it ends before the picture does)")
    return shape, dtype


def _left(file: IO[bytes]) -> int:
    """Bytes after the present place."""
    here = file.tell()
    end = file.seek(0, 2)
    file.seek(here)
    return end - here
