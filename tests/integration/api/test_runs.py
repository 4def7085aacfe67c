"""Runs over the API: asking, listing, waiting, cancelling, answering."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import redis

from runtime.model import RunError, RunStatus
from runtime.store import pools, states
from runtime.testing.waiting import until
from tests.support.attempt import INCARNATION, Attempt, report_pool, stored_run
from tests.support.web import Client
from web.core import Core


def test_an_accepted_run_comes_with_the_states_it_works_on(ada: Client) -> None:
    thread = ada.thread()

    answer = ada.ask(thread, "Hello", config={"tone": "terse"}, args={"deep": [1]}, timeout=5, priority=3)

    assert answer.status_code == 202
    [run], [state], input_state = answer.json["runs"], answer.json["states"], answer.json["input_state"]
    assert answer.headers["Location"] == f"/api/runs/{run['id']}"
    assert (run["status"], run["config"], run["args"]) == ("queued", {"tone": "terse"}, {"deep": [1]})
    assert (run["timeout_seconds"], run["priority"], run["attempt"]) == (5, 3, 0)
    assert (run["input_state_id"], run["output_state_id"]) == (input_state["id"], state["id"])
    assert (state["parent_id"], state["run_id"]) == (input_state["id"], run["id"])
    assert [message["content"] for message in input_state["messages"]] == ["Hello"]
    assert input_state["parent_id"] == thread["root_state_id"]


def test_defaults_of_the_schema_are_filled_into_the_config(ada: Client) -> None:
    assert ada.ask(ada.thread()).json["runs"][0]["config"] == {"tone": "kind"}


def test_without_messages_a_run_regenerates_from_the_state_itself(ada: Client) -> None:
    thread = ada.thread()
    first = ada.ask(thread).json

    again = ada.ask(thread, input_state_id=first["input_state"]["id"], messages=[]).json

    assert again["input_state"]["id"] == first["input_state"]["id"]
    assert [again["states"][0]["ordinal"], first["states"][0]["ordinal"]] == [1, 0]


def test_several_runs_become_siblings(ada: Client) -> None:
    answer = ada.ask(ada.thread(), n=3).json

    assert [state["ordinal"] for state in answer["states"]] == [0, 1, 2]
    assert [run["output_state_id"] for run in answer["runs"]] == [state["id"] for state in answer["states"]]


def test_a_thread_keeps_its_worker_and_its_configuration(ada: Client) -> None:
    thread = ada.thread(worker_id="parrot", config={"tone": "terse"})

    run = ada.ask(thread, worker_id=None).json["runs"][0]

    assert (run["worker_id"], run["config"]) == ("parrot", {"tone": "terse"})


def test_a_run_can_begin_a_thread(ada: Client) -> None:
    body = {
        "title": "Oak", "metadata": {"a": 1}, "worker_id": "parrot",
        "messages": [{"role": "user", "content": "Hello"}],
    }  # fmt: skip

    answer = ada.post("/api/runs", json=body)

    assert answer.status_code == 202
    thread, root = answer.json["thread"], answer.json["root_state"]
    assert (thread["title"], thread["metadata"], thread["worker_id"]) == ("Oak", {"a": 1}, "parrot")
    assert answer.json["input_state"]["parent_id"] == root["id"] == thread["root_state_id"]
    assert ada.get(f"/api/threads/{thread['id']}").status_code == 200


LOCKED = "A_SECRET_THAT_NOBODY_SET is not set; set it where the pool runs"
"""Why the worker ``locked`` cannot run, as its pool reports it."""


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"worker_id": "nobody"}, "worker_id"),
        ({"worker_id": None}, "worker_id"),
        ({"worker_id": "locked"}, "worker_id"),
        ({"config": {"tone": "rude"}}, "config.tone"),
        ({"config": {"length": "long"}}, "config.length"),
        ({"config": []}, "config"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"n": "2"}, "n"),
        ({"n": True}, "n"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"priority": 1 << 40}, "priority"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": {}}, "messages"),
        ({"input_state_id": "x"}, "input_state_id"),
        ({"input_state_id": None}, "input_state_id"),
        ({"mood": "good"}, "mood"),
    ],
)
def test_an_invalid_run_is_refused_with_the_field_and_changes_nothing(
    ada: Client, core: Core, change: dict[str, Any], path: str
) -> None:
    report_pool(core, "locked", locked=LOCKED)
    thread = ada.thread()

    answer = ada.ask(thread, **change)

    assert answer.status_code == 422
    assert [error["path"] for error in answer.json["errors"]] == [path]
    assert ada.get("/api/runs").json["items"] == []
    assert len(ada.get(f"/api/threads/{thread['id']}/states").json["items"]) == 1


def test_an_unavailable_worker_is_listed_with_the_reason_that_its_runs_are_refused_with(
    ada: Client, core: Core
) -> None:
    report_pool(core, "locked", locked=LOCKED)
    worker = ada.get("/api/workers/locked").json["worker"]

    refusal = ada.ask(ada.thread(), worker_id="locked").json["detail"]

    assert (worker["available"], worker["reason"]) == (False, LOCKED)
    assert LOCKED in refusal


def test_workers_are_listed_with_their_schema_and_their_pool(ada: Client, core: Core) -> None:
    report_pool(core, "exec", 4, parrot=None)

    workers = {worker["id"]: worker for worker in ada.get("/api/workers").json["items"]}

    parrot = workers["parrot"]
    assert (parrot["type"], parrot["pool"], parrot["slots"], parrot["busy"]) == ("exec", "exec", 4, 0)
    assert parrot["available"] is True
    assert parrot["config_schema"]["properties"]["tone"]["default"] == "kind"
    assert ada.get("/api/workers/parrot").json["worker"] == parrot
    assert ada.get("/api/workers/nobody").status_code == 404


def test_a_worker_of_a_pool_of_an_earlier_version_is_asked_again_later(ada: Client, core: Core) -> None:
    thread = ada.thread()
    named = {"worker_id": "newcomer"}

    def answers() -> list[tuple[int, str | None]]:
        path = f"/api/threads/{thread['id']}"
        asked = ada.ask(thread, **named), ada.patch(path, json=named), ada.get("/api/workers/newcomer")
        return [(answer.status_code, answer.headers.get("Retry-After")) for answer in asked]

    assert answers() == [(422, None), (422, None), (404, None)]
    report_pool(core, "python", 4, newcomer=None)
    until(lambda: answers() == [(503, "2")] * 3, what="the pools are looked at again")
    assert ada.get("/api/runs").json["items"] == []

    core.database.write(pools.withdraw, INCARNATION)
    until(lambda: answers()[0][0] == 422, what="no pool has it any more")


def test_a_run_says_that_no_process_of_its_pool_has_its_worker(ada: Client, core: Core) -> None:
    report_pool(core, "exec", 4, parrot=None)
    run = ada.ask(ada.thread()).json["runs"][0]
    report_pool(core, "exec", 4)

    queue = ada.get(f"/api/runs/{run['id']}").json["run"]["queue"]

    assert (queue["reason"], queue["pool_seen"]) == ("worker_not_seen", True)
    assert "has the worker 'parrot'" in queue["message"]


def test_the_input_must_be_a_state_of_the_thread_whose_run_has_ended(ada: Client) -> None:
    thread, other = ada.thread(), ada.thread()
    unfinished = ada.ask(thread).json["states"][0]["id"]

    assert ada.ask(thread, input_state_id=other["root_state_id"]).status_code == 404
    assert ada.ask(thread, input_state_id=unfinished).status_code == 409
    below = {"parent_id": unfinished, "messages": [{"role": "user", "content": "x"}]}
    assert ada.post(f"/api/threads/{thread['id']}/states", json=below).status_code == 409


def test_a_repeated_request_with_the_same_key_gets_the_first_answer(ada: Client) -> None:
    thread = ada.thread()
    body = {"input_state_id": thread["root_state_id"], "worker_id": "parrot"}
    path, key = f"/api/threads/{thread['id']}/runs", {"Idempotency-Key": "k1"}

    first = ada.post(path, json=body, headers=key)
    again = ada.post(
        path,
        data=b' {"worker_id":"parrot" , "input_state_id":"%b"}' % thread["root_state_id"].encode(),
        headers=key,
    )
    other = ada.post(path, json={**body, "n": 2}, headers=key)
    elsewhere = ada.post("/api/runs", json={"worker_id": "parrot"}, headers=key)

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json == first.json
    assert again.headers["Location"] == first.headers["Location"]
    assert (other.status_code, elsewhere.status_code) == (409, 409)
    assert len(ada.get("/api/runs").json["items"]) == 1


def test_an_idempotency_key_is_separate_for_each_user(ada: Client, bob: Client) -> None:
    key = {"Idempotency-Key": "k1"}

    ids = {
        client.post("/api/runs", json={"worker_id": "parrot"}, headers=key).json["runs"][0]["id"]
        for client in (ada, bob)
    }

    assert len(ids) == 2


def test_an_idempotency_key_stays_unused_when_its_request_is_refused(ada: Client) -> None:
    key = {"Idempotency-Key": "k1"}
    assert ada.post("/api/runs", json={"worker_id": "nobody"}, headers=key).status_code == 422
    assert ada.post("/api/runs", json={"worker_id": "parrot"}, headers=key).status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_invalid_idempotency_key_is_refused(ada: Client, key: str) -> None:
    answer = ada.post("/api/runs", json={"worker_id": "parrot"}, headers={"Idempotency-Key": key})

    assert answer.status_code == 422


@pytest.mark.parametrize("whose", ["USER", "POOL"])
def test_a_run_is_refused_with_retry_after_when_too_many_are_queued(
    web_environ: dict[str, str], request: pytest.FixtureRequest, whose: str
) -> None:
    web_environ[f"BRANCHLINE_LIMITS_QUEUED_PER_{whose}"] = "2"
    ada: Client = request.getfixturevalue("ada")
    thread = ada.thread()

    assert ada.ask(thread, n=2).status_code == 202
    answer = ada.ask(thread)

    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


def test_runs_are_listed_newest_first_and_filtered(ada: Client, core: Core) -> None:
    thread = ada.thread()
    first, second = ada.ask(thread).json["runs"][0], ada.ask(ada.thread()).json["runs"][0]
    Attempt(core, first["id"]).finish()

    def ids(query: str) -> list[str]:
        return [run["id"] for run in ada.get(f"/api/runs?{query}").json["items"]]

    assert ids("") == [second["id"], first["id"]]
    assert ids("status=success") == [first["id"]]
    assert ids(f"thread_id={thread['id']}") == ids(f"thread={thread['id']}") == [first["id"]]
    assert ids("worker=locked") == []
    page = ada.get("/api/runs?limit=1").json
    assert ids(f"limit=1&cursor={page['next']}") == [first["id"]]


def test_a_queued_run_says_what_it_waits_for(ada: Client, core: Core) -> None:
    first = ada.ask(ada.thread()).json["runs"][0]
    second = ada.ask(ada.thread()).json["runs"][0]

    queue = ada.get(f"/api/runs/{second['id']}").json["run"]["queue"]
    assert (queue["position"], queue["pool_seen"], queue["reason"]) == (2, False, "pool_not_seen")
    assert "No pool" in queue["message"]
    assert ada.get(f"/api/runs/{second['id']}/wait?timeout=0").json["run"]["queue"] == queue

    Attempt(core, first["id"])
    assert ada.get(f"/api/runs/{first['id']}").json["run"]["queue"] is None


def test_an_ended_run_has_its_messages_usage_log_and_attempts(ada: Client, core: Core) -> None:
    run_id = ada.ask(ada.thread()).json["runs"][0]["id"]
    attempt = Attempt(core, run_id)
    attempt.say("Hel", "lo")
    attempt.finish(usage={"input_tokens": 1, "output_tokens": 2}, log="warming up\n")

    result = ada.get(f"/api/runs/{run_id}/wait").json

    assert (result["run"]["status"], result["run"]["usage"]["output_tokens"]) == ("success", 2)
    assert [message["content"] for message in result["messages"]] == ["Hello"]
    assert ada.get(f"/api/runs/{run_id}/log").json["items"][0]["text"] == "warming up\n"
    [told] = ada.get(f"/api/runs/{run_id}/attempts").json["items"]
    assert (told["attempt"], told["messages"][0]["content"]) == (1, "Hello")
    assert told["steps"][0]["description"] == "thinking"


def test_a_failed_run_says_why(ada: Client, core: Core) -> None:
    run_id = ada.ask(ada.thread()).json["runs"][0]["id"]
    Attempt(core, run_id).finish(
        RunStatus.ERROR, RunError("worker_error", "No such city.", False, "Traceback")
    )

    error = ada.get(f"/api/runs/{run_id}").json["run"]["error"]

    assert error == {
        "code": "worker_error",
        "message": "No such city.",
        "retryable": False,
        "log_tail": "Traceback",
    }


def test_waiting_ends_after_its_timeout(ada: Client) -> None:
    run_id = ada.ask(ada.thread()).json["runs"][0]["id"]

    answer = ada.get(f"/api/runs/{run_id}/wait?timeout=0")

    assert (answer.status_code, answer.json["run"]["status"], answer.json["messages"]) == (200, "queued", [])


def test_a_queued_run_is_cancelled_before_it_starts(ada: Client, core: Core) -> None:
    run_id = ada.ask(ada.thread()).json["runs"][0]["id"]

    for body in (None, {}, {"wait": True}):
        answer = ada.post(f"/api/runs/{run_id}/cancel", json=body)
        assert (answer.status_code, answer.json["run"]["status"]) == (202, "cancelled")
    with pytest.raises(AssertionError, match="nothing to claim"):
        Attempt(core, run_id)


def test_cancelling_is_recorded_for_a_running_run_and_ignored_for_an_ended_one(
    ada: Client, core: Core
) -> None:
    run_id = ada.ask(ada.thread()).json["runs"][0]["id"]
    attempt = Attempt(core, run_id)

    running = ada.post(f"/api/runs/{run_id}/cancel").json["run"]
    assert running["status"] == "running"
    assert running["cancel_requested_at"] is not None

    attempt.finish()
    ended = ada.post(f"/api/runs/{run_id}/cancel")
    assert (ended.status_code, ended.json["run"]["status"]) == (202, "success")


@pytest.mark.parametrize("wait", ["yes", -1, 1e6, [], {}])
def test_cancel_accepts_true_or_seconds_to_wait(ada: Client, wait: Any) -> None:
    run_id = ada.ask(ada.thread()).json["runs"][0]["id"]

    assert ada.post(f"/api/runs/{run_id}/cancel", json={"wait": wait}).status_code == 422


def test_a_waiting_run_accepts_one_answer(ada: Client, core: Core) -> None:
    run_id = ada.ask(ada.thread()).json["runs"][0]["id"]
    Attempt(core, run_id).ask("Really?")
    waiting = ada.get(f"/api/runs/{run_id}").json["run"]
    assert (waiting["status"], waiting["confirmation"]["prompt"]) == ("waiting", "Really?")
    path = f"/api/runs/{run_id}/answer"

    assert ada.post(path, json={"confirmation_id": "another", "answer": "yes"}).status_code == 409
    assert ada.post(path, json={}).status_code == 422
    answer = ada.post(path, json={"answer": "yes"})

    assert (answer.status_code, answer.json["run"]["status"]) == (202, "queued")
    assert ada.post(path, json={"answer": "yes"}).status_code == 409


def test_an_answer_has_to_fit_the_schema_of_its_question(ada: Client, core: Core) -> None:
    run_id = ada.ask(ada.thread()).json["runs"][0]["id"]
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "count": {"type": "integer", "default": 3}},
        "required": ["name"],
    }
    Attempt(core, run_id).ask("How many?", schema=schema, digest="of the question")
    assert ada.get(f"/api/runs/{run_id}").json["run"]["confirmation"]["schema"] == schema
    path = f"/api/runs/{run_id}/answer"

    for wrong, at in [
        ("yes", "answer"),
        ({"count": 1}, "answer"),
        ({"name": "A", "count": "2"}, "answer.count"),
    ]:
        refused = ada.post(path, json={"answer": wrong})
        assert (refused.status_code, [error["path"] for error in refused.json["errors"]]) == (422, [at])
    assert ada.post(path, json={"confirmation_id": "another", "answer": "yes"}).status_code == 409
    assert ada.post(path, json={"answer": {"name": "Ada"}}).status_code == 202
    [answer] = stored_run(core, run_id).answers
    assert (answer["answer"], answer["digest"]) == ({"name": "Ada", "count": 3}, "of the question")


def test_a_run_is_accepted_while_redis_is_away(
    web_environ: dict[str, str], request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue("own_redis")
    web_environ["REDIS_URL"] = server.url
    ada: Client = request.getfixturevalue("ada")
    thread = ada.thread()
    server.kill()

    answer = ada.ask(thread)

    assert answer.status_code == 202
    assert ada.get(f"/api/runs/{answer.json['runs'][0]['id']}").json["run"]["status"] == "queued"
    snapshot = ada.get(f"/api/threads/{thread['id']}/snapshot")
    assert snapshot.status_code == 503
    assert int(snapshot.headers["Retry-After"]) > 0
    ready = ada.get("/readyz")
    assert ready.status_code == 503
    assert {missing["what"] for missing in ready.json["missing"]} == {"redis", "broker"}


def test_a_snapshot_contains_the_text_so_far_of_open_messages(ada: Client, core: Core) -> None:
    thread = ada.thread()
    run = ada.ask(thread).json["runs"][0]
    attempt = Attempt(core, run["id"])
    first = attempt.say("done")
    second = attempt.begin_message()
    attempt.write(second, "to be", " continued")
    attempt.save()

    snapshot = ada.get(f"/api/threads/{thread['id']}/snapshot?state={run['output_state_id']}").json

    assert [message["id"] for message in snapshot["messages"]][1:] == [first]
    [written] = snapshot["open"]
    assert (written["message"]["id"], written["message"]["content"], written["n"]) == (
        second,
        "to be continued",
        2,
    )
    assert [r["status"] for r in snapshot["runs"]] == ["running"]

    attempt.finish()
    snapshot = ada.get(f"/api/threads/{thread['id']}/snapshot?state={run['output_state_id']}").json
    assert snapshot["open"] == []
    assert snapshot["messages"][-1]["status"] == "partial"


def test_a_snapshot_contains_messages_of_unfinished_runs_on_other_branches(ada: Client, core: Core) -> None:
    thread = ada.thread()
    asked = ada.ask(thread, n=3).json
    shown, other, ended = (Attempt(core, run["id"]) for run in asked["runs"])
    said = other.say("thinking done")
    written = other.begin_message()
    other.write(written, "an answer")
    other.save()
    ended.say("an end")
    ended.finish()
    own = shown.say("thinking")

    snapshot = ada.get(f"/api/threads/{thread['id']}/snapshot?state={shown.run.output_state_id}").json

    assert [message["id"] for message in snapshot["messages"]][1:] == [own]
    assert [message["id"] for message in snapshot["other_branches"]] == [said]
    assert [one["message"]["id"] for one in snapshot["open"]] == [written]


def test_a_snapshot_is_consistent_when_a_run_ends_meanwhile(
    ada: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = ada.thread()
    run = ada.ask(thread).json["runs"][0]
    attempt = Attempt(core, run["id"])
    attempt.write(attempt.begin_message(), "the end")
    history = states.history

    def history_and_then_the_end(*args: Any, **kwargs: Any) -> states.History:
        found = history(*args, **kwargs)
        ending = threading.Thread(target=attempt.finish)  # on a connection of its own
        ending.start()
        ending.join()
        return found

    monkeypatch.setattr("web.api.threads.states.history", history_and_then_the_end)
    snapshot = ada.get(f"/api/threads/{thread['id']}/snapshot?state={run['output_state_id']}").json

    assert [one["message"]["content"] for one in snapshot["open"]] == ["the end"]
    assert [r["status"] for r in snapshot["runs"]] == ["running"]


def test_a_thread_loses_nothing_when_redis_loses_its_data(ada: Client, core: Core, redis_url: str) -> None:
    thread = ada.thread()
    run = ada.ask(thread).json["runs"][0]
    attempt = Attempt(core, run["id"])
    attempt.say("Hello")
    attempt.finish()
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()

    snapshot = ada.get(f"/api/threads/{thread['id']}/snapshot?state={run['output_state_id']}").json

    assert [message["content"] for message in snapshot["messages"]] == ["Hello", "Hello"]
