"""The relay: what a child says reaches the event log whole, also where Redis forgets or is away."""

from __future__ import annotations

import orjson
import pytest
import redis

from runtime.child import protocol as p
from runtime.errors import StreamUnavailable
from runtime.events import run_started, run_waiting
from runtime.model import MessageStatus, Run
from runtime.pool.attempt import Attempt
from runtime.pool.relay import Relay
from runtime.pool.transcript import Transcript
from runtime.store import attempts, messages
from tests.support.attempt import INCARNATION, LEASE
from tests.support.web import Client
from web.core import Core

SAID = (
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


def wait(core: Core, relay: Relay, *, told: bool = True) -> Run:
    """The attempt has asked its user, who has answered."""
    run, transcript = relay.attempt.run, relay.attempt.transcript
    relay.receive([p.Delta(None, "before"), p.Confirm("1", "Shall I?", [])], 0)
    relay.flush()
    left = transcript.close(MessageStatus.COMPLETE)
    asked = core.database.write(
        attempts.wait, run, transcript.result.confirmation, None, attempts.AttemptResult(left)
    )
    transcript.mark_committed(left)
    if told:
        relay.close([run_waiting(asked)], None)
    return asked


def forget(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()


def told(core: Core, run: Run) -> list[tuple[str, str | list[str] | None]]:
    """What the log tells of a run: each event's type, and its text or what it discards."""
    chunk = core.log.read_run(run.thread_id, run.id)
    data = [(entry.type, orjson.loads(entry.payload)) for entry in chunk.entries if entry.run_id == run.id]
    return [(type, one.get("message", {}).get("content", one.get("discarded"))) for type, one in data]


@pytest.mark.parametrize("forgotten", range(len(SAID)))
def test_a_log_that_redis_forgot_is_opened_again_with_what_it_had(core, run_id, redis_url, forgotten):
    relay = begin(core, run_id)
    for place, said in enumerate(SAID):
        relay.receive(said, 0)
        if place == forgotten:
            forget(redis_url)
        relay.flush()
        log = core.log.open_messages(relay.attempt.run.thread_id)
        written = relay.attempt.transcript.emitted_messages()
        assert sorted(one.text for one in log) == sorted(one.text() for one in written)


def test_a_log_that_redis_forgot_while_a_run_waited_tells_it_from_its_beginning(ada, core, run_id, redis_url):
    run = wait(core, begin(core, run_id))
    ada.post(f"/api/runs/{run_id}/answer", json={"answer": "yes"})
    forget(redis_url)

    begin(core, run_id)

    assert [one for one in told(core, run) if one[1] or one[0].startswith("run.")] == [
        ("run.queued", None),
        ("message.completed", "before"),
        ("message.completed", "Shall I?"),
        ("run.waiting", None),
        ("run.queued", None),
        ("run.started", None),
    ]


def test_a_question_that_is_told_late_comes_after_all_that_led_to_it(core, run_id, redis_url):
    relay = begin(core, run_id)
    run = wait(core, relay, told=False)
    forget(redis_url)
    claim, said = relay.attempt.claim, core.database.read(messages.of_state, run.output_state_id)

    assert core.announcer.waiting(run, claim.output_state, claim.earlier, said)

    beginning = [("run.queued", None), ("message.created", ""), ("message.completed", "before")]
    assert [one for one in told(core, run) if one[0] != "state.created"][:3] == beginning
    assert told(core, run)[-1] == ("run.waiting", None)


def test_what_was_told_before_its_run_was_is_not_passed_over(ada, core, run_id, redis_url, monkeypatch):
    forget(redis_url)  # as where nobody could be told that the run was accepted
    with monkeypatch.context() as away:
        away.setattr(core.log, "begin", unavailable)
        relay = begin(core, run_id)
    run = wait(core, relay)
    ada.post(f"/api/runs/{run_id}/answer", json={"answer": "yes"})
    begin(core, run_id)

    # The log has no beginning to read from, late as it would be: who wants that is told from the database.
    assert core.log.span(run.thread_id, run_id).queued is None
    assert core.log.read_run(run.thread_id, run_id) is None
    entries = core.log.read(run.thread_id, core.log.oldest(run.thread_id)).entries
    types = [entry.type for entry in entries if entry.run_id == run_id]
    assert types[:3] == ["message.created", "message.delta", "message.completed"]
    assert [orjson.loads(one.payload)["attempt"] for one in entries if one.type == "run.queued"] == [1]


def unavailable(*_: object) -> None:
    raise StreamUnavailable


@pytest.mark.parametrize("by", ["the question", "the next attempt"])
def test_text_that_the_log_lacks_is_not_passed_over_when_its_end_is_told_late(ada, core, run_id, by):
    relay = begin(core, run_id)
    relay.receive([p.Delta(None, "told "), p.Delta(None, "in part, ")], 0)
    relay.flush()
    before = core.log.cursor(relay.attempt.run.thread_id)
    asked = wait_unheard(core, relay)
    if by == "the question":
        claim = relay.attempt.claim
        said = core.database.read(messages.of_state, asked.output_state_id)
        assert core.announcer.waiting(asked, claim.output_state, claim.earlier, said)
    else:
        ada.post(f"/api/runs/{run_id}/answer", json={"answer": "yes"})
        begin(core, run_id)

    now = core.log.cursor(asked.thread_id)
    assert now.epoch != before.epoch  # so that whoever reads is reset, and told all


def wait_unheard(core: Core, relay: Relay) -> Run:
    """The same as ``wait``, but the log is told nothing more."""
    run, transcript = relay.attempt.run, relay.attempt.transcript
    relay.receive([p.Delta(None, "and not whole"), p.Confirm("1", "Shall I?", [])], 0)
    left = transcript.close(MessageStatus.COMPLETE)
    return core.database.write(
        attempts.wait, run, transcript.result.confirmation, None, attempts.AttemptResult(left)
    )


def test_what_led_to_a_question_that_was_not_announced_stays_when_a_later_attempt_is_lost(ada, core, run_id):
    run = wait(core, begin(core, run_id), told=False)
    ada.post(f"/api/runs/{run_id}/answer", json={"answer": "yes"})
    relay = begin(core, run_id)
    relay.receive([p.Delta(None, "after")], 0)
    relay.flush()
    [lost] = core.log.open_messages(run.thread_id)

    core.announcer.retried(
        core.database.write(attempts.retry, relay.attempt.run, -1.0, attempts.AttemptResult())
    )

    assert told(core, run)[-1] == ("run.retried", [lost.message_id])


def test_the_next_attempt_tells_what_is_void_where_nobody_could(core, run_id):
    relay = begin(core, run_id)
    relay.receive([p.Delta(None, "void")], 0)
    relay.flush()
    run = relay.attempt.run
    [lost] = core.log.open_messages(run.thread_id)
    core.database.write(attempts.retry, run, -1.0, attempts.AttemptResult())

    begin(core, run_id)

    assert told(core, run)[-2:] == [("run.retried", [lost.message_id]), ("run.started", None)]
