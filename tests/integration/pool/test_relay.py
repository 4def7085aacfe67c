"""The relay: a child's output reaches the event log completely, also where Redis loses it or is away."""

from __future__ import annotations

from operator import attrgetter

import gevent
import orjson
import pytest
import redis
from gevent.event import Event

from runtime.child import protocol as p
from runtime.errors import StaleAttempt, StoreUnavailable, StreamUnavailable
from runtime.events import run_started, run_waiting
from runtime.maintenance.rescue import rescue_lost_attempts
from runtime.model import MessageStatus, Run, RunError, RunStatus
from runtime.pool import attempt_runner
from runtime.pool.attempt import Attempt
from runtime.pool.attempt_runner import AttemptRunner, _Committed
from runtime.pool.continuation import continuation
from runtime.pool.relay import Relay
from runtime.pool.transcript import Transcript
from runtime.store import attempts, messages, recovery, runs
from runtime.testing.waiting import until
from tests.support.attempt import INCARNATION, LEASE
from tests.support.talk import FAKE
from tests.support.web import Client
from web.core import Core

OUTPUT = (
    [p.Delta(None, "one ")],
    [p.Delta(None, "two ")],
    [p.Start("a"), p.Delta("a", "code"), p.Delta(None, "three"), p.Step("on")],
    [p.End("a", {}), p.Delta(None, "four ")],
    [p.Delta(None, "five"), p.Done()],
)

FAILED = RunError("worker_error", "Busy.", retryable=True)


@pytest.fixture
def run_id(ada: Client) -> str:
    return ada.ask(ada.thread()).json["runs"][0]["id"]


def begin(core: Core, run_id: str) -> Relay:
    """The run's next attempt, as the executor begins it."""
    claim = core.database.engine.claim(run_id, INCARNATION, LEASE, {"": 200})
    assert claim is not None
    transcript = Transcript(claim.run, len(claim.earlier), core.settings.run)
    relay = Relay(Attempt(claim, transcript, float("inf")), core, None)
    relay.open_log([run_started(claim.run)])
    return relay


def wait(core: Core, relay: Relay, *, announced: bool = True) -> Run:
    """The attempt asks its user, and its run waits."""
    run, transcript = relay.attempt.run, relay.attempt.transcript
    relay.receive([p.Delta(None, "before"), p.Confirm("1", "Shall I?", [])], 0)
    relay.flush()
    left = transcript.close(MessageStatus.COMPLETE)
    asked = core.database.write(
        attempts.wait, run, transcript.result.confirmation, attempts.AttemptResult(left)
    )
    transcript.mark_committed(left)
    if announced:
        relay.close([run_waiting(asked)], None)
    return asked


