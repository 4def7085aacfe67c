"""What ends a run early, as exceptions of the worker's process."""

from __future__ import annotations


class Cancelled(BaseException):
    """The run was cancelled. Raised in the worker, which may clean up and must let it pass."""


class Failure(Exception):
    """Raise it to fail the run with a message for its user, without a traceback."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        """``retryable``: another attempt may succeed (a busy service, a lost connection)."""
        super().__init__(message)
        self.retryable = retryable


class Misspelt(ValueError):
    """The worker says something that the protocol does not have."""

    place: tuple[str, int] | None = None
    """File and line of the ``yield``; None where it was sent by a call, which its traceback has."""


class Suspended(BaseException):
    """The worker has asked its user a question; this process ends until the answer is there."""
