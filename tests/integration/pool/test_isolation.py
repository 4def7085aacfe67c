"""A process for one isolated run keeps to its lease as a pool process does, and is replaced by none."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from runtime.guardian import heartbeat
from runtime.pool.isolation import IsolatedProcesses
from runtime.settings import CHECKOUT, load
from runtime.store import Database, attempts, backlog, recovery, runs, states, threads, users
from runtime.testing.ports import free_port
from runtime.testing.waiting import until

SCRIPT = """
from runtime.pool.isolated_process import IsolatedProcess  # first of all: it has gevent patch everything

import time
from types import SimpleNamespace

import gevent
from runtime.pool.attempt import Attempt
from runtime.settings import current

settings = current()
process = IsolatedProcess(settings, "python", 1, "python@test-isolated", with_isolation=False)
transcript = SimpleNamespace(unsaved_messages=list, forget_saved=lambda: None)
claim = SimpleNamespace(run=SimpleNamespace(id="run", attempt=1))
attempt = Attempt(claim, transcript, time.monotonic() + settings.pool.lease)

def execute(run_id):
    process.leases.add(attempt)
    with gevent.Timeout(2 * settings.pool.lease, False):
        attempt.wake.wait()
    print(attempt.stopped, time.monotonic() < attempt.lease_until)

process.executor.execute = execute
process.run_one("run")
"""


def test_an_isolated_attempt_is_stopped_before_its_lease_ends_when_the_database_is_away(tmp_path: Path):
    nowhere = f"127.0.0.1:{free_port()}"
    environ = os.environ | {
        "BRANCHLINE_HOME": str(tmp_path),
        "DATABASE_URL": f"postgresql+psycopg://nobody@{nowhere}/nothing",
        "REDIS_URL": f"redis://{nowhere}/0",
        "BRANCHLINE_POOL_LEASE": "3",
        "BRANCHLINE_POOL_RENEW": "1",
    }

    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environ, capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.stdout.split() == ["lost", "True"], ended.stderr


class NoDatabase:
    """Says that each run needs isolation, and keeps what is written."""

    def __init__(self) -> None:
        self.written: list[object] = []

    def read(self, *_: object) -> bool:
        return True

    def write(self, statement: object, *_: object) -> None:
        self.written.append(statement)


@pytest.fixture
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[IsolatedProcesses, NoDatabase]:
    nowhere = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("BRANCHLINE_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", f"postgresql+psycopg://nobody@{nowhere}/nothing")
    monkeypatch.setenv("REDIS_URL", f"redis://{nowhere}/0")
    monkeypatch.setenv("BRANCHLINE_POOL_LEASE", "3")
    monkeypatch.setenv("BRANCHLINE_POOL_RENEW", "1")
    database = NoDatabase()
    return IsolatedProcesses(database, "python", "python@test", load().pool), database


def test_an_isolated_process_that_is_stopped_is_killed_and_its_run_released(isolated, monkeypatch) -> None:
    monkeypatch.setattr(heartbeat, "_START_TICKS", 3)  # it has hardly begun
    processes, database = isolated
    execution = threading.Thread(target=processes.execute, args=("run",))
    execution.start()
    [process] = until(lambda: list(processes._processes.values()), 20, "a process")
    process.send_signal(signal.SIGSTOP)
    execution.join(80)

    assert not execution.is_alive()
    assert process.returncode == -signal.SIGKILL
    assert database.written == [recovery.release]


def test_a_run_waits_when_no_isolated_process_can_be_made(isolated, monkeypatch) -> None:
    processes, database = isolated

    def full(*_: object, **__: object) -> NoReturn:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", full)
    processes.execute("run")
    assert database.written == [backlog.unpublish]
