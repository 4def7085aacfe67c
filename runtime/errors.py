"""Every error that Branchline raises on purpose.

::

    BranchlineError
    ├── ConfigurationError         settings that cannot be used
    ├── RequestError               the request cannot be fulfilled (the caller's side)
    │   ├── Unauthenticated        no credentials, or bad ones
    │   ├── Misdirected            the host name is none of ours
    │   ├── Forbidden              a write from a foreign origin
    │   ├── NotFound               does not exist, or belongs to somebody else
    │   │   └── SessionExpired     an agent chat that nobody has used for too long
    │   ├── Conflict               exists, but its state does not allow this
    │   │   └── SessionFull        a session that has as many messages as it may
    │   ├── FileTooLarge           more bytes than a file may have
    │   ├── Invalid                a field is wrong
    │   │   ├── SearchTooLong      it was ended before it had found everything
    │   │   ├── FileRefused        of a type that the worker does not take
    │   │   ├── QuotaExceeded      a user's files have as much room as they may
    │   │   ├── UnknownWorker
    │   │   └── WorkerUnavailable
    │   └── TooMany                a limit is reached; try again later
    │       └── QueueFull          as many runs wait as may
    ├── Unavailable                a service that Branchline needs does not answer (our side)
    │   ├── StoreUnavailable       the database
    │   ├── StreamUnavailable      Redis
    │   ├── BrokerUnavailable      the Celery broker
    │   ├── FilesUnavailable       where the contents of files are kept
    │   ├── EmbeddingsUnavailable  the endpoint that makes vectors of texts
    │   ├── PoolSilent             the pool process that executes a run
    │   └── WorkerElsewhere        a pool has the worker, and this process does not
    ├── LimitExceeded              a computation needs more time or memory than it may
    │   └── TooManyVectors         to be compared by one process
    ├── AttemptEnded               this attempt may no longer write
    │   └── StaleAttempt           a later attempt has begun, or the run has ended
    ├── LinesMissing               of numbered lines some have not come
    ├── LogLost                    the event log has lost the attempt; open it again
    └── WorkerError                a worker or its child failed
        ├── WorkerInvalid          the folder cannot be used as a worker
        ├── TooMuchSaved           more saved values than a run may have
        ├── CallRefused            a sub-run that cannot be made
        ├── CallChanged            a call asks for something else than before
        ├── OutputTooLarge         more output than the limits allow
        ├── OutputLost             Redis has lost output before it was read
        └── ChildFailed            the child could not be started
            └── ChildLost          and the worker is not to blame

The class docstring is the default text. Details are attributes, so that callers never
parse the text.
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
    """The request cannot be fulfilled."""


class Unauthenticated(RequestError):
    """Sign in, or send a valid token."""


class Misdirected(RequestError):
    """Branchline does not answer to this host name. Its operator can add it to BRANCHLINE_WEB_HOSTS."""


class Forbidden(RequestError):
    """The request came from another site and was refused."""


class NotFound(RequestError):
    """It does not exist, or you have no access to it."""


class SessionExpired(NotFound):
    """There is no such session, or nobody has used it for too long; begin a new one."""


class Conflict(RequestError):
    """The current state does not allow this."""


class SessionFull(Conflict):
    """The session has as many messages as it may; begin a new one that continues it."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The session has no room for this: it may have {most} messages (MAX_MESSAGES_PER_SESSION), "
            "those of the agent as well. Begin a new session that continues it."
        )
        self.most = most


class FileTooLarge(RequestError):
    """The file is too large."""

    def __init__(self, largest: int) -> None:
        """``largest``: bytes that a file may have."""
        super().__init__(
            f"The file is too large: a file may have {largest} bytes ({largest / (1 << 20):g} MiB)."
        )
        self.largest = largest


@dataclass(frozen=True, slots=True)
class FieldError:
    """One mistake in an input.

    ``path`` leads to the field, outermost first: ``("messages", 0, "role")``.
    """

    path: tuple[str | int, ...]
    message: str


