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
from runtime.model import Role
from runtime.pool.isolation import IsolatedProcesses
from runtime.pool.workers import PoolWorkers
from runtime.registry import load as load_worker
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
from runtime.registry import load
from runtime.settings import CHECKOUT, current

settings = current()
worker = load(CHECKOUT / "tests" / "workers" / "fake")
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
process.run_one("run", worker)
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


IN_A_POOL = """
from runtime.pool.process import PoolProcess

import sys
from runtime.settings import current

process = PoolProcess(current(), "python", 1, "python@test")
process.workers.load()
process.registration.report()
process.services.publisher.publish_next("python")
print(process.executor.execute(sys.argv[1]))
process.children.close()
"""


def test_a_pool_learns_how_a_run_has_failed_in_an_isolated_process(
    tmp_path: Path, redis_url: str, sqlite_url: str
) -> None:
    database = Database(sqlite_url, load({}).database)
    run_id = run_that_lost_an_attempt(database, "raise")
    database.close()
    environ = os.environ | {
        "BRANCHLINE_HOME": str(tmp_path),
        "DATABASE_URL": sqlite_url,
        "REDIS_URL": redis_url,
        "WORKERS_PATH": str(CHECKOUT / "tests" / "workers"),
    }

    executed = subprocess.run(
        [sys.executable, "-c", IN_A_POOL, run_id],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert executed.stdout.strip() == "error: worker_error", executed.stderr


def run_that_lost_an_attempt(database: Database, mode: str) -> str:
    """A queued run whose last attempt is to be made in a process of its own."""
    user = database.write(users.register, email="ann@example.com", password_hash="x")
    thread = database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id)
    spec = runs.RunSpec("fake", "", "python", {"mode": mode}, None, max_attempts=2, timeout_seconds=60)
    said = [states.NewMessage(Role.USER, "go")]
    made = database.write(runs.create, thread, user.id, thread.root_state_id, said, spec, published=True)
    [run] = made.runs
    assert database.engine.claim(run.id, "python@lost", -1.0, {"": 200}) is not None
    [lost] = database.read(recovery.expired)
    database.write(recovery.take_over, lost, [], 0, "Lost.")
    return run.id


class NoDatabase:
    """Says that each run needs isolation and is still to end, and keeps what is written."""

    def __init__(self) -> None:
        self.written: list[object] = []

    def read(self, statement: object, *_: object) -> str | None:
        return "fake" if statement is attempts.needs_isolation else None

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
    workers = PoolWorkers("python", [], None)
    workers.use(load_worker(CHECKOUT / "tests" / "workers" / "fake"))
    return IsolatedProcesses(database, workers, "python", "python@test", load().pool), database


def test_an_isolated_process_that_is_stopped_is_killed_and_its_run_released(isolated, monkeypatch) -> None:
    monkeypatch.setattr(heartbeat, "_START_TICKS", 3)  # it has hardly begun
    processes, database = isolated
    failures: list[str | None] = []
    execution = threading.Thread(target=lambda: failures.append(processes.execute("run")))
    execution.start()
    [process] = until(lambda: list(processes._processes.values()), what="a process")
    process.send_signal(signal.SIGSTOP)
    execution.join(80)

    assert not execution.is_alive()
    assert process.returncode == -signal.SIGKILL
    assert database.written == [recovery.release]
    assert failures == ["lost"]


def test_a_run_waits_when_no_isolated_process_can_be_made(isolated, monkeypatch) -> None:
    processes, database = isolated

    def full(*_: object, **__: object) -> NoReturn:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", full)
    assert processes.execute("run") is None
    assert database.written == [backlog.unpublish]
