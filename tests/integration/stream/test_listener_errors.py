"""Whatever redis-py raises, each duty that reads from Redis does so again, and streams miss nothing."""

from __future__ import annotations

import subprocess
import sys


def test_every_listener_outlives_an_error_of_every_class(redis_url: str) -> None:
    module = ["gevent.monkey", "--module", "tests.integration.stream.listener_errors"]
    command = [sys.executable, "-m", *module, redis_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)

    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr[-3000:]
