"""Moves without a lock: decided by what was read, and made only if the session is so still."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.errors import Conflict, NotFound, QueueFull
from runtime.model import Role, Run, new_id
from runtime.sessions import store
from runtime.sessions.model import By, Reason, Session, Status
from runtime.sessions.service import Sessions
from runtime.sessions.store import Step
from runtime.store import queued_messages, runs, states, users
from tests.support.executed import Executed
from tests.support.session_talk import Talk
from tests.support.web import Client
from web.core import Core

PROMPT = [states.NewMessage(Role.USER, "Go on.", author="auto")]
STOP = Step(Status.STOP, By.TURN, reason={"code": Reason.FINISHED, "message": 'It\'s "dönè" \\ %s.'})
BEGIN = Step(Status.RUNNING, By.AUTO)


@pytest.fixture
def running(talk: Talk) -> Session:
    """A session whose turn has ended, without anybody having looked at it."""
    talk.send("Go")
    attempt = talk.attempt()
    attempt.say("one")
    attempt.finish()
    return stored(talk)


def stored(talk: Talk) -> Session:
    found = talk.core.database.read(store.find, talk.id)
    assert found is not None
    return found


def spec(session: Session, run: Run) -> runs.RunSpec:
    return runs.RunSpec(
        run.worker_id,
        run.worker_digest,
        run.pool,
        run.config,
        None,
        max_attempts=1,
        timeout_seconds=10.0,
        run_id=new_id(),
        session_id=session.id,
        turn=session.turn + 1,
    )


def begin(
    talk: Talk, session: Session, *, limits: runs.QueueLimits | None = None, tip: str = ""
) -> tuple[Session, runs.Created]:
    """Begin the next turn of ``session`` as it was read."""
    run = talk.run()
    wanted = spec(session, run)
    move = store.plan(session, STOP, BEGIN, turn=session.turn + 1, run_id=wanted.run_id)
    thread = talk.core.database.engine.get_thread(run.workspace_id, run.thread_id)
    return talk.core.database.engine.accept_with(
        move, thread, run.user_id, tip or run.output_state_id, PROMPT, wanted, limits or runs.QueueLimits()
    )


def test_what_a_move_says_it_has_made_is_what_is_stored(talk: Talk, running: Session) -> None:
    used = {"turns": 1, "seconds": 1.5, "tokens": None, "cost": 0.25}
    move = store.plan(running, STOP, used=used, progress={"answer": "é"}, wish=None)

    stopped = talk.core.database.engine.apply(move)

    assert stopped == stored(talk)
    assert (stopped.status, stopped.running_since, stopped.used) == ("stop", None, used)
    assert stopped.stop_reason == STOP.reason
    assert talk.moves()[-1] == "running>stop turn finished"


def test_the_next_turn_and_both_transitions_are_made_together(talk: Talk, running: Session) -> None:
    session, created = begin(talk, running)

    assert session == stored(talk)
    assert session.running_since == session.updated_at
    assert [session.run_id] == [run.id for run in created.runs]
    assert talk.run() == created.runs[0]
    assert talk.moves()[-2:] == ["running>stop turn finished", "stop>running auto None"]


def test_a_session_that_has_changed_is_left_alone(talk: Talk, running: Session) -> None:
    now = talk.core.database.write(store.update, running, wish=None)
    before = (talk.run(), talk.moves())

    with pytest.raises(Conflict):
        talk.core.database.engine.apply(store.plan(running, STOP))
    with pytest.raises(Conflict):
        begin(talk, running)

    assert (talk.run(), talk.moves()) == before
    assert stored(talk) == now


def test_a_session_whose_run_cannot_be_accepted_does_not_move(talk: Talk, running: Session) -> None:
    elsewhere = talk.client.thread()
    for _ in range(2):
        talk.client.ask(elsewhere)
    before = (talk.run(), talk.moves())

    with pytest.raises(QueueFull):
        begin(talk, running, limits=runs.QueueLimits(per_user=1))
    with pytest.raises(NotFound):
        begin(talk, running, tip=new_id())

    assert (talk.run(), talk.moves()) == before
    assert stored(talk) == running


@pytest.mark.parametrize("auto", [True, False])
def test_a_person_who_pauses_while_the_end_of_a_turn_is_looked_at_is_heeded(
    ada: Client, core: Core, auto: bool
) -> None:
    talk = Talk(ada, core, auto={"enabled": auto})
    talk.send("Go")
    run_id = talk.now()["run_id"]
    attempt = talk.attempt()
    attempt.say("one")
    attempt.finish()

    def read(query: Callable[..., Any], *args: Any) -> Any:
        """What was true before the person has paused it."""
        found = core.database.engine.query(query, *args)
        assert talk.do("pause").status_code == 200
        return found

    followed_by(core, read).follow(run_id)

    assert (talk.now()["status"], talk.now()["stop_reason"]["code"]) == ("stop", "paused")
    assert talk.moves()[-1] == "running>stop turn paused"


def followed_by(core: Core, query: Callable[..., Any]) -> Sessions:
    """Sessions that read a turn by ``query``."""
    engine = core.database.engine
    changed = SimpleNamespace(query=query, apply=engine.apply)
    database: Any = SimpleNamespace(engine=changed, read=core.database.read, write=core.database.write)
    return Sessions(core.dispatcher, database, core.log, core.settings)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_postgresql_begins_the_next_turn_with_three_statements(ada: Client, core: Core) -> None:
    """What has ended, what it has said, and the move."""
    talk = Talk(ada, core, auto={"enabled": True})
    talk.send("Go")
    follows = Sessions(core.dispatcher, core.database, core.log, core.settings)
    for number in range(2):  # what is read first is read for a second
        run_id = talk.now()["run_id"]
        attempt = talk.attempt()
        attempt.say(f"{number}")
        attempt.finish()
        with Executed(core.database) as statements:
            follows.follow(run_id)
    assert len(statements) == 3
    assert talk.now()["turn"] == 3


def test_a_message_to_a_session_that_begins_meanwhile_waits_for_that_turn(ada: Client, core: Core) -> None:
    talk = Talk(ada, core)
    first = [states.NewMessage(Role.USER, "Go")]
    user = core.database.read(users.get, ada.get("/api/me").json["user"]["id"])
    before = Sessions.get

    def get(sessions: Sessions, *args: Any) -> Session:
        """What was true before another message has begun a turn."""
        found = before(sessions, *args)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Sessions, "get", before)
            assert talk.send("Quicker").status_code == 202
        return found

    sessions = Sessions(core.dispatcher, core.database, core.log, core.settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sessions, "get", get)
        answer = sessions.send(user, talk.thread["id"], first)

    assert answer["run"]["id"] == talk.now()["run_id"]
    assert (talk.now()["turn"], talk.moves()) == (1, ["init>running person None"])
    assert [text for _, text in talk.said()] == []
    waiting = core.database.read(queued_messages.waiting, talk.run().id)
    assert [message.content for message in waiting] == ["Go"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_postgresql_begins_a_turn_of_a_person_with_one_statement_that_writes(ada: Client, core: Core) -> None:
    talk = Talk(ada, core)
    talk.send("Go")
    talk.answer("one")
    with Executed(core.database) as statements:
        talk.send("And?")
    texts = [one.decode() if isinstance(one, bytes) else str(one) for one in statements]
    assert [
        text for text in texts if "thread_sessions SET" in text or text.startswith(("INSERT", "BEGIN"))
    ] == [texts[-1]]
    assert talk.now()["turn"] == 2