def lose_everything(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()


def logged(core: Core, run: Run) -> list[tuple[str, str | list[str] | None]]:
    """The events of a run in the log: the type of each, and its text or what it discards."""
    chunk = core.log.read_run(run.thread_id, run.id)
    data = [(entry.type, orjson.loads(entry.payload)) for entry in chunk.entries if entry.run_id == run.id]
    return [(type, one.get("message", {}).get("content", one.get("discarded"))) for type, one in data]


@pytest.mark.parametrize("lost_at", range(len(OUTPUT)))
def test_a_log_that_redis_lost_is_opened_again_with_its_open_messages(core, run_id, redis_url, lost_at):
    relay = begin(core, run_id)
    for index, worker_events in enumerate(OUTPUT):
        relay.receive(worker_events, 0)
        if index == lost_at:
            lose_everything(redis_url)
        relay.flush()
        log = core.log.open_messages(relay.attempt.run.thread_id)
        emitted = relay.attempt.transcript.emitted_messages()
        assert sorted(partial.text for partial in log) == sorted(partial.text() for partial in emitted)


def test_a_log_that_redis_lost_is_opened_again_once_the_database_answers(
    core, run_id, redis_url, monkeypatch
):
    relay = begin(core, run_id)
    relay.receive([p.Delta(None, "one ")], 0)
    relay.flush()
    lose_everything(redis_url)
    asked = []

    def answer_again(function, *args):
        asked.append(function)
        monkeypatch.undo()
        raise StoreUnavailable

    monkeypatch.setattr(core.database, "read", answer_again)
    relay.receive([p.Delta(None, "two")], 0)
    relay.flush()

    assert asked == [attempts.assert_current]
    [message] = core.log.open_messages(relay.attempt.run.thread_id)
    assert message.text == "one two"


def test_a_log_that_redis_lost_while_a_run_waited_has_the_run_from_its_beginning(
    ada, core, run_id, redis_url
):
    run = wait(core, begin(core, run_id))
    ada.post(f"/api/runs/{run_id}/answer", json={"answer": "yes"})
    lose_everything(redis_url)

    begin(core, run_id)

    assert [one for one in logged(core, run) if one[1] or one[0].startswith("run.")] == [
        ("run.queued", None),
        ("message.completed", "before"),
        ("message.completed", "Shall I?"),
        ("run.waiting", None),
        ("run.queued", None),
        ("run.started", None),
    ]


def test_a_question_that_is_announced_late_follows_the_messages_before_it(core, run_id, redis_url):
    relay = begin(core, run_id)
    run = wait(core, relay, announced=False)
    lose_everything(redis_url)
    claim, output = relay.attempt.claim, core.database.read(messages.of_state, run.output_state_id)

    assert core.announcer.waiting(run, claim.output_state, claim.earlier, output)

    beginning = [("run.queued", None), ("message.created", ""), ("message.completed", "before")]
    assert [one for one in logged(core, run) if one[0] != "state.created"][:3] == beginning
    assert logged(core, run)[-1] == ("run.waiting", None)


def test_events_appended_before_the_creation_of_their_run_are_kept(ada, core, run_id, redis_url, monkeypatch):
    lose_everything(redis_url)  # as where the creation of the run could not be announced
    with monkeypatch.context() as away:
        away.setattr(core.log, "begin", unavailable)
        relay = begin(core, run_id)
    run = wait(core, relay)
    ada.post(f"/api/runs/{run_id}/answer", json={"answer": "yes"})
    begin(core, run_id)

    # The log has no beginning of the run to read from; readers who want that get it from the database.
    assert core.log.span(run.thread_id, run_id).queued is None
    assert core.log.read_run(run.thread_id, run_id) is None
    entries = core.log.read(run.thread_id, core.log.oldest(run.thread_id)).entries
    types = [entry.type for entry in entries if entry.run_id == run_id]
    assert types[:3] == ["message.created", "message.delta", "message.completed"]
    assert [orjson.loads(one.payload)["attempt"] for one in entries if one.type == "run.queued"] == [1]


def unavailable(*_: object) -> None:
    raise StreamUnavailable


@pytest.mark.parametrize("by", ["the question", "the next attempt"])
def test_readers_are_reset_when_a_late_end_completes_text_that_the_log_lacks(ada, core, run_id, by):
    relay = begin(core, run_id)
    relay.receive([p.Delta(None, "appended "), p.Delta(None, "in part, ")], 0)
    relay.flush()
    before = core.log.cursor(relay.attempt.run.thread_id)
    asked = wait_unannounced(core, relay)
    if by == "the question":
        claim = relay.attempt.claim
        output = core.database.read(messages.of_state, asked.output_state_id)
        assert core.announcer.waiting(asked, claim.output_state, claim.earlier, output)
    else:
        ada.post(f"/api/runs/{run_id}/answer", json={"answer": "yes"})
        begin(core, run_id)

    now = core.log.cursor(asked.thread_id)
    assert now.epoch != before.epoch  # so that readers are reset and load all of it


def wait_unannounced(core: Core, relay: Relay) -> Run:
    """The same as ``wait``, but nothing more is appended to the log."""
    run, transcript = relay.attempt.run, relay.attempt.transcript
    relay.receive([p.Delta(None, "and the rest"), p.Confirm("1", "Shall I?", [])], 0)
    left = transcript.close(MessageStatus.COMPLETE)
    return core.database.write(
        attempts.wait, run, transcript.result.confirmation, attempts.AttemptResult(left)
    )


def test_messages_before_an_unannounced_question_stay_valid_when_a_later_attempt_is_lost(ada, core, run_id):
    run = wait(core, begin(core, run_id), announced=False)
    ada.post(f"/api/runs/{run_id}/answer", json={"answer": "yes"})
    relay = begin(core, run_id)
    relay.receive([p.Delta(None, "after")], 0)
    relay.flush()
    [lost] = core.log.open_messages(run.thread_id)

    core.announcer.retried(
        core.database.write(attempts.retry, relay.attempt.run, -1.0, FAILED, attempts.AttemptResult())
    )

    assert logged(core, run)[-1] == ("run.retried", [lost.message_id])


def test_the_next_attempt_announces_the_voided_messages_of_a_lost_one(core, run_id):
    relay = begin(core, run_id)
    relay.receive([p.Delta(None, "void")], 0)
    relay.flush()
    run = relay.attempt.run
    [lost] = core.log.open_messages(run.thread_id)
    core.database.write(attempts.retry, run, -1.0, FAILED, attempts.AttemptResult())

    begin(core, run_id)

    assert logged(core, run)[-2:] == [("run.retried", [lost.message_id]), ("run.started", None)]


class Child:
    """A worker that has written one line, and goes on."""

    def __init__(self) -> None:
        self.output = [b'{"type":"delta","text":"one"}\n']
        self.log = [b"a line\n"]

    def on_access(self, report: object) -> None:
        """It connects to nothing."""

    def read(self) -> bytes:
        return self.output.pop() if self.output else Event().wait() or b""

    def read_log(self) -> bytes:
        return self.log.pop() if self.log else Event().wait() or b""


def fail(*_: object) -> None:
    raise KeyError("nobody expected this")


def lose(core: Core, relay: Relay) -> None:
    """Its pool process dies, and the reaper takes the run over."""
    run = relay.attempt.run
    core.database.write(recovery.release, INCARNATION)
    assert rescue_lost_attempts(core) == 1
    assert core.database.read(runs.find, run.id).status is RunStatus.QUEUED


def go_on(core: Core, run_id: str) -> Relay:
    """The next attempt, as its runner begins it."""
    claim = until(
        lambda: core.database.engine.claim(run_id, INCARNATION, LEASE, {"": 200}, isolated=True),
        what="it is due",
    )
    taken = continuation(claim, core) if core.catalogue.continues(claim.run.worker_id) else None
    transcript = Transcript(claim.run, claim.first_position, core.settings.run)
    relay = Relay(Attempt(claim, transcript, float("inf")), core, None)
    if taken is not None:
        transcript.go_on_with(taken.open)
        relay.go_on_with(taken)
    relay.open_log([run_started(claim.run)])
    return relay


def finish(core: Core, relay: Relay) -> None:
    """The worker is done."""
    relay.receive([p.Done()], 0)
    relay.flush()
    left = relay.attempt.transcript.close(MessageStatus.COMPLETE)
    core.database.engine.finish(relay.attempt.run, RunStatus.SUCCESS, attempts.AttemptResult(left))
    relay.attempt.transcript.mark_committed(left)
    assert relay.close([], None)


@pytest.fixture
def continuing(core: Core, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All workers go on with the text of a lost attempt, until this is cleared."""
    how = ["continue"]
    monkeypatch.setattr(type(core.catalogue), "continues", lambda catalogue, worker_id: bool(how))
    return how


@pytest.mark.parametrize("lost", ["nothing", "redis", "saved"])
def test_an_attempt_goes_on_in_the_messages_of_a_lost_one(core, run_id, redis_url, continuing, lost):
    first = begin(core, run_id)
    for worker_events in OUTPUT[:4]:
        first.receive(worker_events, 0)
        first.flush()
    if lost != "saved":
        core.database.write(attempts.renew, INCARNATION, [first.attempt.held_lease()], LEASE)
    if lost == "redis":
        lose_everything(redis_url)
    lose(core, first)

    second = go_on(core, run_id)
    with pytest.raises(StaleAttempt):
        core.log.append(first.attempt.run.thread_id, run_id, 1, 90, [])
    second.receive([p.Delta(None, "five")], 0)
    second.flush()
    [open_now] = core.log.open_messages(second.attempt.run.thread_id)
    assert (open_now.text, open_now.attempt) == ("threefour five", 2)
    finish(core, second)

    stored = core.database.read(messages.of_state, second.attempt.run.output_state_id)
    assert [(m.content, m.status) for m in stored] == [
        ("one two ", "complete"), ("code", "complete"), ("threefour five", "complete")
    ]  # fmt: skip
    if lost != "redis":
        said = logged(core, second.attempt.run)
        assert [what for type, what in said if type == "run.retried"] == [[]]
        assert sum(type == "message.created" for type, _ in said) == 3


def test_a_question_that_was_never_asked_is_not_gone_on_with(core, run_id, continuing):
    first = begin(core, run_id)
    first.receive([p.Confirm("1", "Shall I?", [])], 0)
    first.flush()
    lose(core, first)

    second = go_on(core, run_id)
    [(_, discarded)] = [event for event in logged(core, second.attempt.run) if event[0] == "run.retried"]
    assert len(discarded) == 1
    second.receive([p.Delta(None, "two")], 0)
    finish(core, second)
    stored = core.database.read(messages.of_state, second.attempt.run.output_state_id)
    assert [(m.content, m.type) for m in stored] == [("two", "text")]


def test_what_was_gone_on_with_is_void_once_an_attempt_begins_anew(core, run_id, continuing):
    first = begin(core, run_id)
    first.receive(
        [p.CompleteMessage("assistant", "text", "answer", None, "whole", {}), p.Delta(None, "on")], 0
    )
    first.flush()
    lose(core, first)
    second = go_on(core, run_id)
    second.receive([p.Delta(None, "ly")], 0)
    second.flush()
    continuing.clear()
    lose(core, second)

    third = go_on(core, run_id)
    third.receive([p.Delta(None, "anew")], 0)
    finish(core, third)
    stored = core.database.read(messages.of_state, third.attempt.run.output_state_id)
    assert [m.content for m in stored] == ["anew"]
    [*_, (_, discarded)] = [event for event in logged(core, third.attempt.run) if event[0] == "run.retried"]
    assert len(discarded) == 2


@pytest.mark.parametrize("where", ["apply", "log.write"])
def test_output_that_cannot_be_received_fails_the_attempt_rather_than_be_left_out(
    core: Core, run_id: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = begin(core, run_id)
    part, _, method = f"transcript.{where}".rpartition(".")
    monkeypatch.setattr(attrgetter(part)(relay.attempt), method, fail)

    with gevent.Timeout(20), pytest.raises(KeyError, match="nobody expected this"):
        relay.run(Child())

    relay.stop_reading()


def test_an_inbox_that_cannot_be_received_fails_the_attempt(
    core: Core, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = core.database.engine.claim(run_id, INCARNATION, LEASE, {"": 200})
    attempt = Attempt(claim, Transcript(claim.run, 0, core.settings.run), float("inf"))
    runner = AttemptRunner(attempt, FAKE, core, None, None, None, lambda _: None)
    attempt.child = Child()
    monkeypatch.setattr(runner._relay, "_worker_lines", None)

    gevent.spawn_later(0.01, runner.read_inbox)  # as a notice has it read
    with gevent.Timeout(20), pytest.raises(AttributeError):
        runner._relay_output()

    runner._relay.stop_reading()


def test_a_question_is_announced_whatever_hindered_the_first_try(
    core: Core, run_id: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    relay = begin(core, run_id)
    runner = AttemptRunner(relay.attempt, FAKE, core, None, None, None, lambda _: None)
    asked = wait(core, relay, announced=False)
    monkeypatch.setattr(attempt_runner, "_FAULT_PAUSE", 0.01)
    tries = iter([KeyError("nobody expected this"), False, True])

    def announce(*_: object) -> bool:
        outcome = next(tries)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(core.announcer, "waiting", announce)
    runner._announce_question(_Committed(asked, attempts.AttemptResult()))

    assert next(tries, None) is None
    assert "nobody expected this" in caplog.text
