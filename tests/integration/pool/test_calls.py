"""Sub-runs, in a pool of one slot: what workers call is executed, and nothing waits for ever."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from runtime.testing.client import Client
from runtime.testing.postgresql_server import temporary_database
from runtime.testing.redis_server import RedisServer
from runtime.testing.sse import Received, Text
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.more_workers import FOLDER, with_workers

WITHIN = 60
SAY = {"way": "say"}


@pytest.fixture(
    scope="module",
    params=[
        "redis-postgresql",
        pytest.param("rabbitmq-sqlite", marks=[pytest.mark.rabbitmq, pytest.mark.slow]),
        pytest.param("redis-sqlite", marks=pytest.mark.soak),
        pytest.param("rabbitmq-postgresql", marks=[pytest.mark.rabbitmq, pytest.mark.soak]),
    ],
)
def services(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The kinds of broker and database; CI tries each of them in one of two, and `make soak` all four."""
    broker, database = request.param.split("-")
    return broker, database


@pytest.fixture(scope="module")
def broker_url(request: pytest.FixtureRequest, stack_redis: RedisServer, services: tuple[str, str]) -> str:
    return stack_redis.url if services[0] == "redis" else request.getfixturevalue("rabbitmq").url


@contextmanager
def database_in(home: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a new database of the kind that is tried."""
    if request.getfixturevalue("services")[1] == "sqlite":
        yield f"sqlite:///{home}/branchline.db"
        return
    with temporary_database(request.getfixturevalue("postgresql_server"), durable=False) as url:
        yield url


@pytest.fixture(scope="module")
def stack(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    stack_redis: RedisServer,
    broker_url: str,
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    settings = {
        "BROKER_URL": broker_url,
        "BRANCHLINE_POOL_SLOTS": "1",
        "BRANCHLINE_RUN_RETRY_BACKOFF": "0",
        "BRANCHLINE_POOL_LEASE": "4",
        "BRANCHLINE_POOL_RENEW": "1",
        "WORKERS_PATH": with_workers(home, "team", "program"),
    }
    with (
        database_in(home, request) as database_url,
        Stack(home, database_url, stack_redis.url, **settings) as stack,
    ):
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with_account = stack.client()
    yield with_account
    with_account.close()


def ask(client: Client, way: str, text: str = "go", **args: Any) -> dict[str, Any]:
    """A run of the worker that calls itself."""
    asked = client.ask(client.thread(), text, worker_id="team", args={"way": way, **args})
    return asked["runs"][0]  # type: ignore[no-any-return]


def text_of(client: Client, run: dict[str, Any]) -> str:
    ended = client.wait(run, WITHIN)
    assert ended["run"]["status"] == "success", ended["run"]["error"]
    return "|".join(message["content"] for message in ended["messages"] if message["type"] == "text")


def test_sub_runs_below_each_other_need_no_more_than_one_slot(client: Client) -> None:
    assert text_of(client, ask(client, "chain", depth=3)) == "3:success:2:success:1:success:bottom"


def test_under_load_no_run_waits_for_ever(client: Client) -> None:
    asked = [ask(client, "chain", depth=3) for _ in range(8)]

    texts = {text_of(client, run) for run in asked}

    assert texts == {"3:success:2:success:1:success:bottom"}


@pytest.mark.parametrize("way", ["gather", "threads", "ahead"])
def test_calls_are_made_at_once(client: Client, way: str) -> None:
    assert text_of(client, ask(client, way, count=6)) == "n0,n1,n2,n3,n4,n5"


@pytest.mark.parametrize("way", ["follow", "astream"])
def test_the_text_of_a_call_comes_as_it_is_written(client: Client, way: str) -> None:
    args = {"last": SAY} if way == "follow" else {"said": "one two three"}

    said = text_of(client, ask(client, way, **args))

    assert said == ("said: one two three ." if way == "follow" else "one two three ")


def test_a_piece_of_text_arrives_before_the_sub_run_has_ended(client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    last = {"way": "follow", "last": {"way": "hold", "until": str(gate)}}
    run = ask(client, "follow", last=last)
    with client.stream(f"/api/runs/{run['id']}/events") as events:
        so_far = ""
        for event in events:
            so_far += event.data.get("text", "") if event.type == "message.delta" else ""
            if so_far == "said: said: ":
                gate.touch()
    assert so_far == "said: said: held.."


def test_a_failure_comes_back_as_a_value(client: Client) -> None:
    run = ask(client, "chain", depth=1, last={"way": "fail"})

    assert text_of(client, run) == "1:error:"


@pytest.mark.parametrize("worker", ["nobody", "program"])
def test_what_cannot_be_called_comes_back_as_a_value(client: Client, worker: str) -> None:
    config = None if worker == "nobody" else {"steps": "many"}

    assert text_of(client, ask(client, "unknown", worker=worker, config=config)) == "error None call_refused"


def test_sub_runs_that_would_be_too_deep_are_refused_as_a_value(client: Client) -> None:
    said = text_of(client, ask(client, "chain", depth=6))

    assert said == "6:success:5:success:4:success:3:success:2:success:1:error:"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_later_attempt_finds_the_sub_run_and_its_result(client: Client, tmp_path: Path, when: str) -> None:
    run = ask(client, "die", marker=str(tmp_path / "marker"), last=SAY, when=when)

    ended = client.wait(run, WITHIN)["run"]
    assert (ended["status"], ended["attempt"]) == ("success", 2)


def test_a_call_that_asks_for_something_else_in_a_later_attempt_ends_the_run(client: Client) -> None:
    run = ask(client, "changed")

    ended = client.wait(run, WITHIN)["run"]
    assert ended["status"] == "error"
    assert "asked for something else" in ended["error"]["message"]


def test_cancelling_the_top_leaves_nothing_alive(client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = ask(client, "chain", depth=3, last={"way": "hold", "until": str(gate)})
    until(lambda: list(tmp_path.iterdir()), WITHIN, "the deepest one has begun")
    [begun] = tmp_path.iterdir()
    deepest = {"id": begun.name.removeprefix("gate.")}

    client.post(f"/api/runs/{run['id']}/cancel", json={"wait": 10})

    assert client.wait(run, WITHIN)["run"]["status"] == "cancelled"
    until(lambda: client.run(deepest)["status"] == "cancelled", WITHIN, "the deepest one has ended")
    assert text_of(client, ask(client, "say", "again")) == "again ", "the slot is free again"


def waiting(client: Client, run: dict[str, Any]) -> dict[str, Any]:
    """The question that a run waits with."""
    until(lambda: client.run(run)["status"] == "waiting", WITHIN, "the run waits")
    return client.run(run)["confirmation"]  # type: ignore[no-any-return]


def children(client: Client, run: dict[str, Any]) -> list[dict[str, Any]]:
    return client.get(f"/api/runs/{run['id']}/children").json()["items"]  # type: ignore[no-any-return]


def answer(client: Client, run: dict[str, Any], given: str = "yes") -> None:
    client.post(f"/api/runs/{run['id']}/answer", json={"answer": given}).raise_for_status()


@pytest.mark.parametrize("whom", ["top", "bottom"])
def test_a_question_from_below_waits_at_the_top_and_its_answer_goes_down(client: Client, whom: str) -> None:
    run = ask(client, "chain", depth=2, last={"way": "ask", "prompt": "Shall I?"})

    question = waiting(client, run)
    [child] = children(client, run)
    [bottom] = children(client, child)
    assert (question["prompt"], question["options"], question["run_id"]) == (
        "Shall I?",
        ["yes", "no"],
        child["id"],
    )
    assert [client.run(one)["status"] for one in (child, bottom)] == ["waiting", "waiting"]
    assert text_of(client, ask(client, "say", "meanwhile")) == "meanwhile ", "no slot is held"
    answer(client, run if whom == "top" else bottom)

    assert text_of(client, run) == "2:success:1:success:answered yes"
    assert len(children(client, run)) == 1


def test_what_was_said_before_a_question_from_below_is_said_once(client: Client) -> None:
    last = {"way": "follow", "last": {"way": "ask", "prompt": "Shall I?", "before": "let me see: "}}
    run = ask(client, "follow", last=last)
    waiting(client, run)
    answer(client, run, "no")

    ended = client.wait(run, WITHIN)["messages"]
    said = [(message["type"], message["content"]) for message in ended]
    assert said == [
        ("text", "said: said: let me see: "),
        ("confirmation", "Shall I?"),
        ("text", "answered no.."),
    ]


def test_several_questions_from_below_are_asked_one_after_the_other(client: Client) -> None:
    asks = [{"way": "ask", "prompt": f"Question {number}?"} for number in (1, 2)]
    run = ask(client, "both", last=asks)

    for number in (1, 2):
        until(
            lambda n=number: (client.run(run)["confirmation"] or {}).get("prompt") == f"Question {n}?",
            WITHIN,
            "it asks",
        )
        answer(client, run, f"a{number}")
    assert text_of(client, run) == "[0| answered a1][1| answered a2]"


def test_questions_of_calls_at_once_are_all_answered(client: Client) -> None:
    run = ask(client, "gather", count=3, below={"way": "ask", "prompt": "Shall I?"})
    answered = 0

    def answer_all() -> bool:
        nonlocal answered
        found = client.run(run)
        if found["status"] == "waiting":
            answer(client, run)
            answered += 1
        return found["finished_at"] is not None

    until(answer_all, WITHIN, "it has ended")
    assert text_of(client, run) == "answered yes,answered yes,answered yes"
    assert answered == 3


def test_sub_runs_are_shown_below_their_run_and_nowhere_else(stack: Stack, client: Client) -> None:
    run = ask(client, "chain", depth=2)
    events = [event for event in client.follow(run) if event.type == "run.child"]
    [child] = children(client, run)

    [told] = events
    assert (told.data["child_run_id"], told.data["call_id"]) == (child["id"], "team#1")
    assert (child["parent_run_id"], child["status"]) == (run["id"], "success")
    assert client.follow(child)[-1].type == "run.completed"
    said = client.get(f"/api/states/{child['output_state_id']}/messages").json()["items"]
    assert said[-1]["content"] == "1:success:bottom"
    assert child["id"] not in client.get("/api/runs").text
    assert child["thread_id"] not in client.get("/api/threads", params={"limit": 100}).text
    assert client.get("/api/threads", params={"query": "bottom"}).json()["items"][0]["id"] == run["thread_id"]
    assert len(client.get("/api/threads", params={"query": "bottom"}).json()["items"]) == 1
    assert client.get(f"/api/threads/{child['thread_id']}").status_code == 404
    assert child["id"] not in client.get(f"/api/threads/{run['thread_id']}/export").text
    stranger = stack.client()
    paths = (
        f"/api/runs/{run['id']}/children",
        f"/api/runs/{child['id']}",
        f"/api/runs/{child['id']}/children",
    )
    assert [stranger.get(path).status_code for path in paths] == [404, 404, 404]
    stranger.close()


def test_a_run_shows_what_all_below_it_have_used(client: Client) -> None:
    run = ask(client, "spend", depth=2)

    assert text_of(client, run) == "spent {'tokens': 1} below {'tokens': 1}"
    shown, [child] = client.run(run), children(client, run)
    [grandchild] = children(client, child)
    used = [(one["usage"], one["usage_below"]) for one in (shown, child, grandchild)]
    assert used == [({"tokens": 1}, {"tokens": 2}), ({"tokens": 1}, {"tokens": 1}), ({"tokens": 1}, None)]


def test_a_cancelled_sub_run_is_a_result_of_its_caller_at_once(client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = ask(client, "chain", depth=1, last={"way": "hold", "until": str(gate)})
    until(lambda: list(tmp_path.iterdir()), WITHIN, "the sub-run has begun")
    [child] = children(client, run)

    client.post(f"/api/runs/{child['id']}/cancel", json={})

    assert text_of(client, run) == "1:cancelled:"


def line_of(client: Client, run: dict[str, Any]) -> list[dict[str, Any]]:
    """A run and what is below it, one below the other."""
    below = children(client, run)
    return [run, *line_of(client, below[0])] if below else [run]


def told(events: list[Received]) -> dict[str, list[object]]:
    """What a stream tells, by type of event, the deltas of a message as one."""
    found: dict[str, list[object]] = {}
    text = Text()
    for event in events:
        text.apply(event)
        data = event.data
        names = ("attempt", "child_run_id", "message_id", "description", "status", "message", "confirmation")
        about = {name: data[name] for name in names if name in data}
        about |= {"message": data["message"]["id"]} if "message" in data else {}
        about |= {"confirmation": data["confirmation"]["prompt"]} if "confirmation" in data else {}
        if event.type != "message.delta":
            found.setdefault(event.type, []).append(about)
    return {**found, "text": sorted(text.complete.items())}


def test_a_stream_that_is_told_again_from_the_database_tells_the_same(
    client: Client, stack_redis: RedisServer
) -> None:
    run = ask(client, "everything")
    body = {"messages": [{"role": "user", "content": "And birds?"}]}
    client.post(f"/api/runs/{run['id']}/messages", json=body).raise_for_status()
    waiting(client, run)
    answer(client, run)
    live = client.follow(run)
    with redis.Redis.from_url(stack_redis.url) as connection:
        connection.delete(*connection.keys(f"*{run['thread_id']}*"))

    again = client.follow(run)

    assert again[0].id != live[0].id
    assert told(again) == told(live)
    assert {len(found) for type, found in told(live).items() if type in ("run.child", "run.step")} == {2}
    assert len(told(live)["run.message_delivered"]) == 1


@pytest.mark.parametrize("killed", [False, True])
def test_a_sub_run_that_is_cancelled_takes_its_question_back_from_all_above_it(
    stack: Stack, client: Client, killed: bool
) -> None:
    last = {"way": "ask", "prompt": "Shall I?", "before": "let me see: "}
    run = ask(client, "follow", last={"way": "follow", "last": {"way": "follow", "last": last}})
    question = waiting(client, run)
    line = line_of(client, run)

    if killed:
        os.kill(stack.pool_process(), signal.SIGKILL)
    client.post(f"/api/runs/{line[-1]['id']}/cancel", json={}).raise_for_status()
    late = client.post(
        f"/api/runs/{run['id']}/answer", json={"answer": "yes", "confirmation_id": question["id"]}
    )

    assert late.status_code == 409, late.text
    ended = client.wait(run, WITHIN)
    assert ended["run"]["status"] == "success", ended["run"]["error"]
    said = [(m["type"], m["content"], m["data"].get("withdrawn")) for m in ended["messages"]]
    assert said == [
        ("text", "said: said: said: let me see: ", None),
        ("confirmation", "Shall I?", True),
        ("text", "...", None),
    ]
    assert [client.run(one)["status"] for one in line] == ["success"] * 3 + ["cancelled"]
    assert [one["id"] for one in line_of(client, run)] == [one["id"] for one in line]
    asked = [event for event in client.follow(run) if event.type == "run.waiting"]
    assert len(asked) == 1


def test_a_run_that_is_cancelled_between_others_ends_what_is_below_and_frees_what_is_above(
    client: Client,
) -> None:
    run = ask(client, "chain", depth=3, last={"way": "ask", "prompt": "Shall I?"})
    waiting(client, run)
    line = line_of(client, run)

    client.post(f"/api/runs/{line[1]['id']}/cancel", json={}).raise_for_status()

    assert text_of(client, run) == "3:cancelled:"
    assert [client.run(one)["status"] for one in line] == ["success"] + ["cancelled"] * 3


@pytest.mark.parametrize("asks", [False, True])
def test_a_pool_process_that_is_killed_in_a_sub_run_costs_no_sub_run(
    stack: Stack, client: Client, tmp_path: Path, asks: bool
) -> None:
    gate = tmp_path / "gate"
    last: dict[str, Any] = {"way": "hold", "until": str(gate)}
    if asks:
        last = {"way": "both", "last": [last, {"way": "ask", "prompt": "Shall I?"}]}
    run = ask(client, "chain", depth=2, last=last)
    until(lambda: list(tmp_path.iterdir()), WITHIN, "the deepest one has begun")
    [child] = children(client, run)
    [grandchild] = children(client, child)

    os.kill(stack.pool_process(), signal.SIGKILL)
    gate.touch()

    if asks:
        waiting(client, run)
        answer(client, run)
    held = "[0 held][1\n\n answered yes]" if asks else "held"
    assert text_of(client, run) == f"2:success:1:success:{held}"
    assert [one["id"] for one in children(client, run)] == [child["id"]]
    assert [one["id"] for one in children(client, child)] == [grandchild["id"]]
    assert client.run(grandchild)["failures"] == 1


@pytest.fixture(scope="module")
def two_pools(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    stack_redis: RedisServer,
    broker_url: str,
) -> Iterator[Stack]:
    """Two pools of one slot each; the second has the same worker, with ten attempts and with two.

    Their database is their own: the pool of the other tests knows neither these workers nor their queues.
    """
    home = tmp_path_factory.mktemp("two-pools")
    team, folder = FOLDER / "team", home / "workers"
    for id, attempts in (("team2", 10), ("team3", 2)):
        shutil.copytree(team, folder / id, ignore=shutil.ignore_patterns("__pycache__"))
        manifest = (team / "worker.toml").read_text().replace('id = "team"', f'id = "{id}"\npool = "second"')
        manifest = manifest.replace("max_attempts = 10", f"max_attempts = {attempts}")
        (folder / id / "worker.toml").write_text(manifest)
    settings = {
        "BROKER_URL": broker_url,
        "BRANCHLINE_POOL_SLOTS": "1",
        "BRANCHLINE_INSTALLATION": "two-pools",
        "BRANCHLINE_RUN_RETRY_BACKOFF": "0",
        "WORKERS_PATH": with_workers(home, "team"),
    }
    pools = ("python", "second")
    with (
        database_in(home, request) as database_url,
        Stack(home, database_url, stack_redis.url, pools, **settings) as stack,
    ):
        yield stack


def test_two_pools_of_one_slot_that_call_each_other_do_not_wait_for_ever(two_pools: Stack) -> None:
    client = two_pools.client()
    downs = [["team2", "team", "team2"], ["team", "team2", "team"]]
    asked = [
        client.ask(client.thread(), "go", worker_id=worker, args={"way": "zigzag", "way_down": down})["runs"][
            0
        ]
        for _ in range(4)
        for worker, down in zip(("team", "team2"), downs, strict=True)
    ]

    texts = {text_of(client, run) for run in asked}

    client.close()
    assert texts == {f"{' '.join(down)} bottom" for down in downs}


def test_a_run_in_an_isolated_process_calls_into_a_pool_of_one_slot(two_pools: Stack, tmp_path: Path) -> None:
    client = two_pools.client()
    args = {"way": "later", "marker": str(tmp_path / "marker")}
    run = client.ask(client.thread(), "go", worker_id="team3", args=args)["runs"][0]

    assert text_of(client, run) == "below "
    assert client.run(run)["attempt"] == 2
    client.close()


def test_several_processes_of_one_slot_share_the_sub_runs(stack: Stack, client: Client) -> None:
    stack.start("pool python", "second pool")
    try:
        asked = [ask(client, "gather", count=5, below={"way": "chain", "depth": 2}) for _ in range(4)]
        texts = {text_of(client, run) for run in asked}
    finally:
        stack.kill("second pool", signal.SIGTERM)
    assert texts == {",".join(["2:success:1:success:bottom"] * 5)}
