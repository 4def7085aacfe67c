"""What follows a turn: once, whoever does it, whatever dies, and as soon as there is room."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from runtime.errors import WorkerElsewhere
from runtime.outboxes import further_duties
from runtime.registry.catalogue import Catalogue
from runtime.sessions.service import Sessions
from runtime.store import tables
from tests.support.session_talk import Talk
from tests.support.web import Client
from web.core import Core


def test_a_message_to_a_turn_that_has_just_ended_begins_the_next_one_once(ada: Client, core: Core) -> None:
    """Before anybody has looked at its end."""
    talk = Talk(ada, core, auto={"enabled": True})
    talk.send("Go")
    attempt = talk.attempt()
    attempt.say("one")
    attempt.finish()

    assert talk.send("And birds?").status_code == 202

    talk.follow()
    assert (talk.now()["turn"], talk.now()["status"]) == (2, "running")
    talk.answer("two")
    assert talk.now()["turn"] == 3


@pytest.mark.parametrize("what", ["stop", "close"])
def test_what_ends_a_turn_is_done_also_where_the_process_dies_behind_the_commit(
    ada: Client, core: Core, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    talk = Talk(ada, core, auto={"enabled": True})
    run = talk.send("Go").json["run"]
    with monkeypatch.context() as dying:
        dying.setattr(Sessions, "follow", lambda *_: None)
        assert talk.do(what).status_code == 200
    assert ada.get(f"/api/runs/{run['id']}").json["run"]["status"] == "queued"

    talk.follow()

    assert ada.get(f"/api/runs/{run['id']}").json["run"]["status"] == "cancelled"
    assert talk.now()["status"] == ("stop" if what == "stop" else "closed")
    assert talk.now()["turn"] == 1


def test_a_turn_that_ends_while_its_question_is_looked_at_is_followed_by_its_own_task(
    ada: Client, core: Core
) -> None:
    talk = Talk(ada, core, auto={"enabled": True})
    talk.send("Go")
    attempt = talk.attempt()
    attempt.say("one")

    def late(query: Any, *args: Any) -> Any:
        """What was true before the run has ended."""
        found = core.database.engine.query(query, *args)
        attempt.finish()
        return found

    engine = SimpleNamespace(query=late)
    database: Any = SimpleNamespace(engine=engine, read=core.database.read, write=core.database.write)
    Sessions(core.dispatcher, database, core.log, core.settings).follow(talk.now()["run_id"])

    assert talk.now()["turn"] == 1
    talk.follow()
    assert talk.now()["turn"] == 2


def test_want_of_room_is_no_failure_and_says_why(
    web_environ: dict[str, str], request: pytest.FixtureRequest
) -> None:
    talk = full(web_environ, request)
    core = talk.core
    talk.follow()
    assert "waiting" in talk.now()["held"]
    assert (talk.now()["turn"], talk.now()["status"]) == (1, "running")

    with core.database.engine.connections.begin() as c:
        c.execute(tables.runs.delete().where(tables.runs.c.session_id.is_(None)))
        c.execute(tables.outbox.update().values(due_at=tables.now(-1)))
    talk.follow()

    assert (talk.now()["turn"], talk.now()["held"]) == (2, None)


def test_a_session_that_is_closed_while_its_next_turn_is_held_does_not_say_so_any_more(
    web_environ: dict[str, str], request: pytest.FixtureRequest
) -> None:
    talk = full(web_environ, request)
    talk.follow()
    assert "waiting" in talk.now()["held"]

    talk.do("close")

    assert (talk.now()["status"], talk.now()["held"]) == ("closed", None)


def test_a_turn_without_a_task_is_followed_once_there_is_room_again(
    web_environ: dict[str, str], request: pytest.FixtureRequest
) -> None:
    talk = full(web_environ, request)
    look_after = further_duties(talk.core)["look after sessions"]
    with talk.core.database.engine.connections.begin() as c:
        c.execute(tables.outbox.delete())
        ended = tables.runs.c.finished_at.is_not(None)
        c.execute(tables.runs.update().where(ended).values(finished_at=tables.now(-11)))
    look_after()
    assert (talk.now()["turn"], talk.now()["held"]) == (1, None)

    with talk.core.database.engine.connections.begin() as c:
        c.execute(tables.runs.delete().where(tables.runs.c.session_id.is_(None)))
    look_after()

    assert talk.now()["turn"] == 2


def test_a_turn_that_is_held_is_followed_also_once_its_task_was_given_up(
    web_environ: dict[str, str], request: pytest.FixtureRequest
) -> None:
    talk = full(web_environ, request)
    talk.follow()
    assert "waiting" in talk.now()["held"]
    look_after = further_duties(talk.core)["look after sessions"]
    with talk.core.database.engine.connections.begin() as c:
        c.execute(tables.runs.delete().where(tables.runs.c.session_id.is_(None)))
        ended = tables.runs.c.finished_at.is_not(None)
        c.execute(tables.runs.update().where(ended).values(finished_at=tables.now(-11)))
    look_after()
    assert talk.now()["turn"] == 1, "its task does that"

    with talk.core.database.engine.connections.begin() as c:
        c.execute(tables.outbox.update().values(dead_at=tables.now()))
    look_after()

    assert (talk.now()["turn"], talk.now()["held"]) == (2, None)


@pytest.mark.parametrize("auto", [False, True], ids=["alone", "auto"])
def test_a_turn_has_ended_also_where_this_process_does_not_know_its_worker_yet(
    ada: Client, core: Core, monkeypatch: pytest.MonkeyPatch, auto: bool
) -> None:
    talk = Talk(ada, core, auto={"enabled": auto})
    talk.send("Go")
    attempt = talk.attempt()
    attempt.finish()

    def elsewhere(_: Catalogue, worker_id: str) -> NoReturn:
        raise WorkerElsewhere(worker_id)

    with monkeypatch.context() as upgrading:
        upgrading.setattr(Catalogue, "find", elsewhere)
        talk.follow()
        now = talk.now()

    if auto:
        assert now["status"] == "running" and "new version" in now["held"]
        talk.follow()
        assert (talk.now()["turn"], talk.now()["held"]) == (2, None)
    else:
        assert (now["status"], now["stop_reason"]["code"]) == ("stop", "turn_ended")


def full(web_environ: dict[str, str], request: pytest.FixtureRequest) -> Talk:
    """A session whose turn has ended while its user's queue is full."""
    web_environ["BRANCHLINE_LIMITS_QUEUED_PER_USER"] = "3"
    ada, core = request.getfixturevalue("ada"), request.getfixturevalue("core")
    talk = Talk(ada, core, auto={"enabled": True})
    talk.send("Go")
    attempt = talk.attempt()
    attempt.say("one")
    attempt.finish()
    for _ in range(core.settings.limits.queued_per_user):
        ada.ask(ada.thread())
    return talk


