"""A worker sums up what the window of a session leaves out, and no turn waits for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from runtime.dispatch import summaries as module
from runtime.model import Message, MessageType, Role, Run, RunError, RunStatus, new_id
from runtime.sessions.tables import sessions
from runtime.settings import Settings
from runtime.settings import load as load_settings
from runtime.store import attempts, outbox, runs, tables
from runtime.store.follow_ups import SUM_UP
from runtime.store.windows import Size, Windows
from tests.support.attempt import INCARNATION, LEASE, Attempt
from tests.support.session_talk import Talk
from tests.support.web import Client, write_worker
from web.core import Core

AHEAD = "Summary of the first {} messages of this conversation:\n\n{}"


@pytest.fixture
def web_settings(web_environ: dict[str, str], worker_folder: Path) -> Settings:
    """A worker sums up."""
    write_worker(worker_folder, "scribe")
    return load_settings(web_environ)


@pytest.fixture
def talk(ada: Client, core: Core) -> Talk:
    """Of the two newest messages and a summary."""
    return Talk(ada, core, window={"k": 2, "summary": "scribe"})


def turn(talk: Talk, text: str, answer: str) -> Run:
    """A turn, and what follows it."""
    talk.send(text)
    talk.answer(answer)
    return talk.run()


def scribes(talk: Talk) -> list[Run]:
    """The runs that make summaries, oldest first; no user is shown one."""
    return talk.core.database.read(runs.listing, None, worker_id="scribe").items[::-1]


def sum_up(talk: Talk, text: str, status: RunStatus = RunStatus.SUCCESS, **how: Any) -> list[str]:
    """Execute the newest of them, and what follows it. Returns what it was given, but its task."""
    attempt = Attempt(talk.core, scribes(talk)[-1].id)
    attempt.say(text)
    attempt.finish(status, **how)
    talk.follow()
    *given, asked = attempt.claim.messages
    assert asked.content.startswith("Sum up this conversation")
    return [message.content for message in given]


def given(attempt: Attempt) -> list[str]:
    return [message.content for message in attempt.claim.messages]


def tasks(talk: Talk) -> list[tuple[int, str | None]]:
    """Tries and reason of each task to sum up."""
    table = tables.outbox
    query = sa.select(table.c.tries, table.c.error).where(table.c.kind == SUM_UP)
    return [(tries, error) for tries, error in talk.core.database.read(lambda c: c.execute(query).all())]


def test_what_slides_out_is_summed_up_once_and_given_to_a_later_turn(talk: Talk) -> None:
    turn(talk, "Greet", "Hello.")
    assert scribes(talk) == []
    second = turn(talk, "And?", "Good day.")
    talk.follow()
    (scribe,) = scribes(talk)
    assert (second.window or {})["left_out"] == 1

    assert sum_up(talk, "They greet.") == ["Greet", "Hello."]

    talk.send("Go on")
    attempt = talk.attempt()
    assert given(attempt) == [AHEAD.format(2, "They greet."), "Good day.", "Go on"]
    summary = attempt.claim.messages[0]
    assert (summary.role, summary.author, summary.type) == ("system", "summary", "text")
    window = talk.client.get(f"/api/runs/{attempt.run.id}").json["run"]["window"]
    assert (window["given"], window["left_out"]) == (2, 3)
    assert (window["summary"], window["summed_up"]) == ("scribe", 2)
    assert [text for _, text in talk.said()] == ["Greet", "Hello.", "And?", "Good day."]
    assert (tasks(talk), len(scribes(talk))) == ([], 1)
    assert talk.client.get(f"/api/runs/{scribe.id}").status_code == 404
    assert talk.client.get(f"/api/threads/{scribe.thread_id}").status_code == 404


def test_the_next_summary_is_made_of_the_one_before_and_of_what_has_slid_out_since(talk: Talk) -> None:
    turn(talk, "Greet", "Hello.")
    turn(talk, "And?", "Good day.")
    sum_up(talk, "They greet.")
    turn(talk, "Go on", "Good evening.")

    assert sum_up(talk, "They greet, all day.") == ["They greet.", "And?", "Good day."]

    talk.send("And on")
    assert given(talk.attempt()) == [AHEAD.format(4, "They greet, all day."), "Good evening.", "And on"]


def test_no_turn_waits_for_a_summary_and_each_attempt_is_given_the_same(talk: Talk) -> None:
    turn(talk, "Greet", "Hello.")
    turn(talk, "And?", "Good day.")
    talk.send("Go on")
    attempt = talk.attempt()
    assert given(attempt) == ["Good day.", "Go on"]
    assert (attempt.run.window or {})["summed_up"] == 0
    sum_up(talk, "They greet.")

    database = talk.core.database
    database.write(attempts.hand_back, attempt.run, attempts.AttemptResult())
    assert given(Attempt(talk.core, attempt.run.id)) == ["Good day.", "Go on"]


def test_a_summary_stands_behind_the_goal_of_a_loop(ada: Client, core: Core) -> None:
    auto = {"enabled": True, "prompt": "Further."}
    talk = Talk(ada, core, auto=auto, window={"k": 2, "summary": "scribe"})
    turn(talk, "Count", "one")
    talk.answer("two")
    assert sum_up(talk, "It counts.") == ["Count", "one"]
    talk.answer("three")

    assert given(talk.attempt()) == ["Count", AHEAD.format(2, "It counts."), "three", "Further."]


def test_a_branch_is_given_what_was_summed_up_before_it_and_nothing_of_another_one(talk: Talk) -> None:
    first = turn(talk, "Greet", "Hello.")
    turn(talk, "And?", "Good day.")
    sum_up(talk, "They greet.")
    turn(talk, "Go on", "Good evening.")
    sum_up(talk, "They greet, all day.")

    talk.change(tip_state_id=first.output_state_id)
    talk.send("Or else?")
    attempt = talk.attempt()
    assert given(attempt) == [AHEAD.format(2, "They greet."), "Hello.", "Or else?"]
    attempt.say("Goodbye.")
    attempt.finish()
    talk.follow()
    assert len(scribes(talk)) == 2, "all that has slid out is summed up"
    turn(talk, "And then?", "Nothing.")
    assert sum_up(talk, "They part.") == ["They greet.", "Or else?", "Goodbye."]


def test_one_summary_of_a_thread_is_made_at_a_time(talk: Talk) -> None:
    turn(talk, "Greet", "Hello.")
    turn(talk, "And?", "Good day.")
    turn(talk, "Go on", "Good evening.")
    assert (len(scribes(talk)), len(tasks(talk))) == (1, 2)
    turn(talk, "And on", "Good night.")
    talk.follow()
    assert (len(scribes(talk)), len(tasks(talk))) == (1, 2), "the turn before the last has gone on"

    assert sum_up(talk, "They greet.") == ["Greet", "Hello."]
    assert sum_up(talk, "All day.") == ["They greet.", "And?", "Good day.", "Go on", "Good evening."]
    assert tasks(talk) == []


def test_a_summary_whose_task_is_gone_keeps_no_other_one_waiting(talk: Talk) -> None:
    turn(talk, "Greet", "Hello.")
    turn(talk, "And?", "Good day.")
    talk.core.database.write(lambda c: c.execute(tables.outbox.delete()))
    sum_up(talk, "They greet.")
    turn(talk, "Go on", "Good evening.")
    assert sum_up(talk, "All day.") == ["Greet", "Hello.", "And?", "Good day."]
    assert tasks(talk) == []


def test_what_is_too_much_for_one_run_is_summed_up_by_several(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    talk.change(window={"k": 100})
    for number in range(4):
        turn(talk, f"Ask {number}", f"Answer {number}")
    assert scribes(talk) == []
    talk.change(window={"k": 2})
    turn(talk, "The last", "Yes.")

    assert sum_up(talk, "Some.") == ["Ask 0", "Answer 0", "Ask 1"]
    assert sum_up(talk, "More.") == ["Some.", "Answer 1", "Ask 2", "Answer 2"]
    assert sum_up(talk, "All.") == ["More.", "Ask 3", "Answer 3"]
    assert (tasks(talk), len(scribes(talk))) == ([], 3)


def test_a_worker_that_fails_is_tried_again_and_given_up_while_the_session_goes_on(talk: Talk) -> None:
    turn(talk, "Greet", "Hello.")
    turn(talk, "And?", "Good day.")
    error = RunError("worker_error", "Its model is away.")
    failed = "WorkerError: The worker 'scribe' has made no summary: Its model is away."
    for tries in range(1, 13):
        sum_up(talk, "Half", RunStatus.ERROR, error=error)
        assert tasks(talk) == [(tries, failed)]
        talk.follow()
        assert len(scribes(talk)) == min(tries + 1, 12)

    assert [task.error for task in talk.core.database.read(outbox.dead)] == [failed]
    talk.send("Go on")
    assert given(talk.attempt()) == ["Good day.", "Go on"]
    talk.core.database.write(outbox.replay)
    talk.follow()
    assert len(scribes(talk)) == 13


@pytest.mark.parametrize("how", ["cancelled", "without a word", "with a question"])
def test_a_worker_that_makes_no_summary_has_failed(talk: Talk, how: str) -> None:
    turn(talk, "Greet", "Hello.")
    turn(talk, "And?", "Good day.")
    (scribe,) = scribes(talk)
    match how:
        case "cancelled":
            talk.core.database.write(runs.cancel, None, scribe.id)
        case "without a word":
            Attempt(talk.core, scribe.id).finish()
        case "with a question":
            Attempt(talk.core, scribe.id).ask("Which one?")
    talk.follow()

    ((tries, error),) = tasks(talk)
    assert tries == 1
    assert (error or "").startswith("WorkerError: The worker 'scribe' has made no summary: its run ended")
    assert scribes(talk)[0].status.terminal


def test_a_task_waits_for_a_worker_that_is_not_there_and_says_so(talk: Talk) -> None:
    turn(talk, "Greet", "Hello.")
    talk.send("And?")
    attempt = talk.attempt()
    attempt.say("Good day.")
    run = attempt.run
    gone = {**(run.window or {}), "summary": "nobody"}
    with talk.core.database.engine.connections.begin() as c:
        c.execute(tables.runs.update().where(tables.runs.c.id == run.id).values(window=gone))
    attempt.finish()
    for _ in range(20):
        talk.follow()

    ((tries, error),) = tasks(talk)
    assert (tries, (error or "").partition(".")[0]) == (0, "There is no worker 'nobody'")
    talk.send("Go on")
    talk.follow()
    assert tasks(talk) == [], "the end of the turn that has begun has a task of its own"


def test_a_thread_on_which_a_summary_is_made_is_not_summed_up(talk: Talk) -> None:
    turn(talk, "Greet", "Hello.")
    turn(talk, "And?", "Good day.")
    engine, (scribe,) = talk.core.database.engine, scribes(talk)
    own = Windows({"scribe": Size(1, summary="scribe")})
    claim = engine.claim(scribe.id, INCARNATION, LEASE, {"": 200}, windows=own)
    assert claim is not None and (claim.run.window or {})["left_out"] == 2
    engine.finish(claim.run, RunStatus.SUCCESS, attempts.AttemptResult())
    talk.follow()
    assert [run.thread_id for run in scribes(talk)] == [scribe.thread_id]


def test_a_name_of_a_thread_is_no_end_of_its_summary(talk: Talk) -> None:
    turn(talk, "Greet", "Hello.")
    turn(talk, "And?", "Good day.")
    talk.client.patch(f"/api/threads/{talk.thread['id']}", json={"title": "Greetings"})
    talk.follow()
    assert len(scribes(talk)) == 1
    sum_up(talk, "They greet.")
    assert tasks(talk) == []
    assert talk.client.get(f"/api/threads/{talk.thread['id']}").json["thread"]["title"] == "Greetings"


def test_a_deleted_thread_is_not_summed_up(talk: Talk) -> None:
    turn(talk, "Greet", "Hello.")
    talk.send("And?")
    attempt = talk.attempt()
    attempt.finish()
    talk.client.delete(f"/api/threads/{talk.thread['id']}")
    talk.follow()
    assert (scribes(talk), tasks(talk)) == ([], [])


def test_a_session_refuses_a_worker_for_summaries_that_there_is_not(ada: Client, talk: Talk) -> None:
    path = f"/api/threads/{ada.thread(worker_id='parrot')['id']}/session"
    for refused in (
        ada.post(path, json={"window": {"summary": "nobody"}}),
        talk.change(window={"summary": "nobody"}),
    ):
        assert refused.status_code == 422
        assert [error["path"] for error in refused.json["errors"]] == ["window.summary"]
    assert talk.now()["window"]["summary"] == "scribe"
    assert talk.change(window={"summary": None}).json["session"]["window"] == {"k": 2, "summary": None}


def test_function_calls_are_summed_up_as_text() -> None:
    data = {"call_id": "1", "name": "add", "arguments": {"a": 1}}
    call = Message(new_id(), new_id(), 0, Role.ASSISTANT, "", MessageType.FUNCTION, data=data)
    result = Message(new_id(), new_id(), 1, Role.TOOL, "3", MessageType.FUNCTION, data={"name": "add"})
    shown = [module._excerpt(call), module._excerpt(result)]
    assert [(one.role, one.type, one.content) for one in shown] == [
        ("assistant", "text", 'add({"a": 1})'),
        ("assistant", "text", "add = 3"),
    ]


def test_a_session_shows_its_summary_on_the_way_to_where_it_goes_on(talk: Talk) -> None:
    def shown() -> Any:
        answer = talk.client.get(f"{talk.path}/summary")
        assert answer.status_code == 200, answer.text
        return answer.json

    assert shown() == {"worker_id": "scribe", "summary": None}
    turn(talk, "Greet", "Hello.")
    first = talk.now()["tip_state_id"]
    turn(talk, "And?", "Good day.")
    sum_up(talk, "They greet.")

    summary = shown()["summary"]
    assert (summary["messages"], summary["content"]) == (2, "They greet.")
    assert summary["state_id"] == first
    before = talk.client.get(f"/api/states/{first}").json["state"]["parent_id"]
    assert talk.change(tip_state_id=before).status_code == 200
    assert shown() == {"worker_id": "scribe", "summary": None}, "another branch has none of it"


def test_a_session_whose_worker_names_nobody_to_sum_up_says_so(ada: Client, core: Core) -> None:
    other = Talk(ada, core)
    assert ada.get(f"{other.path}/summary").json == {"worker_id": None, "summary": None}
    other.change(window={"summary": "scribe"})
    assert ada.get(f"{other.path}/summary").json["worker_id"] == "scribe"


def test_a_session_shows_who_sums_up_by_the_window_of_its_worker(
    ada: Client, core: Core, worker_folder: Path
) -> None:
    write_worker(worker_folder, "writer", '[window]\nmessages = 4\nsummary = "scribe"')
    thread = ada.thread(worker_id="writer")
    path = f"/api/threads/{thread['id']}/session"
    assert ada.post(path, json={}).status_code == 201
    assert ada.get(f"{path}/summary").json == {"worker_id": "scribe", "summary": None}
    assert ada.get(f"/api/threads/{ada.thread()['id']}/session/summary").status_code == 404


def test_a_session_whose_worker_is_gone_still_shows_its_summary(ada: Client, core: Core) -> None:
    talk = Talk(ada, core)
    with core.database.engine.connections.begin() as c:
        c.execute(sessions.update().values(worker_id="gone", config={}))
    assert ada.get(f"{talk.path}/summary").json == {"worker_id": None, "summary": None}
