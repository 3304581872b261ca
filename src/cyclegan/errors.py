"""The ways in which a command ends badly; each carries one sentence for the user."""

from collections.abc import Iterator
from contextlib import contextmanager


class CycleGANError(Exception):
    """Work that failed. The message is one sentence: what is wrong, where, and what to do.

    Of several processes that train together, `shared` says that all raise it, and `alone` that only this one does.
    """

    exit_code = 1
    shared = False
    alone = False


class UsageError(CycleGANError):
    """A request that cannot be carried out as it was made."""

    exit_code = 2


class OutOfMemory(CycleGANError):
    """The device or the machine has not enough memory for it."""


def in_one_sentence(error: OSError) -> str:
    """What the operating system complains of."""
    return f"{error.filename or 'A file'}: {error.strerror or error}."


NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")  # as torch says it where it has no type


@contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Make one sentence, an `OutOfMemory` that ends with the advice, of an error that says memory has run out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if not named and not any(words in str(error) for words in NO_MEMORY):
            raise
        raise OutOfMemory(f"There is not enough memory; {advice}.") from None
