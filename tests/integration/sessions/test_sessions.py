"""Sessions: threads that go on by themselves, with limits, until their goal is reached."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from runtime.model import RunError, RunStatus, new_id
from tests.support.attempt import Attempt
from tests.support.session_talk import Json, Talk
from tests.support.web import Client
from web.core import Core


def test_a_message_begins_a_turn_and_its_end_stops_the_session(talk: Talk) -> None:
    assert UUID(talk.id).version == 4
    assert (talk.now()["status"], talk.now()["turn"]) == ("init", 0)

    sent = talk.send("Write a poem")

    assert sent.status_code == 202, sent.text
    assert sent.json["session"]["status"] == "running"
    assert (sent.json["run"]["session_id"], sent.json["run"]["turn"]) == (talk.id, 1)
    talk.answer("Roses are red.")
    assert talk.now()["status"] == "stop"
    assert talk.now()["stop_reason"] == {"code": "turn_ended", "message": "The turn has ended."}
    assert talk.now()["tip_state_id"] == talk.run().output_state_id
    assert talk.said() == [(None, "Write a poem"), ("parrot", "Roses are red.")]
    assert talk.moves() == ["init>running person None", "running>stop turn turn_ended"]


def test_a_thread_has_one_session_and_only_its_owner_sees_it(talk: Talk, bob: Client) -> None:
    assert talk.client.post(talk.path, json={}).status_code == 409
    assert bob.get(talk.path).status_code == 404
    assert bob.post(f"{talk.path}/close").status_code == 404
    assert bob.post(f"/api/threads/{talk.thread['id']}/session", json={}).status_code == 404
    assert talk.client.get(f"/api/threads/{new_id()}/session").status_code == 404


def test_a_snapshot_of_the_thread_has_its_session(ada: Client, core: Core) -> None:
    talk = Talk(ada, core)
    snapshot = f"/api/threads/{talk.thread['id']}/snapshot"
    talk.send("Write a poem")

    assert ada.get(snapshot).json["session"] == talk.now()
    assert ada.get(f"/api/threads/{ada.thread()['id']}/snapshot").json["session"] is None


def test_it_goes_on_with_the_prompt_until_the_worker_finishes(ada: Client, core: Core) -> None:
    talk = Talk(ada, core, auto={"enabled": True, "prompt": "Further."})
    talk.send("Count to three")

    talk.answer("one")
    talk.answer("two")
    talk.answer("three", finish="Three is reached.")

    assert talk.now()["stop_reason"] == {"code": "finished", "message": "Three is reached."}
    assert talk.now()["turn"] == 3
    asked = [text for author, text in talk.said() if author != "parrot"]
    assert asked == ["Count to three", "Further.", "Further."]
    assert [author for author, text in talk.said() if text == "Further."] == ["auto", "auto"]
    assert talk.run().finish_reason == "Three is reached."


def test_a_turn_that_fails_stops_it_with_the_reason(ada: Client, core: Core) -> None:
    talk = Talk(ada, core, auto={"enabled": True})
    talk.send("Go")
    talk.answer("Half", RunStatus.ERROR, error=RunError("worker_error", "Its model is away."))
    assert talk.now()["stop_reason"] == {"code": "error", "message": "Its model is away."}
    assert talk.do("resume").status_code == 200
    assert talk.now()["status"] == "running"


def test_a_question_is_no_end_of_the_loop(ada: Client, core: Core) -> None:
    talk = Talk(ada, core, auto={"enabled": True})
    talk.send("Go")
    run = talk.now()["run_id"]
    talk.attempt().ask("May I?")
    talk.follow()
    assert talk.now()["status"] == "waiting"

    assert ada.post(f"/api/runs/{run}/answer", json={"answer": "yes"}).status_code == 202
    talk.follow()

    assert (talk.now()["status"], talk.now()["turn"]) == ("running", 1)
    talk.answer("one")
    assert (talk.now()["status"], talk.now()["turn"]) == ("running", 2)
    assert talk.moves()[:3] == [
        "init>running person None",
        "running>waiting turn None",
        "waiting>running person None",
    ]


def test_messages_that_come_while_it_runs_begin_the_next_turn_before_the_prompt(
    ada: Client, core: Core
) -> None:
    talk = Talk(ada, core, auto={"enabled": True})
    first = talk.send("Go").json["run"]

    sent = talk.send("And birds?")

    assert (sent.status_code, sent.json["run"]["id"]) == (202, first["id"])
    talk.send("And fish?")
    talk.answer("one")
    assert talk.run().turn == 2
    talk.answer("two")
    asked = [text for author, text in talk.said() if author is None]
    assert asked == ["Go", "And birds?", "And fish?"]


def test_pause_lets_the_turn_end_and_resume_goes_on(ada: Client, core: Core) -> None:
    talk = Talk(ada, core, auto={"enabled": True})
    talk.send("Go")
    assert talk.do("pause").json["session"]["pausing"] is True
    talk.send("And birds?")
    talk.answer("one")
    assert talk.now()["stop_reason"]["code"] == "paused"

    assert talk.do("resume").status_code == 200

    talk.answer("two")
    assert [text for author, text in talk.said() if author is None] == ["Go", "And birds?"]
    assert talk.now()["status"] == "running"


def test_a_pause_is_taken_back_while_the_turn_runs(ada: Client, core: Core) -> None:
    talk = Talk(ada, core, auto={"enabled": True})
    talk.send("Go")
    talk.do("pause")
    assert talk.do("resume").json["session"]["pausing"] is False
    talk.answer("one")
    assert talk.now()["status"] == "running"


def test_step_takes_one_turn(ada: Client, core: Core) -> None:
    talk = Talk(ada, core, auto={"enabled": True})
    talk.send("Go")
    talk.do("pause")
    talk.answer("one")
    assert talk.do("step").status_code == 200
    assert talk.do("step").status_code == 409
    talk.answer("two")
    assert (talk.now()["status"], talk.now()["stop_reason"]["code"], talk.now()["turn"]) == (
        "stop",
        "stepped",
        2,
    )


@pytest.mark.parametrize("state", ["queued", "running", "waiting"])
def test_stop_cancels_the_turn_and_keeps_what_was_said(ada: Client, core: Core, state: str) -> None:
    talk = Talk(ada, core, auto={"enabled": True})
    talk.send("Go")
    attempt = talk.attempt() if state != "queued" else None
    if attempt is not None:
        attempt.say("Half")
    if attempt is not None and state == "waiting":
        attempt.ask("May I?")
        talk.follow()

    answer = talk.do("stop")

    assert answer.status_code == 200, answer.text
    if attempt is not None and state == "running":
        assert answer.json["session"]["pausing"] is True
        attempt.finish(RunStatus.CANCELLED)
        talk.follow()
    assert talk.now()["stop_reason"]["code"] == "stopped"
    assert [text for _, text in talk.said()] == (["Go", "Half"] if attempt else ["Go"])
    talk.follow()
    assert talk.now()["turn"] == 1


def test_closed_is_final(ada: Client, core: Core) -> None:
    talk = Talk(ada, core, auto={"enabled": True})
    run = talk.send("Go").json["run"]
    assert talk.do("close").json["session"]["status"] == "closed"
    assert ada.get(f"/api/runs/{run['id']}").json["run"]["status"] == "cancelled"
    talk.follow()
    assert talk.send("More").status_code == 409
    for what in ("pause", "resume", "step", "stop", "close"):
        assert talk.do(what).status_code == 409, what
    assert talk.change(auto={"enabled": False}).status_code == 409
    assert talk.now()["status"] == "closed"


def test_deleting_the_thread_closes_it(talk: Talk) -> None:
    talk.send("Go")
    assert talk.client.delete(f"/api/threads/{talk.thread['id']}").status_code == 204
    talk.follow()
    assert talk.client.get(talk.path).status_code == 404
    assert talk.client.post(f"/api/threads/{talk.thread['id']}/restore").status_code == 200
    assert talk.now()["status"] == "closed"
    assert talk.moves()[-1].endswith("system thread_deleted")


def test_only_its_own_runs_move_it(talk: Talk) -> None:
    talk.send("Go")
    talk.answer("one")
    tip = talk.now()["tip_state_id"]
    beside = talk.client.ask(talk.thread, "Something else", input_state_id=tip)
    assert beside.status_code == 202, beside.text
    Attempt(talk.core, beside.json["runs"][0]["id"]).finish()
    talk.follow()
    assert talk.now()["tip_state_id"] == tip

    talk.send("And then?")
    assert talk.run().turn == 2
    talk.answer("two")
    assert [text for _, text in talk.said()] == ["Go", "one", "And then?", "two"]


def test_a_person_has_it_go_on_from_another_state(talk: Talk) -> None:
    talk.send("Go")
    talk.answer("one")
    start = talk.thread["root_state_id"]
    open_state = talk.client.ask(talk.thread, "Beside").json["runs"][0]["output_state_id"]
    assert talk.change(tip_state_id=open_state).status_code == 409
    assert talk.change(tip_state_id=new_id()).status_code == 404

    assert talk.change(tip_state_id=start).json["session"]["tip_state_id"] == start

    talk.send("Anew")
    assert talk.change(tip_state_id=start).status_code == 200
    talk.answer("two")
    assert talk.now()["tip_state_id"] == start, "set while it ran, it holds from the next turn on"
    talk.send("Once more")
    talk.answer("three")
    assert [text for _, text in talk.said()] == ["Once more", "three"]


def test_it_begins_at_the_newest_state_that_has_ended(ada: Client, core: Core) -> None:
    thread = ada.thread(worker_id="parrot")
    said = ada.say(thread, "Before")
    ada.ask(thread, input_state_id=said["id"], messages=[])
    made = ada.post(f"/api/threads/{thread['id']}/session", json={})
    assert made.json["session"]["tip_state_id"] == said["id"]


def test_a_long_message_is_taken(talk: Talk) -> None:
    """As by a run: a megabyte."""
    assert talk.send("long " * 200_000).status_code == 202


def test_the_same_request_begins_one_turn(talk: Talk) -> None:
    first = talk.send("Go", **{"Idempotency-Key": "one"})
    again = talk.send("Go", **{"Idempotency-Key": "one"})
    assert first.json == again.json
    assert talk.now()["turn"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {"auto": {"enabled": "yes"}},
        {"limits": {"max_turns": 0}},
        {"limits": {"max_cost": -1}},
        {"limits": {"max_seconds": 1e400}},
        {"window": {"k": 101}},
        {"state_id": "nonsense"},
        {"worker_id": "nobody"},
        {"surprise": 1},
    ],
)
def test_what_makes_no_sense_is_refused(ada: Client, body: Json) -> None:
    thread = ada.thread(worker_id="parrot")
    refused = ada.post(
        f"/api/threads/{thread['id']}/session", data=json.dumps(body), content_type="application/json"
    )
    assert refused.status_code in (400, 422), refused.text


def test_its_changes_are_events_of_the_thread(talk: Talk, core: Core) -> None:
    talk.send("Go")
    talk.answer("one")

    entries = core.log.read(talk.thread["id"], core.log.oldest(talk.thread["id"])).entries

    told = [json.loads(entry.payload)["session"] for entry in entries if entry.type == "session.updated"]
    assert [session["status"] for session in told] == ["init", "running", "stop"]
    assert [session["revision"] for session in told] == sorted(session["revision"] for session in told)
    assert told[-1] == talk.now()


def test_the_context_of_a_message_is_the_arguments_of_its_turn(talk: Talk) -> None:
    def send(*contexts: Json | None) -> None:
        said = [{"role": "user", "content": "Go", "data": {"context": c} if c else {}} for c in contexts]
        assert talk.do("messages", messages=said).status_code == 202

    send({"depth": 1}, {"depth": 2})
    assert talk.run().args == {"depth": 2}
    send({"depth": 3})
    talk.answer("Of two.")
    assert talk.run().args == {"depth": 3}, "it was sent during the turn before"
    talk.answer("Of three.")
    send(None)
    assert talk.run().args is None
