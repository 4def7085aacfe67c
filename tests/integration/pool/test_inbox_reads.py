"""Steering: what is sent to a run reaches its worker where it looks, once, and in every attempt the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest
import redis

from runtime.errors import StoreUnavailable
from runtime.events import run_completed, run_started
from runtime.maintenance.rescue import rescue_lost_attempts
from runtime.model import MessageStatus, Run, RunStatus
from runtime.outboxes import outbox_of
from runtime.pool.attempt import Attempt, StopReason
from runtime.pool.continuation import continuation
from runtime.pool.relay import Relay
from runtime.pool.transcript import Transcript
from runtime.store import attempts, messages, queued_messages, runs, tables
from runtime.store.tables import now
from tests.support.attempt import INCARNATION, LEASE, stored_run
from tests.support.web import Client
from web.core import Core

LOOK = {"type": "inbox"}
SAY = {"type": "delta"}


Line = dict[str, Any] | Callable[[], object]


class Killed(Exception):
    """The pool process is dead."""


class ScriptedChild:
    """A child that writes these lines, one at a time, and keeps what it is sent.

    What is to happen between two of them is a function among them.
    """

    listens = True
    lost = digest = exceeded = None
    pid, oom_killed = 0, False

    def __init__(self, *lines: Line) -> None:
        self._lines = list(lines)
        self.found: list[str | None] = []
        """The texts of the messages that it has read."""

    def read(self) -> bytes:
        while self._lines and callable(self._lines[0]):
            self._lines.pop(0)()  # type: ignore[operator]
        return orjson.dumps(self._lines.pop(0)) + b"\n" if self._lines else b""

    def send(self, line: bytes) -> None:
        answer = orjson.loads(line)
        assert answer["type"] == "message"
        assert answer["id"] == (answer["message"] and answer["message"]["id"])
        self.found.append(answer["message"] and answer["message"]["content"])

    def read_log(self) -> bytes:
        return b""

    def on_access(self, report: object) -> None:
        pass


def say(text: str) -> dict[str, Any]:
    return {"type": "delta", "text": text}


@pytest.fixture
def run_id(ada: Client) -> str:
    return str(ada.ask(ada.thread()).json["runs"][0]["id"])


def send(client: Client, run_id: str, *texts: str) -> list[dict[str, Any]]:
    body = {"messages": [{"role": "user", "content": text} for text in texts]}
    sent = client.post(f"/api/runs/{run_id}/messages", json=body)
    assert sent.status_code == 202, sent.text
    return list(sent.json["messages"])


def begin(core: Core, run_id: str) -> Relay:
    """The run's next attempt, as the executor begins it."""
    core.database.write(lambda c: c.execute(tables.runs.update().values(not_before=None)))
    claim = core.database.engine.claim(run_id, INCARNATION, LEASE, {"": 200}, isolated=True)
    assert claim is not None
    transcript = Transcript(claim.run, claim.first_position, core.settings.run)
    relay = Relay(Attempt(claim, transcript, float("inf")), core, None)  # type: ignore[arg-type]
    taken = continuation(claim, core) if core.catalogue.continues(claim.run.worker_id) else None
    if taken is not None:
        transcript.go_on_with(taken.open)
        relay.go_on_with(taken)
    relay.open_log([run_started(claim.run)])
    return relay


def execute(relay: Relay, *lines: Line) -> list[str | None]:
    """Have the attempt's worker write these lines. Returns what it has found in its inbox."""
    child = ScriptedChild(*lines)
    relay.attempt.child = child  # type: ignore[assignment]
    relay.run(child)  # type: ignore[arg-type]
    return child.found


def finish(core: Core, relay: Relay, status: RunStatus = RunStatus.SUCCESS) -> Run:
    transcript = relay.attempt.transcript
    left = transcript.close(MessageStatus.COMPLETE)
    ended = core.database.engine.finish(relay.attempt.run, status, attempts.AttemptResult(left))
    transcript.mark_committed(left)
    relay.close([run_completed(ended)], None)  # type: ignore[arg-type]
    return ended


def lose(core: Core, relay: Relay) -> None:
    """The attempt's pool process has died, and the reaper has noticed."""
    this = tables.runs.c.id == relay.attempt.run.id
    core.database.write(lambda c: c.execute(tables.runs.update().where(this).values(lease_until=now(-1))))
    assert rescue_lost_attempts(core) == 1


def tree(core: Core, run_id: str) -> list[tuple[str, str]]:
    """Role and text of what counts in the output state."""
    found = core.database.read(messages.of_state, stored_run(core, run_id).output_state_id)
    return [(message.role, message.content) for message in found]


