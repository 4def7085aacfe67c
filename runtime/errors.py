"""Every error that Branchline raises on purpose.

::

    BranchlineError
    ├── ConfigurationError         settings that cannot be used
    ├── RequestError               what was asked cannot be done (the caller's side)
    │   ├── Unauthenticated        no credentials, or bad ones
    │   ├── Forbidden              a write from a foreign origin
    │   ├── NotFound               not there, or not yours
    │   ├── Conflict               it is, but not in a state that allows this
    │   ├── Invalid                a field is wrong
    │   │   ├── UnknownWorker
    │   │   └── WorkerUnavailable
    │   └── TooMany                a limit is reached; try again later
    ├── Unavailable                something we rely on is away (our side)
    │   ├── StoreUnavailable       the database
    │   ├── StreamUnavailable      Redis
    │   └── BrokerUnavailable      the Celery broker
    ├── AttemptEnded               this attempt may not write any more
    │   ├── StaleAttempt           a later attempt has begun, or the run has ended
    │   └── LogLost                the event log forgot the attempt; reopen it
    └── WorkerError                a worker or its child did what it must not
        ├── WorkerInvalid          a folder that cannot be used as a worker
        ├── ProtocolError          a line that is not of the protocol
        ├── OutputTooLarge         more output than the limits allow
        └── ChildFailed            the child could not be started

The class docstring is the default text. What identifies the case travels as
attributes, so that callers never parse the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class BranchlineError(Exception):
    """Something went wrong in Branchline."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").split("\n")[0])


class ConfigurationError(BranchlineError):
    """A setting cannot be used."""


class RequestError(BranchlineError):
    """The request cannot be carried out."""


class Unauthenticated(RequestError):
    """Sign in, or send a valid token."""


class Forbidden(RequestError):
    """The request came from another site and was refused."""


class NotFound(RequestError):
    """There is no such thing here, or it is not yours."""


class Conflict(RequestError):
    """This cannot be done in the present state."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with an input.

    ``path`` leads to the field, outermost first: ``("messages", 0, "role")``.
    """

    path: tuple[str | int, ...]
    message: str


class Invalid(RequestError):
    """The input is not valid."""

    def __init__(self, message: str | None = None, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class UnknownWorker(Invalid):
    """There is no such worker."""

    def __init__(self, worker_id: str) -> None:
        super().__init__(
            f"There is no worker {worker_id!r}. GET /api/workers lists those there are.",
            [FieldError(("worker_id",), "unknown worker")],
        )
        self.worker_id = worker_id


class WorkerUnavailable(Invalid):
    """The worker cannot run now."""

    def __init__(self, worker_id: str, reason: str) -> None:
        super().__init__(
            f"The worker {worker_id!r} is not available: {reason}",
            [FieldError(("worker_id",), reason)],
        )
        self.worker_id = worker_id
        self.reason = reason


class TooMany(RequestError):
    """Too many requests; try again later."""

    def __init__(self, message: str | None = None, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds."""


class Unavailable(BranchlineError):
    """Something that Branchline needs is away."""

    retry_after = 2
    """Seconds after which another try makes sense."""


class StoreUnavailable(Unavailable):
    """The database is busy or away; try again in a moment."""


class StreamUnavailable(Unavailable):
    """Redis is away; try again in a moment."""


class BrokerUnavailable(Unavailable):
    """The broker is away; what was to be published will be made up for."""


class AttemptEnded(BranchlineError):
    """The attempt may not write any more."""


class StaleAttempt(AttemptEnded):
    """A later attempt has begun, or the run has ended."""


class LogLost(AttemptEnded):
    """The event log has lost this attempt and must be opened again."""


class WorkerError(BranchlineError):
    """The worker failed."""


class WorkerInvalid(WorkerError):
    """The folder cannot be used as a worker."""


class ProtocolError(WorkerError):
    """The worker sent what the protocol does not allow."""


class OutputTooLarge(WorkerError):
    """The worker said more than it may: in one message, or in all."""


class ChildFailed(WorkerError):
    """The worker's process could not be started."""
