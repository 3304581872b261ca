"""The two ways in which a command ends badly; both carry one sentence for the user."""


class CycleGANError(Exception):
    """Work that failed. The message is one sentence: what is wrong, where, and what to do."""

    exit_code = 1


class UsageError(CycleGANError):
    """A request that cannot be carried out as it was made."""

    exit_code = 2
