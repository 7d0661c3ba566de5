"""The peer: a job of RQ's that does nothing."""


def nothing() -> None:
    """Do nothing."""
