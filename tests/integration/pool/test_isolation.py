"""A process for one isolated run keeps to its lease as a pool process does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from runtime.testing.ports import free_port

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
        "BRANCHLINE_DATABASE_URL": f"postgresql+psycopg://nobody@{nowhere}/nothing",
        "BRANCHLINE_REDIS_URL": f"redis://{nowhere}/0",
        "BRANCHLINE_POOL_LEASE": "3",
        "BRANCHLINE_POOL_RENEW": "1",
    }

    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environ, capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.stdout.split() == ["lost", "True"], ended.stderr