def waiting(client: Client, run_id: str) -> list[str]:
    return [m["content"] for m in client.get(f"/api/runs/{run_id}/messages").json["items"]]


def logged(core: Core, run_id: str) -> list[tuple[str, str]]:
    run = stored_run(core, run_id)
    chunk = core.log.read_run(run.thread_id, run_id)
    assert chunk is not None
    data = [orjson.loads(entry.payload) for entry in chunk.entries if entry.run_id == run_id]
    return [(one["type"], one.get("message", {}).get("content", one.get("message_id", ""))) for one in data]


def test_a_message_is_read_where_the_worker_looks(ada: Client, core: Core, run_id: str) -> None:
    [first, _] = send(ada, run_id, "And birds?", "And fish?")
    relay = begin(core, run_id)

    found = execute(relay, say("Cats purr."), LOOK, say("Birds sing."), LOOK, LOOK, {"type": "done"})
    finish(core, relay)

    assert found == ["And birds?", "And fish?", None]
    assert tree(core, run_id) == [
        ("assistant", "Cats purr."),
        ("user", "And birds?"),
        ("assistant", "Birds sing."),
        ("user", "And fish?"),
    ]
    assert waiting(ada, run_id) == []
    events = [one for one in logged(core, run_id) if "delta" not in one[0] and "created" not in one[0]]
    assert events[2:6] == [
        ("message.completed", "Cats purr."),
        ("message.completed", "And birds?"),
        ("run.message_delivered", first["id"]),
        ("message.completed", "Birds sing."),
    ]
    assert outbox_of(core).handle_due() == 1
    assert len(core.database.read(runs.listing, None).items) == 1


def test_a_message_that_was_read_cannot_be_removed(ada: Client, core: Core, run_id: str) -> None:
    [message] = send(ada, run_id, "And birds?")
    execute(begin(core, run_id), LOOK)

    refused = ada.delete(f"/api/runs/{run_id}/messages/{message['id']}")

    assert (refused.status_code, refused.json["detail"]) == (409, "The worker has read the message.")


def test_what_nobody_reads_begins_the_next_run(ada: Client, core: Core, run_id: str) -> None:
    relay = begin(core, run_id)
    send(ada, run_id, "And birds?", "And fish?")
    execute(relay, LOOK, say("Birds sing."), {"type": "done"})
    finish(core, relay)

    outbox_of(core).handle_due()

    begun = core.database.read(runs.listing, None).items[0]
    question = core.database.read(messages.of_state, begun.input_state_id)
    assert [message.content for message in question] == ["And fish?"]


@pytest.mark.parametrize("looks", [1, 2, 3, 4])
def test_a_later_attempt_finds_the_same_and_then_what_is_new(
    ada: Client, core: Core, run_id: str, looks: int
) -> None:
    """The pool dies after so many looks, of which the second has found nothing."""
    relay = begin(core, run_id)
    send(ada, run_id, "one")
    lines = [LOOK, LOOK, lambda: send(ada, run_id, "two", "three"), LOOK, LOOK]
    if looks == 1:
        lines = [LOOK, lines[2]]
    before = execute(relay, *lines[: looks + 1])
    lose(core, relay)
    again = begin(core, run_id)

    found = execute(again, say("Anew."), *[LOOK] * 5, {"type": "done"})
    finish(core, again)

    expected = {1: ["one", "two", "three", None, None]}.get(looks, ["one", None, "two", "three", None])
    assert found == expected
    assert found[:looks] == before
    assert tree(core, run_id) == [
        ("assistant", "Anew."), ("user", "one"), ("user", "two"), ("user", "three"),
    ]  # fmt: skip
    assert waiting(ada, run_id) == []


