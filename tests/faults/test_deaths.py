"""Any process may die: runs go on, and nothing that was read is lost or doubled."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until
from tests.support.metrics import figure
from tests.support.more_workers import with_workers
from tests.support.reader import Reader

WORDS = " ".join(f"word{number}" for number in range(60))
SLOW = {"delay_ms": 50}


QUICK = {"BRANCHLINE_POOL_LEASE": "8", "BRANCHLINE_POOL_RENEW": "1", "BRANCHLINE_POOL_DRAIN": "0.5"}


@pytest.fixture(scope="module")
def whole_stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_database_url: str
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    paths = with_workers(home, "tally")
    with Stack(home, stack_database_url, stack_redis.url, WORKERS_PATH=paths, **QUICK) as stack:
        yield stack


@pytest.fixture
def stack(whole_stack: Stack) -> Stack:
    whole_stack.mend()
    return whole_stack


def ask(client: Client, text: str = WORDS, **more) -> tuple[dict, Reader]:
    asked = client.ask(client.thread(), text, config=SLOW, **more)
    reader = Reader(client, asked["runs"][0])
    until(lambda: reader.deltas() > 3, what="the answer has begun")
    return asked["runs"][0], reader


def assert_whole(client: Client, run: dict, reader: Reader, *, attempt: int) -> None:
    events = reader.wait()
    result = client.wait(run)
    assert (result["run"]["status"], result["run"]["attempt"]) == ("success", attempt)
    assert [message["content"] for message in result["messages"]] == [WORDS]
    assert list(reader.text.messages.values()) == [WORDS]
    numbers = [event.data["seq"] for event in events if "seq" in event.data]
    assert len(numbers) == len(set(numbers))


def test_a_killed_pool_process_hands_its_run_on(stack, client):
    run, reader = ask(client)

    os.kill(stack.pool_process(), signal.SIGKILL)

    assert_whole(client, run, reader, attempt=2)
    [retried] = [event for event in reader.events if event.type == "run.retried"]
    assert retried.data["discarded"]
    attempts = client.get(f"/api/runs/{run['id']}/attempts").json()["items"]
    assert WORDS.startswith(attempts[0]["messages"][0]["content"])
    assert attempts[0]["messages"][0]["content"]
    of = {"pool": "python", "worker": "echo"}
    until(lambda: figure(client, "reaps_total", **of) >= 1)
    until(lambda: figure(client, "first_delta_seconds_count", **of) >= 1)


def test_a_step_that_was_taken_before_its_pool_was_killed_is_not_taken_again(stack, client, tmp_path):
    ledger = tmp_path / "ledger"
    config = {"mode": "once", "count": 6, "path": str(ledger)}
    asked = client.ask(client.thread(), "", worker_id="fake", config=config)
    run = asked["runs"][0]
    reader = Reader(client, run)

    until(lambda: client.run(run)["status"] == "waiting", what="it has asked")
    client.post(f"/api/runs/{run['id']}/answer", json={"answer": "yes"})

    reader.wait()
    result = client.wait(run)
    paid = "".join(f"paid {number} " for number in range(6))
    assert (result["run"]["status"], result["run"]["failures"]) == ("success", 1)
    assert [message["content"] for message in result["messages"]] == [paid, "Shall I?", "yes"]
    assert list(reader.text.messages.values()) == [paid, "Shall I?", "yes"]
    assert ledger.read_text().split() == list("012345")
    assert result["run"]["usage"] == {"paid": 6}


@pytest.mark.parametrize("discard", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_attempt_goes_on_with_the_text_of_a_lost_one(stack, client, discard):
    counted = "".join(f"{number} " for number in range(30))
    config = {"kill_at": 12, "discard": discard}
    run = client.ask(client.thread(), "Count", worker_id="tally", config=config)["runs"][0]
    reader = Reader(client, run)

    events = reader.wait()
    result = client.wait(run)
    assert (result["run"]["status"], result["run"]["failures"]) == ("success", 1)
    assert [message["content"] for message in result["messages"]] == ["Let me count.", counted]
    assert list(reader.text.messages.values()) == ["Let me count.", counted]
    retried = [event.data for event in events if event.type == "run.retried"]
    if discard:
        assert retried[-1]["discarded"]
    else:
        [lost] = retried
        again = [event.data["run"] for event in events if event.type == "run.queued"][-1]
        assert (again["attempt"], again["last_failure"]["code"]) == (1, "lost")
        assert (lost["discarded"], len(lost["continued"])) == ([], 1)
        assert sum(event.type == "message.created" for event in events) == 2
        deltas = [event.data["text"] for event in events if event.type == "message.delta"]
        assert "".join(deltas) == "Let me count." + counted


def test_what_a_worker_keeps_follows_its_branch_and_survives_questions_and_crashes(stack, client):
    thread = client.thread()

    def tell(text: str, state: str | None = None, **config) -> tuple[str, str]:
        asked = client.ask(thread, text, state, worker_id="fake", config={"mode": "remember", **config})
        run = asked["runs"][0]
        if text == "ask":
            until(lambda: client.run(run)["status"] == "waiting", what="it has asked")
            os.kill(stack.pool_process(), signal.SIGKILL)
            client.post(f"/api/runs/{run['id']}/answer", json={"answer": "yes"})
        answered = client.wait(run, timeout=60)
        assert answered["run"]["status"] == "success"
        return answered["messages"][-1]["content"], run["output_state_id"]

    first, one = tell("one")
    second, two = tell("two", one)
    asked, three = tell("ask", two)
    edited, _ = tell("other", one)
    assert (first, second, asked, edited) == ("one", "one two", "one two ask", "one other")

    echoed = client.ask(thread, "to another worker", three)["runs"][0]
    client.wait(echoed)
    assert tell("last", echoed["output_state_id"])[0] == "one two ask last"
    shown = client.get(f"/api/states/{two}").json()["state"]
    assert shown["data"] == {"heard": ["one", "two"]}
    assert client.get(f"/api/states/{thread['root_state_id']}").json()["state"]["data"] is None


def test_a_killed_guardian_takes_its_pool_process_with_it_and_the_run_goes_on(stack, client):
    run, reader = ask(client)

    stack.kill("pool python")
    stack.start("pool python")

    assert_whole(client, run, reader, attempt=2)


def test_a_terminated_pool_hands_its_run_back_without_a_failure(stack, client):
    run, reader = ask(client)

    stack.kill("pool python", signal.SIGTERM)
    stack.start("pool python")

    assert_whole(client, run, reader, attempt=2)
    assert client.wait(run)["run"]["failures"] == 0


@pytest.mark.slow
def test_a_suspended_pool_writes_nothing_after_it_resumes(stack, client):
    run, reader = ask(client)
    zombie = stack.pool_process()
    suspended = (stack.processes["pool python"].pid, zombie)  # its guardian as well, as with a machine

    for pid in suspended:
        os.kill(pid, signal.SIGSTOP)
    stack.start("pool python", key="second pool")
    try:
        until(lambda: client.get(f"/api/runs/{run['id']}").json()["run"]["attempt"] == 2)
    finally:
        for pid in suspended:
            os.kill(pid, signal.SIGCONT)

    assert_whole(client, run, reader, attempt=2)
    assert stack.pool_process() == zombie
    second = stack.processes["second pool"]
    os.killpg(second.pid, signal.SIGKILL)  # at once, so that it claims no run of the next test
    second.wait(30)


def test_a_pool_process_that_hangs_is_replaced_and_its_run_goes_on(stack, client):
    run, reader = ask(client)
    hanging = stack.pool_process()

    os.kill(hanging, signal.SIGSTOP)

    assert_whole(client, run, reader, attempt=2)
    assert stack.pool_process() != hanging
    assert "it does not answer; it is killed" in stack.log("pool python")


@pytest.mark.slow
def test_a_reaper_that_hangs_is_replaced(stack):
    guardian = stack.processes["reaper"].pid
    [hanging] = children_of(guardian)

    os.kill(hanging, signal.SIGSTOP)

    until(lambda: children_of(guardian) not in ([], [hanging]), what="another reaper")
    assert stack.processes["reaper"].poll() is None


@pytest.mark.slow
def test_runs_that_one_machine_cannot_start_are_executed_by_another(stack, client, tmp_path):
    before = slots(client)
    broken = stack.start("pool python", key="broken pool", TMPDIR=str(tmp_path))
    until(lambda: slots(client) == 2 * before, READY_WITHIN, "the second pool is there")
    [copies] = tmp_path.glob("branchline-runs-*/versions")
    shutil.rmtree(copies)
    ended: list[dict] = []

    def broken_has_tried() -> bool:
        asked = [client.ask(client.thread(), "x", worker_id="fake")["runs"][0] for _ in range(20)]
        ended.extend(client.wait(run, timeout=60)["run"] for run in asked)
        return any(run["failures"] for run in ended)

    try:
        until(broken_has_tried, 60, "the broken machine has tried to start some")
    finally:
        os.killpg(broken.pid, signal.SIGKILL)
        broken.wait(30)
    assert {(run["status"], (run["error"] or {}).get("message")) for run in ended} == {("success", None)}
    assert sum(run["failures"] > 1 for run in ended) <= 1, "the broken machine takes them again and again"


def test_a_killed_web_process_is_followed_by_another_with_no_gap(stack, client):
    run, reader = ask(client)

    os.killpg(stack.processes["web"].pid, signal.SIGKILL)
    stack.processes["web"].wait()
    stack.start("web")

    assert_whole(client, run, reader, attempt=1)
    assert "reset" not in [event.type for event in reader.events]


def test_a_killed_child_ends_its_run_with_the_reason(stack, client):
    run, reader = ask(client)

    hosts = children_of(stack.pool_process())
    for child in [child for host in hosts for child in children_of(host)]:
        os.kill(child, signal.SIGKILL)

    reader.wait()
    result = client.wait(run)["run"]
    assert (result["status"], result["error"]["code"]) == ("error", "worker_crashed")
    assert "SIGKILL" in result["error"]["message"]


def test_an_emptied_redis_resets_readers_and_they_end_with_the_right_text(stack, client, stack_redis):
    run, reader = ask(client)

    with redis.Redis.from_url(stack_redis.url) as server:
        server.flushall()

    events = reader.wait()
    assert "reset" in [event.type for event in events]
    assert list(reader.text.messages.values()) == [WORDS]
    assert client.wait(run)["run"]["status"] == "success"


@pytest.mark.slow
def test_a_restarted_redis_loses_no_run_and_no_text(stack, client, stack_redis):
    run, reader = ask(client)

    stack_redis.kill()
    late = client.ask(client.thread(), "asked while Redis is away")["runs"][0]
    stack_redis.start()

    reader.wait()
    assert list(reader.text.messages.values()) == [WORDS]
    assert client.wait(run)["run"]["status"] == "success"
    assert client.wait(late)["run"]["status"] == "success"


@pytest.mark.slow
def test_a_cancelled_run_of_a_dead_pool_is_not_run_again(stack, client):
    run, reader = ask(client)
    os.kill(stack.processes["pool python"].pid, signal.SIGSTOP)  # the guardian, so that nobody notices
    os.kill(stack.pool_process(), signal.SIGKILL)

    client.post(f"/api/runs/{run['id']}/cancel")
    result = client.wait(run)
    os.kill(stack.processes["pool python"].pid, signal.SIGCONT)

    assert result["run"]["status"] == "cancelled"
    [message] = result["messages"]
    assert message["status"] == "partial"
    assert WORDS.startswith(message["content"])
    reader.wait()
    assert list(reader.text.messages.values()) == [message["content"]]


def slots(client: Client) -> int:
    """How many slots the pool of Python workers has."""
    return client.get("/api/workers/fake").json()["worker"]["slots"]


def children_of(pid: int) -> list[int]:
    """The processes that ``pid`` has started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]
