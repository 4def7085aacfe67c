"""What becomes of a run whose attempt has ended: every case of how it ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runtime.model import Run, RunError, RunStatus
from runtime.pool.attempt import StopReason
from runtime.pool.outcome import AttemptEnd, Finish, HandBack, Outcome, Retry, Wait, decide, exit_error
from runtime.pool.transcript import LogTail, WorkerResult
from runtime.registry.manifest import WorkerLimits
from runtime.settings import load

RUN = Run(
    id="r",
    thread_id="t",
    workspace_id="w",
    user_id="u",
    parent_run_id=None,
    input_state_id="i",
    output_state_id="o",
    worker_id="echo",
    worker_digest="",
    pool="python",
    config={},
    args=None,
    status=RunStatus.RUNNING,
    attempt=1,
    failures=0,
    max_attempts=3,
    timeout_seconds=1.5,
    priority=0,
    created_at=datetime.now(UTC),
)
LIMITS = replace(load({}).run, retry_backoff=0.5)
DONE = WorkerResult()
FAILED = RunError("worker_error", "It failed.")
RETRYABLE = replace(FAILED, retryable=True)
CRASHED = RunError("worker_crashed", "The worker was killed by SIGKILL.")
QUESTION = {"id": "q", "prompt": "Shall I?", "options": [], "message_id": "m"}


def outcome(
    stopped: StopReason | None = None,
    result: WorkerResult | None = None,
    error: RunError | None = None,
    run: Run = RUN,
    lost: str | None = None,
) -> Outcome:
    stderr = LogTail(1000)
    stderr.write(b"Traceback")
    return decide(AttemptEnd(run, stopped, result, error, lost), LIMITS, stderr)


def error_of(found: Outcome) -> RunError:
    assert isinstance(found, Finish)
    assert found.error is not None
    return found.error


def test_a_worker_that_is_done_succeeds_with_complete_messages():
    assert outcome(result=DONE) == Finish(RunStatus.SUCCESS, complete=True)


LOST = "the process that had started it ended"


@pytest.mark.parametrize(("failures", "backoff"), [(0, 0.5), (1, 1.0)])
def test_a_lost_attempt_is_followed_by_another(failures, backoff):
    run = replace(RUN, failures=failures)
    error = RunError("lost", f"Attempt 1 was lost: {LOST}.", log_tail="Traceback")
    assert outcome(lost=LOST, error=CRASHED, run=run) == Retry(backoff, error, lost=True)
    assert outcome(lost=LOST, run=run) == Retry(backoff, error, lost=True)


def test_a_run_whose_last_attempt_was_lost_ends_as_lost():
    error = error_of(outcome(lost=LOST, error=CRASHED, run=replace(RUN, attempt=4, failures=2)))
    assert (error.code, error.log_tail) == ("lost", "Traceback")
    assert error.message == f"Attempt 4 was lost: {LOST}. It was tried 3 times."


@pytest.mark.parametrize(
    ("stopped", "expected"),
    [(StopReason.CANCELLED, Finish(RunStatus.CANCELLED)), (StopReason.DRAIN, HandBack())],
)
def test_a_lost_attempt_that_was_to_be_stopped_ends_as_its_stop_says(stopped, expected):
    assert outcome(stopped, lost=LOST) == expected


def test_a_worker_that_exits_with_zero_succeeds_with_partial_messages():
    assert outcome() == Finish(RunStatus.SUCCESS, complete=False)


def test_a_worker_that_asks_waits():
    assert outcome(result=WorkerResult(confirmation=QUESTION)) == Wait(QUESTION)


@pytest.mark.parametrize("error", [FAILED, CRASHED], ids=["reported", "crashed"])
def test_a_failure_ends_the_run_with_the_tail_of_stderr(error):
    found = outcome(result=WorkerResult(error) if error is FAILED else None, error=error)

    assert found == Finish(RunStatus.ERROR, replace(error, log_tail="Traceback"))


@pytest.mark.parametrize(("failures", "backoff"), [(0, 0.5), (1, 1.0)])
def test_a_retryable_failure_is_retried_with_a_growing_backoff(failures, backoff):
    run = replace(RUN, failures=failures)

    found = outcome(result=WorkerResult(RETRYABLE), error=RETRYABLE, run=run)

    assert found == Retry(backoff, replace(RETRYABLE, log_tail="Traceback"))


def test_a_retryable_failure_is_not_retried_before_the_worker_says():
    result = WorkerResult(RETRYABLE, retry_after=30.0)

    assert outcome(result=result, error=RETRYABLE) == Retry(30.0, replace(RETRYABLE, log_tail="Traceback"))


def test_a_retryable_failure_of_the_last_attempt_ends_the_run():
    found = outcome(result=WorkerResult(RETRYABLE), error=RETRYABLE, run=replace(RUN, failures=2))

    assert error_of(found) == replace(RETRYABLE, log_tail="Traceback")


@pytest.mark.parametrize("result", [None, DONE, WorkerResult(confirmation=QUESTION)])
def test_a_drained_attempt_is_handed_back(result):
    assert outcome(StopReason.DRAIN, result) == HandBack()


def test_a_drained_attempt_without_a_report_is_handed_back_whatever_its_exit_code():
    assert outcome(StopReason.DRAIN, error=CRASHED) == HandBack()


def test_a_drained_attempt_that_reported_a_failure_ends_the_run():
    found = outcome(StopReason.DRAIN, WorkerResult(FAILED), FAILED)

    assert error_of(found).code == "worker_error"


def test_a_drained_attempt_that_may_not_be_repeated_ends_the_run():
    found = outcome(StopReason.DRAIN, run=replace(RUN, max_attempts=1))

    assert error_of(found).code == "lost"


@pytest.mark.parametrize("result", [None, DONE, WorkerResult(RETRYABLE), WorkerResult(confirmation=QUESTION)])
@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        (StopReason.CANCELLED, RunStatus.CANCELLED, None),
        (StopReason.TIMEOUT, RunStatus.TIMEOUT, "timeout"),
        (StopReason.TOO_LARGE, RunStatus.ERROR, "output_too_large"),
    ],
)
def test_a_stopped_attempt_ends_for_that_reason_whatever_the_worker_reported(reason, status, code, result):
    found = outcome(reason, result, result.error if result else None)

    assert isinstance(found, Finish)
    assert (found.status, found.complete) == (status, False)
    assert (found.error.code if found.error else None) == code


@pytest.mark.parametrize(
    ("stopped", "result", "error", "failed"),
    [
        (None, DONE, None, False),
        (None, None, CRASHED, True),
        (StopReason.DRAIN, None, CRASHED, False),
        (StopReason.DRAIN, WorkerResult(FAILED), FAILED, True),
        (StopReason.CANCELLED, WorkerResult(FAILED), FAILED, False),
    ],
)
def test_stderr_is_awaited_only_after_a_failure_of_the_worker(stopped, result, error, failed):
    assert AttemptEnd(RUN, stopped, result, error).failed is failed


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "The worker closed its output but did not end."),
        (-9, "The worker was killed by SIGKILL."),
        (-40, "The worker was killed by signal 40."),
        (3, "The worker ended with exit code 3."),
    ],
)
def test_an_exit_without_a_report_is_described(code, message):
    assert exit_error(code, False, WorkerLimits()) == RunError("worker_crashed", message)


def test_an_exit_with_zero_is_no_error():
    assert exit_error(0, True, WorkerLimits()) is None


def test_a_worker_that_used_too_much_memory_is_told_its_limit():
    error = exit_error(-9, True, WorkerLimits(memory_bytes=64 << 20))

    assert error == RunError("worker_crashed", "The worker used more than the 64 MiB of memory that it may.")


@pytest.mark.parametrize("stopped", [None, StopReason.DRAIN], ids=["at-work", "drained"])
def test_a_run_whose_machine_elsewhere_saw_its_time_over_first_has_timed_out(
    stopped: StopReason | None,
) -> None:
    seen = RunError("timeout", "The time of the run is over.")

    found = outcome(stopped, WorkerResult(seen), seen)

    assert isinstance(found, Finish) and found.status is RunStatus.TIMEOUT
    assert error_of(found).message == "The run took longer than the 1.5 seconds that it may take."
