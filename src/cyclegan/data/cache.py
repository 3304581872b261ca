"""Arrays that take long to make, kept in files that the processes of a machine share.

Each array is one ``.npy`` file, which readers map into memory: they share its pages, and read only what they look at.
What is kept "in memory" lies in the system's file system in memory where there is one, else in the temporary folder,
and is gone with the training; what is kept on disk stays for later trainings.
"""

import hashlib
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock

from cyclegan.system.atomic import staged_file
from cyclegan.system.machine import free_memory, user_cache_dir

Array = np.ndarray[Any, Any]

SHARED_MEMORY = Path("/dev/shm")
TEMPORARY = "cyclegan-arrays-"  # beginning of the names of folders that are gone with their training
LEFT_OVER = 60.0  # seconds after which such a folder that nobody holds counts as left behind
PATIENCE = 30.0  # seconds until another process that holds the lock for so long counts as stuck


class ArrayCache:
    """Arrays by name in a folder, in at most `limit` bytes and at most half of the free space.

    Any number of processes may use one folder. When it is full, arrays that nobody has used since this cache was opened
    make room, those not used for longest first; what does not fit is made anew each time. No trouble with files is an
    error: `trouble` says the first one, as the rest of a sentence that begins with the cache.
    """

    def __init__(self, folder: Path, limit: int):
        self.folder, self.limit = folder, limit
        self.trouble: str | None = None
        self._opened = time.time()
        self._too_large: float = math.inf  # bytes of the smallest array that found no room
        try:
            _make_private(folder)
            with self._lock():
                self._tidy()
        except (OSError, NotImplementedError) as error:
            self._give_up(error)

    def array(self, key: str, make: Callable[[], Array]) -> Array:
        """The array of this name, read-only if it was kept, else what `make` returns. It has one element at least.

        Whatever `make` depends on must be in the key.
        """
        file = self.folder / f"{hashlib.blake2b(key.encode(errors='backslashreplace'), digest_size=20).hexdigest()}.npy"
        found = self._read(file)
        if found is None:
            found = make()
            self._keep(found, file)
        return found

    def _read(self, file: Path) -> Array | None:
        try:
            found = np.lib.format.open_memmap(file, mode="r")
        except FileNotFoundError:
            return None
        except Exception:  # numpy raises many things on damaged files
            with suppress(OSError):
                file.unlink()
                (self.folder / "held").unlink()  # to be counted anew
            return None
        with suppress(OSError):
            os.utime(file)
        return found

    def _keep(self, array: Array, file: Path) -> None:
        """Write the array if there is room. A reader sees the whole file or none."""
        size = array.nbytes + 128
        if size >= self._too_large:
            return
        try:
            with self._lock():
                if file.exists() or (held := self._held_with_room_for(size)) is None:
                    return
                with staged_file(file) as temporary:
                    np.save(temporary, array, allow_pickle=False)
                self._note(held + size)
        except (OSError, NotImplementedError) as error:
            self._give_up(error)

    def _held_with_room_for(self, size: int) -> int | None:
        """Bytes that all files take, so few that there is room for as many as `size` more; None if there is not."""
        held = self._held()
        if held + size > self.limit:
            # Somewhat more than needed, so that the folder is not gone through for each array.
            held = self._shrink(max(self.limit - max(size, self.limit // 20), 0))
        if held + size <= self.limit:
            return held
        self._too_large = size
        self.trouble = self.trouble or f"is full at {self.limit / 2**30:.2g} GiB"
        return None

    def _tidy(self) -> None:
        """Count what is there, drop what a killed process left unfinished, and obey the limit."""
        for unfinished in self.folder.glob(".*.npy"):  # only the holder of the lock writes
            unfinished.unlink()
        held = sum(size for _, size, _ in self._files())
        self.limit = min(self.limit, held + shutil.disk_usage(self.folder).free // 2)
        self._note(held)
        if held > self.limit:
            self._shrink(self.limit)

    def _shrink(self, limit: int) -> int:
        """Remove arrays not used since the opening until all take at most `limit` bytes, and return what they take."""
        files = sorted(self._files())
        held = sum(size for _, size, _ in files)
        for used, size, file in files:
            if held <= limit or used >= self._opened:
                break
            with suppress(OSError):  # some systems keep a file that somebody reads
                file.unlink()
                held -= size
        self._note(held)
        return held

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Time of last use, size and path of each."""
        for file in self.folder.glob("*.npy"):
            with suppress(FileNotFoundError):
                state = file.stat()
                yield state.st_mtime, state.st_size, file

    def _held(self) -> int:
        """Bytes that all files take, as counted by whoever wrote last."""
        try:
            return int((self.folder / "held").read_text())
        except (OSError, ValueError):
            return sum(size for _, size, _ in self._files())

    def _note(self, held: int) -> None:
        (self.folder / "held").write_text(str(held))

    def _lock(self) -> FileLock:
        return FileLock(self.folder / "lock", timeout=PATIENCE, poll_interval=0.001)

    def _give_up(self, error: OSError | NotImplementedError) -> None:
        """Write no more; what is there can still be read."""
        self._too_large = 0
        self.trouble = f"in {self.folder} cannot be written ({getattr(error, 'strerror', None) or error})"


@contextmanager
def open_cache(kind: Literal["memory", "disk", "off"], limit: int, name: str) -> Iterator[ArrayCache | None]:
    """A cache of at most `limit` bytes; None if it is off.

    In memory it takes at most a quarter of what is free. Processes that give the same name share it, and the first of
    them removes it in the end.
    """
    if kind == "off":
        yield None
    elif kind == "disk":
        yield ArrayCache(user_cache_dir() / "arrays", limit)
    else:
        limit = min(limit, free_memory() // 4)
        root = _place_for(limit)
        _sweep(root)
        folder = (
            root / f"{TEMPORARY}{hashlib.blake2b(name.encode(errors='backslashreplace'), digest_size=8).hexdigest()}"
        )
        cache = ArrayCache(folder, limit)
        holder = FileLock(folder / "holder")
        try:
            with suppress(OSError, NotImplementedError):  # another process holds it, or nobody can
                holder.acquire(timeout=0)
            yield cache
        finally:
            if holder.is_locked:
                holder.release()
                shutil.rmtree(folder, ignore_errors=True)


def _place_for(limit: int) -> Path:
    """Memory if twice as much is free there: containers often have little, and loaders need it too."""
    enough = os.access(SHARED_MEMORY, os.W_OK) and shutil.disk_usage(SHARED_MEMORY).free // 2 >= limit
    return SHARED_MEMORY if enough else Path(tempfile.gettempdir())


def _sweep(root: Path) -> None:
    """Remove what killed trainings left behind: folders that no process holds."""
    for folder in root.glob(f"{TEMPORARY}*"):
        with suppress(OSError, NotImplementedError):
            if time.time() - folder.stat().st_mtime > LEFT_OVER:
                with FileLock(folder / "holder", timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)


def _make_private(folder: Path) -> None:
    """Make the folder if need be. Raises `OSError` if it is somebody else's: temporary folders are open to all."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "getuid") and folder.lstat().st_uid != os.getuid():
        raise PermissionError("it belongs to another user")