@pytest.mark.parametrize("end", ["success", "waiting"])
def test_a_turn_whose_end_has_left_no_task_is_followed_as_well(ada: Client, core: Core, end: str) -> None:
    """As by a pool of the version before."""
    talk = Talk(ada, core, auto={"enabled": True})
    talk.send("Go")
    attempt = talk.attempt()
    if end == "waiting":
        attempt.ask("May I?")
    else:
        attempt.finish()
    with core.database.engine.connections.begin() as c:
        c.execute(tables.outbox.delete())
        ended = tables.runs.c.finished_at.is_not(None)
        c.execute(tables.runs.update().where(ended).values(finished_at=tables.now(-11)))

    further_duties(core)["look after sessions"]()

    assert (talk.now()["status"], talk.now()["turn"]) == (
        ("running", 2) if end == "success" else ("waiting", 1)
    )


@pytest.mark.databases
def test_of_two_who_write_at_once_one_begins_and_the_other_waits(talk: Talk) -> None:
    barrier = Barrier(4)

    def write(number: int) -> Any:
        barrier.wait(10)
        return talk.send(f"message {number}")

    with ThreadPoolExecutor(4) as threads:
        answers = [*threads.map(write, range(4))]

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json["run"]["id"] for answer in answers}) == 1
    talk.answer("one")
    assert talk.now()["turn"] == 2
    talk.answer("two")
    asked = [text for author, text in talk.said() if author is None]
    assert sorted(asked) == [f"message {number}" for number in range(4)]


@pytest.mark.databases
def test_what_follows_a_turn_is_done_once_whoever_does_it(ada: Client, core: Core) -> None:
    talk = Talk(ada, core, auto={"enabled": True})
    talk.send("Go")
    run_id = talk.now()["run_id"]
    attempt = talk.attempt()
    attempt.say("one")
    attempt.finish()
    followed = Sessions(core.dispatcher, core.database, core.log, core.settings)
    barrier = Barrier(4)

    def follow(_: int) -> None:
        barrier.wait(10)
        followed.follow(run_id)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(follow, range(4)))
    talk.follow()

    assert (talk.now()["turn"], talk.now()["transition"]) == (2, 3)
