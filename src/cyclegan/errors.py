"""Errors that end a command, each with one sentence for the user."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class CycleGANError(Exception):
    """An operation failed. The message is one sentence: what is wrong, where, and what to do.

    In distributed training, `shared` marks an error that all ranks raise, `alone` one that only this rank raises.
    """

    exit_code = 1
    shared = False
    alone = False


class UsageError(CycleGANError):
    """The request itself is invalid."""

    exit_code = 2


class OutOfMemory(CycleGANError):
    """The device or the machine has too little memory."""


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type's name when it has none, without closing punctuation."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(":. ")


def describe_os_error(error: OSError) -> str:
    """The file and the operating system's reason, as one sentence."""
    return f"{error.filename or 'A file'}: {error.strerror or error}."


NO_MEMORY = (  # in messages of errors without a type of their own: of PyTorch, of threads, and of libraries to load
    *("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "bad_alloc"),
    *("can't start new thread", "failed to map segment", "could not create a primitive"),
)


@contextmanager
def explain_out_of_memory(advice: str) -> Iterator[None]:
    """Convert out-of-memory errors of Python and PyTorch to an `OutOfMemory` that ends with the advice."""
    try:
        yield
    except (MemoryError, RuntimeError, ImportError, OSError) as error:  # torch.OutOfMemoryError is a RuntimeError
        is_typed = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if not is_typed and not any(words in str(error).lower() for words in NO_MEMORY):
            raise
        raise OutOfMemory(f"There is not enough memory; {advice}.") from None


def suggestion(word: str, words: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: "; did you mean X?", or "." when none is similar."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else "."
