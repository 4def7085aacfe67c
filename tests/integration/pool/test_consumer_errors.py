"""Whatever error the broker's client raises, the queue is consumed again; one that stays ends the process."""

from __future__ import annotations

import subprocess
import sys

from runtime.duties import EXIT_CODE
from tests.support.failures import broker_errors


def test_a_queue_is_consumed_after_an_error_of_every_class(redis_url: str) -> None:
    command = [sys.executable, "-m", "tests.integration.pool.consumer_errors", redis_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    wanted = [f"{kind.__module__}.{kind.__name__} ok" for kind in broker_errors()]
    assert done.stdout.splitlines() == [*wanted, "given up: consume the queue"], done.stderr[-3000:]
    assert done.returncode == EXIT_CODE