@pytest.mark.parametrize("moment", ["before the commit", "after the commit"])
def test_a_message_is_delivered_once_though_its_pool_dies_while_it_is_delivered(
    ada: Client, core: Core, run_id: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(ada, run_id, "And birds?")
    relay = begin(core, run_id)
    read = queued_messages.read

    def die(*arguments: Any) -> None:
        if moment == "before the commit":
            raise Killed
        read(*arguments)

    if moment == "before the commit":
        monkeypatch.setattr(queued_messages, "read", die)
    else:
        monkeypatch.setattr(ScriptedChild, "send", _die)
    with pytest.raises(Killed):
        execute(relay, say("Cats"), LOOK)
    monkeypatch.undo()
    lose(core, relay)
    again = begin(core, run_id)

    assert execute(again, say("Cats"), LOOK, LOOK, {"type": "done"}) == ["And birds?", None]
    finish(core, again)
    assert tree(core, run_id) == [("assistant", "Cats"), ("user", "And birds?")]


def _die(*_: object) -> None:
    raise Killed


def test_a_commit_whose_answer_is_lost_is_not_made_twice(
    ada: Client, core: Core, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(ada, run_id, "one", "two")
    relay = begin(core, run_id)
    write, failed = core.database.write, []

    def break_off(function: Any, *arguments: Any, **more: Any) -> Any:
        result = write(function, *arguments, **more)
        if function in (queued_messages.look, queued_messages.read) and function not in failed:
            failed.append(function)
            raise StoreUnavailable
        return result

    monkeypatch.setattr(core.database, "write", break_off)

    assert execute(relay, LOOK, LOOK, LOOK) == ["one", "two", None]
    assert failed == [queued_messages.look, queued_messages.read]


def test_an_answered_question_leads_to_the_same_reads_and_leaves_their_messages_in_place(
    ada: Client, core: Core, run_id: str
) -> None:
    send(ada, run_id, "one")
    relay = begin(core, run_id)
    ask = {"type": "confirm", "id": "1", "prompt": "Go on?"}
    assert execute(relay, say("Before."), LOOK, LOOK, ask) == ["one", None]
    transcript = relay.attempt.transcript
    left = transcript.close(MessageStatus.COMPLETE)
    question = transcript.result and transcript.result.confirmation
    core.database.write(attempts.wait, relay.attempt.run, question, attempts.AttemptResult(left))
    send(ada, run_id, "two")
    ada.post(f"/api/runs/{run_id}/answer", json={"answer": "yes"})
    again = begin(core, run_id)

    back = {"type": "inbox", "earlier": True}
    found = execute(again, back, back, back, LOOK, say("After."), {"type": "done"})
    finish(core, again)

    assert found == ["one", None, None, "two"]
    assert [text for _, text in tree(core, run_id)] == ["Before.", "one", "Go on?", "two", "After."]


def test_a_worker_that_continues_goes_on_below_the_message(
    ada: Client, core: Core, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.catalogue, "continues", lambda _: True)
    send(ada, run_id, "And birds?")
    relay = begin(core, run_id)
    execute(relay, say("Cats purr."), LOOK, say("Birds "))
    lose(core, relay)
    again = begin(core, run_id)

    assert [message.content for message in again.attempt.claim.earlier] == ["Cats purr.", "And birds?"]
    assert execute(again, LOOK, say("sing."), {"type": "done"}) == ["And birds?"]
    finish(core, again)
    assert tree(core, run_id) == [
        ("assistant", "Cats purr."), ("user", "And birds?"), ("assistant", "Birds sing."),
    ]  # fmt: skip


def test_new_messages_end_the_answer_that_a_lost_attempt_left_open(
    ada: Client, core: Core, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.catalogue, "continues", lambda _: True)
    relay = begin(core, run_id)
    execute(relay, say("Cats purr."))
    send(ada, run_id, "And birds?")
    lose(core, relay)
    again = begin(core, run_id)

    execute(again, LOOK, say("Birds sing."), {"type": "done"})
    finish(core, again)

    assert tree(core, run_id) == [
        ("assistant", "Cats purr."), ("user", "And birds?"), ("assistant", "Birds sing."),
    ]  # fmt: skip


def test_what_only_a_lost_attempt_has_read_begins_the_next_run(ada: Client, core: Core, run_id: str) -> None:
    send(ada, run_id, "And birds?")
    relay = begin(core, run_id)
    execute(relay, LOOK)
    lose(core, relay)
    again = begin(core, run_id)
    execute(again, say("I do not look."), {"type": "done"})
    finish(core, again)

    assert waiting(ada, run_id) == ["And birds?"]
    outbox_of(core).handle_due()
    assert waiting(ada, run_id) == []
    begun = core.database.read(runs.listing, None).items[0]
    question = core.database.read(messages.of_state, begun.input_state_id)
    assert [message.content for message in question] == ["And birds?"]


def test_a_superseded_attempt_reads_nothing(ada: Client, core: Core, run_id: str) -> None:
    send(ada, run_id, "And birds?")
    relay = begin(core, run_id)
    lose(core, relay)

    assert execute(relay, LOOK) == []
    assert relay.attempt.stopped is StopReason.LOST
    assert execute(begin(core, run_id), LOOK) == ["And birds?"]


def test_a_message_stays_in_the_log_that_redis_lost(
    ada: Client, core: Core, run_id: str, redis_url: str
) -> None:
    send(ada, run_id, "And birds?")
    relay = begin(core, run_id)

    def lose_everything() -> None:
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()

    execute(relay, say("Cats."), LOOK, say("Birds "), lose_everything, say("sing."), {"type": "done"})
    finish(core, relay)

    assert [text for _, text in tree(core, run_id)] == ["Cats.", "And birds?", "Birds sing."]


def test_explicit_answers_go_on_below_the_message_and_other_messages_stay_open(
    ada: Client, core: Core, run_id: str
) -> None:
    send(ada, run_id, "And birds?")
    relay = begin(core, run_id)
    start: Sequence[dict[str, Any]] = (
        {"type": "start", "ref": "a"},
        {"type": "start", "ref": "c", "message_type": "code"},
        {**SAY, "ref": "a", "text": "Cats."},
        {**SAY, "ref": "c", "text": "1 +"},
    )
    rest = ({**SAY, "ref": "a", "text": "Birds."}, {**SAY, "ref": "c", "text": " 1"}, {"type": "done"})

    execute(relay, *start, LOOK, *rest)
    finish(core, relay)

    assert [text for _, text in tree(core, run_id)] == ["Cats.", "1 + 1", "And birds?", "Birds."]


def test_a_web_service_that_asks_in_its_answer_is_told_how(ada: Client, core: Core, run_id: str) -> None:
    send(ada, run_id, "And birds?")
    relay = begin(core, run_id)
    child = ScriptedChild(LOOK, {"type": "done"})
    child.listens = False
    relay.attempt.child = child  # type: ignore[assignment]
    relay.run(child)  # type: ignore[arg-type]

    assert child.found == []
    assert "reads its inbox by the Worker API" in relay.attempt.transcript.log.text()
    assert waiting(ada, run_id) == ["And birds?"]


class LoopingChild(ScriptedChild):
    """Looks until it has found a message, and does then what it was given."""

    def read(self) -> bytes:
        if not self.found or self.found[-1] is None:
            return orjson.dumps(LOOK) + b"\n"
        return super().read()


def loop(relay: Relay, *lines: Line) -> list[str | None]:
    child = LoopingChild(*lines)
    relay.attempt.child = child  # type: ignore[assignment]
    relay.run(child)  # type: ignore[arg-type]
    return child.found


def test_a_worker_that_looks_in_a_loop_writes_seldom_and_finds_what_arrives(
    ada: Client, core: Core, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, looks = core.database.write, []

    def count(function: Any, *arguments: Any, **more: Any) -> Any:
        if function is queued_messages.look:
            looks.append(arguments[1])
            if looks[-1] > 500:
                monkeypatch.undo()
                send(ada, run_id, "And birds?")
        return write(function, *arguments, **more)

    monkeypatch.setattr(core.database, "write", count)
    relay = begin(core, run_id)

    found = loop(relay, say("Birds sing."), {"type": "done"})
    finish(core, relay)

    assert [text for text in found if text] == ["And birds?"]
    assert len(found) > 500
    assert len(looks) < len(found) / 5
    assert tree(core, run_id) == [("user", "And birds?"), ("assistant", "Birds sing.")]


def test_after_a_loop_a_later_attempt_finds_the_same(ada: Client, core: Core, run_id: str) -> None:
    relay = begin(core, run_id)
    looks = [LOOK] * 50
    assert execute(relay, *looks, lambda: send(ada, run_id, "one")) == [None] * 50
    lose(core, relay)
    again = begin(core, run_id)
    ahead = stored_run(core, run_id).inbox_reads - 50

    found = loop(again, {"type": "done"})
    finish(core, again)

    assert 0 < ahead <= 200
    assert found == [None] * (50 + ahead) + ["one"]


def test_looks_ahead_are_taken_back_where_the_attempt_ends_by_itself(
    ada: Client, core: Core, run_id: str
) -> None:
    relay = begin(core, run_id)
    execute(relay, *[LOOK] * 50, {"type": "confirm", "id": "1", "prompt": "Go on?"})
    transcript = relay.attempt.transcript
    question = transcript.result and transcript.result.confirmation
    left = transcript.close(MessageStatus.COMPLETE)
    result = attempts.AttemptResult(left, inbox_reads=relay.looks_to_keep)

    waits = core.database.write(attempts.wait, relay.attempt.run, question, result)

    assert waits.inbox_reads == 50
