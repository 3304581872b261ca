"""A cache of arrays in files, shared by the processes of a machine.

Each array is one ``.npy`` file that readers memory-map, so they share its pages and read only what they access.
The "memory" cache is in shared memory if there is enough of it, otherwise in the temporary folder, and is deleted at
the end of the run; the "disk" cache remains for later runs.
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

SHARED_MEMORY = Path("/dev/shm")  # nosec B108: folders in it have random names
TEMPORARY = "cyclegan-arrays-"  # prefix of folders that are deleted at the end of a run
STALE = 60.0  # seconds after which such a folder without owner counts as left behind
LOCK_TIMEOUT = 30.0  # seconds after which another process holding the lock counts as stuck


class ArrayCache:
    """Arrays by key in a folder, in at most `limit` bytes and at most half of the free space.

    Any number of processes can use a folder. When it is full, the least recently used arrays that have not been used
    since this cache was opened are evicted; arrays that still do not fit are computed every time. File errors are not
    raised: `problem` describes the first one, continuing a sentence that starts with "The cache".
    """

    def __init__(self, folder: Path, limit: int):
        self.folder, self.limit = folder, limit
        self.problem: str | None = None
        self._opened = time.time()
        self._too_large: float = math.inf  # bytes of the smallest array that did not fit
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Temporary folders are world-writable: another user may have created this one.
            if hasattr(os, "getuid") and folder.lstat().st_uid != os.getuid():
                raise PermissionError("it belongs to another user")
            with self._lock():
                for unfinished in folder.glob(".*.npy"):  # of a killed process: only the holder of the lock writes
                    unfinished.unlink()
                held = sum(size for _, size, _ in self._files())
                self.limit = min(limit, held + shutil.disk_usage(folder).free // 2)
                self._evict(self.limit)
        except (OSError, NotImplementedError) as error:
            self._stop_writing(error)

    def array(self, key: str, make: Callable[[], Array]) -> Array:
        """The cached array, read-only, or the result of `make`, which is cached if possible.

        The key must contain everything that `make` depends on. Arrays must not be empty.
        """
        file = self.folder / f"{_hash(key, 20)}.npy"
        found = self._read(file)
        if found is None:
            found = make()
            self._write(found, file)
        return found

    def _read(self, file: Path) -> Array | None:
        try:
            found = np.lib.format.open_memmap(file, mode="r")
        except FileNotFoundError:
            return None
        except Exception:  # NumPy raises many types of errors for damaged files
            with suppress(OSError):
                file.unlink()
                (self.folder / "held").unlink()  # recount
            return None
        with suppress(OSError):
            os.utime(file)
        return found

    def _write(self, array: Array, file: Path) -> None:
        size = array.nbytes + 128
        if size >= self._too_large:
            return
        try:
            with self._lock():
                if file.exists():
                    return
                try:
                    held = int((self.folder / "held").read_text())  # as noted by the last writer
                except (OSError, ValueError):
                    held = sum(size for _, size, _ in self._files())
                if held + size > self.limit:
                    # Evict at least 5%, so that the folder is not scanned for each array.
                    held = self._evict(max(self.limit - max(size, self.limit // 20), 0))
                if held + size > self.limit:
                    self._too_large = size
                    self.problem = self.problem or f"is full at {self.limit / 2**30:.2g} GiB"
                    return
                with staged_file(file) as temporary:
                    np.save(temporary, array, allow_pickle=False)
                (self.folder / "held").write_text(str(held + size))
        except (OSError, NotImplementedError) as error:
            self._stop_writing(error)

    def _evict(self, limit: int) -> int:
        """Delete arrays not used since opening until all take at most `limit` bytes, and return the bytes held."""
        files = sorted(self._files())
        held = sum(size for _, size, _ in files)
        for used, size, file in files:
            if held <= limit or used >= self._opened:
                break
            with suppress(OSError):  # some systems do not delete files that are open
                file.unlink()
                held -= size
        (self.folder / "held").write_text(str(held))
        return held

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Time of last use, size and path of each array."""
        for file in self.folder.glob("*.npy"):
            with suppress(FileNotFoundError):
                state = file.stat()
                yield state.st_mtime, state.st_size, file

    def _lock(self) -> FileLock:
        return FileLock(self.folder / "lock", timeout=LOCK_TIMEOUT, poll_interval=0.001)

    def _stop_writing(self, error: OSError | NotImplementedError) -> None:
        """Write no more; existing arrays can still be read."""
        self._too_large = 0
        self.problem = f"in {self.folder} cannot be written ({getattr(error, 'strerror', None) or error})"


@contextmanager
def open_cache(kind: Literal["memory", "disk", "off"], limit: int, name: str) -> Iterator[ArrayCache | None]:
    """A cache of at most `limit` bytes; None if it is off.

    The memory cache takes at most a quarter of the free memory. Processes that give the same name share it, and the
    first of them deletes it at the end.
    """
    if kind == "off":
        yield None
    elif kind == "disk":
        yield ArrayCache(user_cache_dir() / "arrays", limit)
    else:
        limit = min(limit, free_memory() // 4)
        # Shared memory only if twice as much is free there: containers often have little, and loaders need it, too.
        has_room = os.access(SHARED_MEMORY, os.W_OK) and shutil.disk_usage(SHARED_MEMORY).free // 2 >= limit
        root = SHARED_MEMORY if has_room else Path(tempfile.gettempdir())
        for stale in root.glob(f"{TEMPORARY}*"):  # folders of killed runs, which no process owns
            with suppress(OSError, NotImplementedError):
                if time.time() - stale.stat().st_mtime > STALE:
                    with FileLock(stale / "holder", timeout=0):
                        shutil.rmtree(stale, ignore_errors=True)
        folder = root / f"{TEMPORARY}{_hash(name, 8)}"
        cache = ArrayCache(folder, limit)
        owner = FileLock(folder / "holder")
        try:
            with suppress(OSError, NotImplementedError):  # another process owns it, or locks are not supported
                owner.acquire(timeout=0)
            yield cache
        finally:
            if owner.is_locked:
                owner.release()
                shutil.rmtree(folder, ignore_errors=True)


def _hash(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode(errors="backslashreplace"), digest_size=size).hexdigest()
