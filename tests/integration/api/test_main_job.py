"""The main job over HTTP, against real processes: ask, watch, branch, cancel.

All of it once on SQLite with Redis as the broker and once on PostgreSQL with RabbitMQ,
which differ by DATABASE_URL and BROKER_URL alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest

from runtime.testing.redis_server import RedisServer
from runtime.testing.sse import Text
from runtime.testing.stack import Stack


@pytest.fixture(
    scope="module",
    params=["sqlite-redis", pytest.param("postgresql-rabbitmq", marks=pytest.mark.rabbitmq)],
)
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    if request.param == "sqlite-redis":
        database_url, broker_url = f"sqlite:///{home}/branchline.db", stack_redis.url
    else:
        database_url = request.getfixturevalue("stack_postgresql_url")
        broker_url = request.getfixturevalue("rabbitmq").url
    pools = ("python", "exec")
    with Stack(home, database_url, stack_redis.url, pools, BROKER_URL=broker_url) as stack:
        yield stack


def test_the_stream_of_an_answer_equals_the_stored_answer(client):
    thread = client.thread(title="First")
    asked = client.ask(
        thread,
        "  Leading spaces,\n\nlines, \u2028 separators and 👩‍👩‍👧 stay.",
        config={"piece": "character"},
    )
    [run] = asked["runs"]

    events = client.follow(run)
    text = Text()
    for event in events:
        text.apply(event)

    types = [event.type for event in events]
    assert types[:2] == ["run.queued", "run.started"]
    assert types[-2:] == ["message.completed", "run.completed"]
    epoch, _, _ = events[0].id.partition(":")
    with client.stream(f"/api/threads/{thread['id']}/events", after=f"{epoch}:0") as log:
        entries = list(islice(log, events[-1].data["seq"]))
    assert [entry.data["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert [entry.id for entry in entries if entry.type != "state.created"] == [event.id for event in events]
    result = client.wait(run)
    assert result["run"]["status"] == "success"
    assert [m["content"] for m in result["messages"]] == list(text.messages.values())
    assert result["messages"][0]["content"].startswith("  Leading spaces,\n\n")


def test_editing_a_question_adds_a_branch_and_keeps_the_other(client):
    thread = client.thread()
    first = client.ask(thread, "one")
    client.wait(first["runs"][0])
    second = client.ask(thread, "two", state=thread["root_state_id"])
    client.wait(second["runs"][0])

    def history(asked):
        return client.get(f"/api/states/{asked['states'][0]['id']}/messages").json()

    assert [m["content"] for m in history(first)["items"]] == ["one", "one"]
    assert [m["content"] for m in history(second)["items"]] == ["two", "two"]
    fork = history(second)["states"][second["input_state"]["id"]]
    assert (fork["ordinal"], fork["sibling_count"]) == (1, 2)
    assert fork["previous_id"] == first["input_state"]["id"]


def test_regenerating_adds_siblings_below_the_same_question(client):
    thread = client.thread()
    asked = client.ask(thread, "again")
    client.wait(asked["runs"][0])
    more = client.ask(thread, None, state=asked["input_state"]["id"], n=3)
    for run in more["runs"]:
        assert client.wait(run)["run"]["status"] == "success"

    assert [state["ordinal"] for state in more["states"]] == [1, 2, 3]
    assert {state["parent_id"] for state in more["states"]} == {asked["input_state"]["id"]}


def test_a_conversation_continues_from_an_answer(client):
    thread = client.thread()
    first = client.ask(thread, "one")
    client.wait(first["runs"][0])
    second = client.ask(thread, "two", state=first["states"][0]["id"])
    client.wait(second["runs"][0])

    items = client.get(f"/api/states/{second['states'][0]['id']}/messages").json()["items"]
    assert [(m["role"], m["content"]) for m in items] == [
        ("user", "one"),
        ("assistant", "one"),
        ("user", "two"),
        ("assistant", "two"),
    ]


def test_a_run_below_an_unfinished_run_is_refused(client):
    thread = client.thread()
    asked = client.ask(thread, "slow " * 100, config={"delay_ms": 100})

    answer = client.post(
        f"/api/threads/{thread['id']}/runs",
        json={"input_state_id": asked["states"][0]["id"], "worker_id": "echo", "messages": []},
    )
    client.post(f"/api/runs/{asked['runs'][0]['id']}/cancel")

    assert answer.status_code == 409


def test_a_cancelled_run_keeps_its_text_so_far(client):
    thread = client.thread()
    asked = client.ask(thread, "word " * 200, config={"delay_ms": 50})
    [run] = asked["runs"]
    with client.stream(f"/api/runs/{run['id']}/events") as events:
        for event in events:
            if event.type == "message.delta":
                break
    answer = client.post(f"/api/runs/{run['id']}/cancel")
    result = client.wait(run)

    assert answer.status_code == 202
    assert result["run"]["status"] == "cancelled"
    [message] = result["messages"]
    assert message["status"] == "partial"
    assert ("word " * 200).startswith(message["content"])
    assert message["content"]
    again = client.post(f"/api/runs/{run['id']}/cancel")
    assert (again.status_code, again.json()["run"]["status"]) == (202, "cancelled")


def test_every_cut_of_a_stream_can_be_resumed(client):
    thread = client.thread()
    asked = client.ask(thread, "abcdefghij", config={"piece": "character", "delay_ms": 10})
    [run] = asked["runs"]
    whole = client.follow(run)

    for cut, event in enumerate(whole[:-1]):
        rest = client.follow(run, after=event.id)
        assert [e.id for e in rest] == [e.id for e in whole[cut + 1 :]]
    ended = client.get(f"/api/runs/{run['id']}/events", headers={"Last-Event-ID": whole[-1].id})
    assert ended.status_code == 204
