"""The two ways in which a command ends badly; both carry one sentence for the user."""


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


def in_one_sentence(error: OSError) -> str:
    """What the operating system complains of."""
    return f"{error.filename or 'A file'}: {error.strerror or error}."
