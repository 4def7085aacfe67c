"""The relay: a child's output reaches the event log completely, also where Redis loses it or is away."""

from __future__ import annotations

import orjson
import pytest
import redis

from runtime.child import protocol as p
from runtime.errors import StoreUnavailable, StreamUnavailable
from runtime.events import run_started, run_waiting
from runtime.model import MessageStatus, Run
from runtime.pool.attempt import Attempt
from runtime.pool.relay import Relay
from runtime.pool.transcript import Transcript
from runtime.store import attempts, messages
from tests.support.attempt import INCARNATION, LEASE
from tests.support.web import Client
from web.core import Core

OUTPUT = (
    [p.Delta(None, "one ")],
    [p.Delta(None, "two ")],
    [p.Start("a"), p.Delta("a", "code"), p.Delta(None, "three"), p.Step("on")],
    [p.End("a", {}), p.Delta(None, "four ")],
    [p.Delta(None, "five"), p.Done()],
)


@pytest.fixture
def run_id(ada: Client) -> str:
    return ada.ask(ada.thread()).json["runs"][0]["id"]


def begin(core: Core, run_id: str) -> Relay:
    """The run's next attempt, as the executor begins it."""
    claim = core.database.engine.claim(run_id, INCARNATION, LEASE, {"": 200})
    assert claim is not None
    transcript = Transcript(claim.run, len(claim.earlier), core.settings.run)
    relay = Relay(Attempt(claim, transcript, float("inf")), core)
    relay.open_log([run_started(claim.run)])
    return relay


def wait(core: Core, relay: Relay, *, announced: bool = True) -> Run:
    """The attempt asks its user, and its run waits."""
    run, transcript = relay.attempt.run, relay.attempt.transcript
    relay.receive([p.Delta(None, "before"), p.Confirm("1", "Shall I?", [])], 0)
    relay.flush()
    left = transcript.close(MessageStatus.COMPLETE)
    asked = core.database.write(
        attempts.wait, run, transcript.result.confirmation, None, attempts.AttemptResult(left)
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
        attempts.wait, run, transcript.result.confirmation, None, attempts.AttemptResult(left)
    )


def test_messages_before_an_unannounced_question_stay_valid_when_a_later_attempt_is_lost(ada, core, run_id):
    run = wait(core, begin(core, run_id), announced=False)
    ada.post(f"/api/runs/{run_id}/answer", json={"answer": "yes"})
    relay = begin(core, run_id)
    relay.receive([p.Delta(None, "after")], 0)
    relay.flush()
    [lost] = core.log.open_messages(run.thread_id)

    core.announcer.retried(
        core.database.write(attempts.retry, relay.attempt.run, -1.0, attempts.AttemptResult())
    )

    assert logged(core, run)[-1] == ("run.retried", [lost.message_id])


def test_the_next_attempt_announces_the_voided_messages_of_a_lost_one(core, run_id):
    relay = begin(core, run_id)
    relay.receive([p.Delta(None, "void")], 0)
    relay.flush()
    run = relay.attempt.run
    [lost] = core.log.open_messages(run.thread_id)
    core.database.write(attempts.retry, run, -1.0, attempts.AttemptResult())

    begin(core, run_id)

    assert logged(core, run)[-2:] == [("run.retried", [lost.message_id]), ("run.started", None)]
