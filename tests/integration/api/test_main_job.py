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
from tests.support.more_workers import with_workers


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
    more = {"BROKER_URL": broker_url, "WORKERS_PATH": with_workers(home, "filer")}
    with Stack(home, database_url, stack_redis.url, pools, **more) as stack:
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


def upload(client, content, name):
    answer = client.post("/api/files", files={"file": (name, content)})
    assert answer.status_code == 201, answer.text
    return answer.json()["file"]


def filer(client, way, *files, thread=None, state=None):
    """A run of the worker that handles files; once it has ended, with its messages."""
    named = [file["id"] for file in files]
    asked = client.ask(
        thread or client.thread(), None, state, worker_id="filer", args={"way": way},
        messages=[{"role": "user", "content": "go", "files": named}],
    )  # fmt: skip
    ended = client.wait(asked["runs"][0], 60)
    assert ended["run"]["status"] == "success", ended["run"]
    return ended


def test_a_run_reads_the_files_that_its_messages_name(client):
    files = [
        upload(client, b"\x89PNG\r\n\x1a\n"[:4] + b"no picture", "a.png"),
        upload(client, b"x,y\n", "b.csv"),
    ]
    assert files[0]["type"] == "application/octet-stream"

    refused = client.post(
        "/api/runs",
        json={
            "worker_id": "filer",
            "messages": [{"role": "user", "content": "", "files": [files[0]["id"]]}],
        },
    )
    assert refused.status_code == 422
    assert "takes image/*, text/* only" in refused.json()["detail"]
    ended = filer(client, "read", files[1])
    assert [message["content"] for message in ended["messages"]] == ["b.csv text/csv 4 x,y\n;"]
    history = client.get(f"/api/states/{ended['run']['output_state_id']}/messages").json()["items"]
    assert history[0]["files"] == [{key: files[1][key] for key in ("id", "name", "type", "size")}]
    assert client.delete(f"/api/files/{files[1]['id']}").status_code == 409


def test_a_run_makes_files(client):
    ended = filer(client, "make")

    shown = [(m["content"], m["files"][0]["name"], m["files"][0]["type"]) for m in ended["messages"]]
    assert shown == [("Here it is.", "notes.csv", "text/csv"), ("And this.", "made.txt", "text/plain")]
    read = client.get(f"/api/files/{ended['messages'][1]['files'][0]['id']}/content")
    assert read.content == b"from the disk"


def test_what_a_lost_attempt_has_made_is_not_made_twice(client):
    ended = filer(client, "crash")

    assert ended["run"]["attempt"] > 1
    [message] = ended["messages"]
    assert [file["id"] for file in client.get("/api/files").json()["items"]] == [message["files"][0]["id"]]


@pytest.mark.parametrize(
    ("way", "text"),
    [
        ("call", "a.txt text/plain 5 asked;passed.txt text/plain 9 passed on;"),
        ("from below", "notes.csv a,b\n"),
    ],
)
def test_files_go_to_sub_runs_and_come_back(client, way, text):
    ended = filer(client, way, upload(client, b"asked", "a.txt"))

    assert [message["content"] for message in ended["messages"]] == [text]


def test_a_message_to_a_run_under_way_brings_files(client):
    file = upload(client, b"later", "a.txt")
    [run] = client.ask(client.thread(), "go", worker_id="filer", args={"way": "inbox"})["runs"]
    sent = {"messages": [{"role": "user", "content": "See", "files": [file["id"]]}]}

    queued = client.post(f"/api/runs/{run['id']}/messages", json=sent).json()["messages"]

    assert queued[0]["files"][0]["name"] == "a.txt"
    ended = client.wait(run, 60)
    assert [message["content"] for message in ended["messages"]] == ["See", "a.txt later"], ended["run"]
    assert ended["messages"][0]["files"] == queued[0]["files"]


def test_a_file_that_the_thread_does_not_have_is_left_out(client):
    ended = filer(client, "stray")

    assert [(m["content"], m["files"]) for m in ended["messages"]] == [("none", [])]
    log = client.get(f"/api/runs/{ended['run']['id']}/log").json()["items"][0]["text"]
    assert "its thread has no file" in log
