"""The outcome: what becomes of a run whose attempt has ended.

No input or output happens here, so that every case can be read, and tested, by itself.
:class:`~runtime.pool.attempt_runner.AttemptRunner` gathers an :class:`AttemptEnd` and
commits what :func:`decide` answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from runtime.model import Json, Run, RunError, RunStatus
from runtime.pool.attempt import StopReason
from runtime.pool.transcript import LogTail, WorkerResult
from runtime.registry.manifest import WorkerLimits
from runtime.settings import RunSettings
from runtime.system.processes import describe_exit

_ENFORCED = (StopReason.CANCELLED, StopReason.TIMEOUT, StopReason.TOO_LARGE)
"""These count whatever the worker reported after it was stopped."""


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How an attempt has ended."""

    run: Run
    stopped: StopReason | None
    result: WorkerResult | None
    """What the worker reported; None where its output ended without."""
    error: RunError | None
    """Why it failed, by its report or its exit code."""
    lost: str | None = None
    """Why its child was lost or not started, where its worker is not to blame."""

    @property
    def failed(self) -> bool:
        """Whether the worker failed by itself. What explains that may still be on its way in stderr."""
        return self.error is not None and self.stopped not in _ENFORCED and not self.interrupted

    @property
    def interrupted(self) -> bool:
        """Whether this process shut down before the worker reported an end."""
        return self.stopped is StopReason.DRAIN and self.result is None


@dataclass(frozen=True, slots=True)
class Finish:
    """The run ends with a terminal status."""

    status: RunStatus
    error: RunError | None = None
    complete: bool = False
    """Whether its open messages are complete, rather than cut off."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The run waits for an answer of its user."""

    confirmation: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Retry:
    """Another attempt follows, in ``backoff`` seconds, and counts as a failure."""

    backoff: float
    error: RunError
    """Why this attempt failed."""
    lost: bool = False
    """Whether it was lost, where it did not fail by itself."""


@dataclass(frozen=True, slots=True)
class HandBack:
    """Another process is to execute the run; that does not count as a failure."""


Outcome = Finish | Wait | Retry | HandBack


def decide(end: AttemptEnd, limits: RunSettings, stderr: LogTail) -> Outcome:
    """What becomes of the run. ``stderr`` explains a failure to the user."""
    run, result = end.run, end.result
    if end.error is not None and end.error.code == "timeout" and end.stopped not in _ENFORCED:
        # A machine elsewhere keeps the time as well, and its clock may be the first.
        end = replace(end, stopped=StopReason.TIMEOUT)
    if end.stopped in _ENFORCED:
        return _finish_stopped(end, limits, stderr)
    if end.lost is not None and not end.interrupted:
        return _lose(run, end.lost, limits, stderr)
    if end.failed and end.error is not None:
        error = replace(end.error, log_tail=stderr.tail())
        if error.retryable and run.failures + 1 < run.max_attempts:
            backoff = limits.retry_backoff * 2**run.failures
            return Retry(max(backoff, (result and result.retry_after) or 0.0), error)
        return Finish(RunStatus.ERROR, error)
    if result is not None and result.discarded:
        return HandBack()
    if end.stopped is StopReason.DRAIN:
        # Also where the worker reported its end: it may have done so because it was asked to stop.
        return _hand_back(run)
    if result is not None and result.confirmation:
        return Wait(result.confirmation)
    return Finish(RunStatus.SUCCESS, complete=result is not None)


def _lose(run: Run, reason: str, limits: RunSettings, stderr: LogTail) -> Outcome:
    """The child was lost, as if its pool process had died: another attempt follows where one is left."""
    error = RunError("lost", f"Attempt {run.attempt} was lost: {reason}.", log_tail=stderr.tail())
    if run.failures + 1 < run.max_attempts:
        return Retry(limits.retry_backoff * 2**run.failures, error, lost=True)
    message = f"{error.message} It was tried {run.failures + 1} times."
    return Finish(RunStatus.ERROR, replace(error, message=message))


def exit_error(
    code: int | None, oom_killed: bool, limits: WorkerLimits, exceeded: str | None = None
) -> RunError | None:
    """Why a worker failed that reported no end; None where it exited with 0.

    ``code``: its exit code, None where it closed its output and still runs. ``oom_killed``:
    whether it was killed because it used more memory than ``limits`` say. ``exceeded``: what
    else it was killed for.
    """
    if code == 0:
        return None
    if code is None:
        message = "The worker closed its output but did not end."
    elif oom_killed:
        megabytes = (limits.memory_bytes or 0) / (1 << 20)
        message = f"The worker used more than the {megabytes:,.4g} MiB of memory that it may."
    elif exceeded is not None:
        message = f"The worker was killed, because it had {exceeded}."
    elif code < 0:
        message = f"The worker was killed by {describe_exit(code)}."
    else:
        message = f"The worker ended with {describe_exit(code)}."
    return RunError("worker_crashed", message)


def _hand_back(run: Run) -> Outcome:
    if run.max_attempts > 1:
        return HandBack()
    message = "Its pool was shut down, and its worker is started no second time (max_attempts is 1)."
    return Finish(RunStatus.ERROR, RunError("lost", message))


def _finish_stopped(end: AttemptEnd, limits: RunSettings, stderr: LogTail) -> Finish:
    if end.stopped is StopReason.CANCELLED:
        return Finish(RunStatus.CANCELLED)
    if end.stopped is StopReason.TOO_LARGE:
        message = (
            f"A message of the worker is larger than {limits.max_message} bytes, "
            f"or its whole output is larger than {limits.max_output}."
        )
        return Finish(RunStatus.ERROR, RunError("output_too_large", message, log_tail=stderr.tail()))
    message = f"The run took longer than the {end.run.timeout_seconds:g} seconds that it may take."
    return Finish(RunStatus.TIMEOUT, RunError("timeout", message, log_tail=stderr.tail()))
