"""A function in processes that can be ended: its answers, its limits, and that callers take turns."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.errors import LimitExceeded, TooMany
from runtime.process_pool import ProcessPool
from runtime.settings import CHECKOUT
from runtime.system import processes
from runtime.testing.waiting import until

pytestmark = pytest.mark.timeout(90)


def work(order: dict[str, Any]) -> Any:
    """What the processes do here."""
    match order["do"]:
        case "match":
            return bool(re.match(order["pattern"], order["text"]))
        case "grow":
            return len("x" * order["bytes"])
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "environment":
            return sorted(os.environ)
    return os.getpid()


SLOW = {"do": "match", "pattern": "^(a+)+$", "text": "a" * 40 + "!"}
PID = {"do": "pid"}


@pytest.fixture
def pool() -> Iterator[ProcessPool]:
    made = ProcessPool(work, size=2, seconds=0.3, patience=60)
    yield made
    made.close()


def test_a_call_returns_what_the_function_returns_and_its_process_stays(pool: ProcessPool) -> None:
    pid = pool.call(PID)

    assert pid != os.getpid()
    assert {pool.call(PID) for _ in range(4)} == {pid}


def test_a_process_that_was_started_before_makes_the_first_call(pool: ProcessPool) -> None:
    before = children()
    pool.start()

    [pid] = children() - before
    assert pool.call(PID) == pid


def test_a_call_that_takes_too_long_is_ended_and_the_next_one_is_answered(pool: ProcessPool) -> None:
    for _ in range(3):
        with pytest.raises(LimitExceeded):
            pool.call(SLOW)

    assert pool.call({"do": "match", "pattern": "^a+$", "text": "aa"}) is True


def test_a_call_that_takes_too_much_memory_is_refused(pool: ProcessPool) -> None:
    with pytest.raises(LimitExceeded):
        pool.call({"do": "grow", "bytes": 1 << 31})


def test_a_process_that_was_killed_while_idle_is_replaced(pool: ProcessPool) -> None:
    pids = {pool.call(PID) for _ in range(4)}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    assert pool.call(PID) not in pids


def test_a_call_that_kills_its_process_is_refused(pool: ProcessPool) -> None:
    with pytest.raises(LimitExceeded):
        pool.call({"do": "die"})

    assert pool.call(PID)


def test_a_process_knows_nothing_of_its_callers_environment(
    pool: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "hush")

    assert "A_SECRET" not in pool.call({"do": "environment"})


def test_whoever_has_calls_waiting_does_not_keep_others_from_theirs() -> None:
    pool = ProcessPool(work, size=2, seconds=2, patience=60)
    before = children()
    greedy = [threading.Thread(target=refused, args=(pool, "greedy")) for _ in range(2)]
    for thread in greedy:
        thread.start()
    try:
        until(lambda: children() - before)

        assert pool.call(PID, "modest")
        assert all(thread.is_alive() for thread in greedy)
    finally:
        for thread in greedy:
            thread.join()
        pool.close()


def children() -> set[int]:
    return {*processes.children_of(os.getpid())}


def refused(pool: ProcessPool, caller: str) -> None:
    with pytest.raises(LimitExceeded):
        pool.call(SLOW, caller)


def test_a_call_that_cannot_begin_in_time_is_refused() -> None:
    pool = ProcessPool(work, size=1, seconds=2, patience=0.05)
    before = children()
    busy = threading.Thread(target=refused, args=(pool, ""))
    busy.start()
    try:
        until(lambda: children() - before)
        with pytest.raises(TooMany):
            pool.call(PID, "another")
    finally:
        busy.join()
        pool.close()


def test_a_fork_uses_processes_of_its_own(pool: ProcessPool) -> None:
    pids = {pool.call(PID) for _ in range(4)}
    read, write = os.pipe()
    if not (child := os.fork()):
        try:
            mine = pool.call(PID)
            os.write(write, b"own" if mine not in pids else b"shared")
            pool.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert os.read(read, 10) == b"own"
    assert pool.call(PID) in pids
    os.close(read)
    os.close(write)


def test_a_process_ends_with_its_caller() -> None:
    code = (
        "import textwrap, time\n"
        "from runtime.process_pool import ProcessPool\n"
        "pool = ProcessPool(textwrap.dedent, size=1, seconds=1, patience=5)\n"
        "print(pool.call('x'), flush=True)\n"
        "time.sleep(600)\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=CHECKOUT, text=True)
    with caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "x\n"
        [pid] = processes.children_of(caller.pid)
        caller.kill()

    until(lambda: not processes.is_alive(pid))