class Invalid(RequestError):
    """The input is not valid."""

    def __init__(self, message: str | None = None, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class SearchTooLong(Invalid):
    """The search took too long and was ended."""

    def __init__(self, seconds: float) -> None:
        """``seconds`` that a search may take."""
        super().__init__(
            f"The search took longer than {seconds:g} seconds and was ended. "
            "Your threads hold too much text to be searched at once; archive or delete some.",
            [FieldError(("query",), "took too long")],
        )
        self.seconds = seconds


class QuotaExceeded(Invalid):
    """Your files have as much room as they may."""

    def __init__(self, used: int, size: int, quota: int) -> None:
        """Bytes: all files of the user have, the new one has, and all together may have."""
        super().__init__(
            f"Your files have {used >> 20} of {quota >> 20} MiB, and this one of {size} bytes does not fit "
            "beside them. Delete files, or threads that name some for good.",
            [FieldError(("file",), "does not fit into your quota")],
        )
        self.used, self.size, self.quota = used, size, quota


class FileRefused(Invalid):
    """The worker does not take the file."""

    def __init__(self, worker_id: str, accepts: Sequence[str], name: str, type: str) -> None:
        """``accepts``: the types that the worker takes; ``name`` and ``type`` of the file."""
        takes = f"takes {', '.join(accepts)} only" if accepts else "takes no files"
        message = (
            f"The worker {worker_id!r} {takes}, and {name!r} is {type}. "
            "Choose another worker, or send the message without it."
        )
        super().__init__(message, [FieldError(("messages",), "names a file that the worker does not take")])


class UnknownWorker(Invalid):
    """There is no such worker."""

    def __init__(self, worker_id: str) -> None:
        super().__init__(
            f"There is no worker {worker_id!r}. GET /api/workers lists the workers.",
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


class QueueFull(TooMany):
    """Too many runs are waiting; try again later."""

    def __init__(self, waiting: int, limit: int, pool: str | None = None) -> None:
        """``waiting`` runs of the user, or of ``pool``, wait to start; at most ``limit`` may."""
        if pool is None:
            message = f"You have {waiting} runs waiting; at most {limit} may wait."
        else:
            message = f"The pool {pool!r} has {waiting} runs waiting and accepts no more."
        super().__init__(message, retry_after=5)
        self.waiting, self.limit, self.pool = waiting, limit, pool


class Unavailable(BranchlineError):
    """A service that Branchline needs does not answer."""

    retry_after = 2
    """Seconds after which to try again."""


class StoreUnavailable(Unavailable):
    """The database is busy or not reachable; try again in a moment."""


class StreamUnavailable(Unavailable):
    """Redis is not reachable; try again in a moment."""


class BrokerUnavailable(Unavailable):
    """The broker is not reachable; the runs stay queued and are published later."""


class FilesUnavailable(Unavailable):
    """The contents of files cannot be reached; try again in a moment."""


class EmbeddingsUnavailable(Unavailable):
    """The embeddings endpoint has not answered with vectors."""

    def __init__(
        self, why: str, status: int | None = None, pause: float | None = None, *, timed_out: bool = False
    ) -> None:
        super().__init__(f"The embeddings endpoint {why}.")
        self.timed_out = timed_out
        """It takes too long, which it may do whatever the text."""
        self.status = status
        """That it has answered with; None: it has not, or with something else than vectors."""
        self.pause = pause
        """Seconds for which it wants to be left alone."""


class PoolSilent(Unavailable):
    """The pool that executes the run does not answer; ask again. What was asked counts once."""


class WorkerElsewhere(Unavailable):
    """A pool has the worker, but this process does not yet; try again in a moment."""

    def __init__(self, worker_id: str) -> None:
        super().__init__(
            f"A pool has the worker {worker_id!r}, but the process that answers does not: a new version "
            "is being installed. Try again in a moment. If that does not help, its operator has to give this "
            "process the folder of the worker, too (WORKERS_PATH)."
        )
        self.worker_id = worker_id


class LimitExceeded(BranchlineError):
    """It needs more time or memory than it may."""


class TooManyVectors(LimitExceeded):
    """There are more vectors than one process compares with another."""


class AttemptEnded(BranchlineError):
    """The attempt may no longer write."""


class StaleAttempt(AttemptEnded):
    """A later attempt has begun, or the run has ended."""


class LogLost(BranchlineError):
    """The event log has lost this attempt and must be opened again."""


class LinesMissing(BranchlineError):
    """Lines before these have not come; send them first."""

    def __init__(self, expected: int) -> None:
        super().__init__(f"Lines are missing: the next one is to have the number {expected}. Send it first.")
        self.expected = expected
        """The number of the line that is to come next."""


class WorkerError(BranchlineError):
    """The worker failed."""


class WorkerInvalid(WorkerError):
    """The folder cannot be used as a worker."""


class TooMuchSaved(WorkerError):
    """More saved values than a run may have."""


class CallRefused(WorkerError):
    """There may be no such sub-run."""


class CallChanged(WorkerError):
    """A call asks for something else than the one that had its id before."""

    def __init__(self, call_id: str) -> None:
        super().__init__(f"The call {call_id!r} was made before, and asked for something else.")
        self.call_id = call_id


class OutputLost(WorkerError):
    """Redis has lost what the worker had sent over HTTP."""


class OutputTooLarge(WorkerError):
    """The worker wrote more than it may, in one message or in all."""


class ChildFailed(WorkerError):
    """The worker's process could not be started."""


class ChildLost(ChildFailed):
    """The worker's process was lost through no fault of its own; another attempt may succeed.

    The text says why as a part of a sentence, without a capital and a full stop. It is shown
    to users, so it names no path of the server.
    """
