"""A worker may want to do harm: it ends its own run, with the reason, and nobody else's."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.coded import coded, write_worker

SETTINGS = {
    "BRANCHLINE_POOL_DRAIN": "10",
    "BRANCHLINE_POOL_KILL_GRACE": "1",
    "BRANCHLINE_POOL_LEASE": "60",  # no run is to be lost for the machine's being busy
    "BRANCHLINE_RUN_MAX_ATTEMPTS": "2",
    "BRANCHLINE_RUN_MAX_OUTPUT": "20000000",
}
INNOCENTS = 3
POISON = {"worker_id": "fake", "config": {"mode": "kill_pool"}}
MOST_MEMORY = 300_000
"""kB that a pool process may have had at most: some times the most that a run may write."""
MORE_THAN_ENOUGH = """
    block = b"x" * 65535 + b"\\n"
    for _ in range(2000):
        os.write({0}, block)
    """
HOSTILE = {
    "prints for ever": (MORE_THAN_ENOUGH.format(1), "success", None),
    "complains for ever": (MORE_THAN_ENOUGH.format(2), "success", None),
    "ends no line": ("for _ in range(800): os.write(1, b'x' * 65536)", "error", "output_too_large"),
    "says too much at once": ("say(type='delta', text='x' * 9_000_000)", "error", "output_too_large"),
    "says too much in all": (
        "while True: say(type='message', role='assistant', content='x' * 1_000_000)",
        "error",
        "output_too_large",
    ),
    "opens messages for ever": ("for n in range(10_000): say(type='start', ref=str(n))", "success", None),
    "takes all memory": ("x = bytearray(1 << 30); time.sleep(60)", "error", "worker_crashed"),
    "stops in the middle": (
        "say(type='start', ref='a'); os.write(1, b'{\"type\":\"del'); os._exit(0)",
        "success",
        None,
    ),
    "leaves a daemon": (
        "os.fork() or (os.setsid(), os.fork() or (signal.signal(15, signal.SIG_IGN), time.sleep(3600)))",
        "success",
        None,
    ),
    "hides its output": ("os.close(1); time.sleep(60)", "error", "worker_crashed"),
    "writes to nobody": ("os.close(0); os.close(1); os.close(2)", "success", None),
    "closes everything": ("os.closerange(0, 65536); os._exit(0)", "success", None),
    "kills all of its group": ("os.killpg(0, signal.SIGKILL)", "error", "worker_crashed"),
    "opens all files that it may": (
        """
        held = []
        while True: held.append(open("/dev/null"))
        """,
        "error",
        "worker_crashed",
    ),
}


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_postgresql_url: str
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    pools, settings = ("python", "exec"), {"WORKERS_PATH": write_worker(home), **SETTINGS}
    with Stack(home, stack_postgresql_url, stack_redis.url, pools, from_python=True, **settings) as stack:
        yield stack


@pytest.mark.parametrize(("code", "status", "error"), HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_worker_ends_its_own_run_and_harms_no_other(stack, client, code, status, error):
    run = coded(client, code)
    other = client.ask(client.thread(), "still here", worker_id="shell")["runs"][0]

    assert client.wait(other)["run"]["status"] == "success"
    ended = client.wait(run, timeout=60)["run"]
    assert (ended["status"], (ended["error"] or {}).get("code")) == (status, error)
    most = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{stack.pool_process('exec')}/status").read_text())
    assert int(most[1]) < MOST_MEMORY, "the pool process took as much memory as its worker wanted"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_that_kills_its_pool_process_ends_alone(client: Client, stack: Stack, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    config = {"mode": "gate", "path": str(gate), "text": "mine"}
    thread = client.thread()
    innocent = client.ask(thread, "go", worker_id="fake", config=config, n=INNOCENTS)["runs"]
    for run in innocent:
        until(lambda run=run: under_way(client, run) == 1, what="it has begun")

    poison = client.ask(client.thread(), "die", **POISON)["runs"][0]
    ended = client.wait(poison, timeout=120)["run"]
    assert (ended["status"], ended["error"]["code"]) == ("error", "lost")
    assert "Attempt 2 was lost" in ended["error"]["message"]
    assert "It was tried 2 times" in ended["error"]["message"]
    story = client.get(f"/api/runs/{poison['id']}/attempts").json()["items"]
    assert [attempt["attempt"] for attempt in story][:2] == [1, 2]
    logs = client.get(f"/api/runs/{poison['id']}/log").json()["items"]
    assert [f"Attempt {n + 1} was lost" in entry["text"] for n, entry in enumerate(logs)] == [True] * 2

    # Its last attempt was made where nobody else was: all others have lost one, and none the second,
    # not even when the pool process dies once more.
    for run in innocent:
        until(lambda run=run: under_way(client, run) == 2, 90, "the last attempt has begun")
    assert stack.log("pool python").count("its runs are released") == 1
    os.kill(stack.pool_process(), signal.SIGKILL)
    gate.touch()
    for run in innocent:
        result = client.wait(run, timeout=60)
        assert (result["run"]["status"], result["run"]["failures"]) == ("success", 1)
        assert [message["content"] for message in result["messages"]] == ["minemine"]
    stack.mend()


def test_a_run_that_stops_itself_can_be_cancelled(client: Client) -> None:
    run = coded(client, "say(type='delta', text='x'); os.kill(os.getpid(), signal.SIGSTOP)")
    until(lambda: under_way(client, run) == 1, what="it has begun")

    client.post(f"/api/runs/{run['id']}/cancel")
    assert client.wait(run)["run"]["status"] == "cancelled"


GATE = """
    say(type="delta", text="mine")
    while not os.path.exists(args["path"]): time.sleep(0.05)
    say(type="delta", text="mine"); say(type="done")
    """
SIGNAL_HOST = "os.kill(os.getppid(), args['signal']); time.sleep(3600)"


def poisoned(client: Client, kind: str, number: int) -> dict:
    """A run that sends a signal to its host."""
    if kind == "exec":
        return coded(client, SIGNAL_HOST, "unconfined", signal=number)
    config = {"mode": "signal_host", "signal": number}
    return client.ask(client.thread(), "die", worker_id="fake", config=config)["runs"][0]


def gated(client: Client, kind: str, gate: Path) -> dict:
    """A run of the same worker that writes, and ends once there is a file ``gate``."""
    if kind == "exec":
        return coded(client, GATE, "unconfined", path=str(gate))
    config = {"mode": "gate", "path": str(gate), "text": "mine"}
    return client.ask(client.thread(), "go", worker_id="fake", config=config)["runs"][0]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kind", "number"),
    [
        pytest.param("python", signal.SIGKILL, id="killed, python", marks=pytest.mark.slow),
        pytest.param("exec", signal.SIGKILL, id="killed, exec"),
        pytest.param("exec", signal.SIGSTOP, id="stopped, exec", marks=pytest.mark.soak),
    ],
)
def test_a_run_that_harms_its_host_ends_alone(
    client: Client, stack: Stack, tmp_path: Path, kind: str, number: int
) -> None:
    gate = tmp_path / "gate"
    innocent = [gated(client, kind, gate) for _ in range(INNOCENTS)]
    for run in innocent:
        with client.stream(f"/api/runs/{run['id']}/events") as events:
            next(event for event in events if event.type == "message.delta")
    pools = [stack.pool_process(pool) for pool in stack.pools]

    ended = client.wait(poisoned(client, kind, number), timeout=120)["run"]
    assert (ended["status"], ended["error"]["code"]) == ("error", "lost")
    assert "Attempt 2 was lost: the process that had started it ended." in ended["error"]["message"]

    gate.touch()
    for run in innocent:
        result = client.wait(run, timeout=60)
        assert (result["run"]["status"], result["run"]["failures"]) == ("success", 1)
        assert "".join(message["content"] for message in result["messages"]) == "minemine"
        [lost, _] = client.get(f"/api/runs/{run['id']}/attempts").json()["items"]
        assert lost["messages"][0]["content"] == "mine"
        [story, *_] = client.get(f"/api/runs/{run['id']}/log").json()["items"]
        assert story["text"] == "[branchline] Attempt 1 was lost: the process that had started it ended.\n"
    assert [stack.pool_process(pool) for pool in stack.pools] == pools


def under_way(client: Client, run: dict) -> int | None:
    """The attempt of the run that is under way."""
    found = client.get(f"/api/runs/{run['id']}").json()["run"]
    return found["attempt"] if found["status"] == "running" else None
