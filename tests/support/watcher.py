"""Who looks at Flower: a client with its password."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from runtime.queue.app import make_celery
from runtime.queue.messages import TASK
from runtime.settings import CHECKOUT, load
from runtime.testing.ports import free_port
from runtime.testing.stack import READY_WITHIN
from runtime.testing.waiting import until

PASSWORD = "open sesame"


def flower_settings() -> dict[str, str]:
    """For the environment of a Flower: a port of its own, and this client's user and password."""
    return {
        "FLOWER_PORT": str(free_port()),
        "BRANCHLINE_FLOWER_USER": "watcher",
        "BRANCHLINE_FLOWER_PASSWORD": PASSWORD,
    }


class Watcher(httpx.Client):
    """Sees what Flower shows."""

    def __init__(self, environ: Mapping[str, str], host: str = "127.0.0.1") -> None:
        """``environ``: that of Flower, with :func:`flower_settings`."""
        url = f"http://{host}:{environ['FLOWER_PORT']}{load(environ).flower_path}"
        super().__init__(base_url=url, auth=("watcher", PASSWORD), timeout=10, trust_env=False)

    def workers(self) -> dict[str, Any]:
        """The pool processes that have answered, by name; none where Flower does not answer yet."""
        try:
            known = (
                self.get("/api/workers").json() or self.get("/api/workers", params={"refresh": "1"}).json()
            )
        except httpx.TransportError:
            return {}
        return {name: found for name, found in known.items() if {"active_queues", "stats"} <= found.keys()}

    def depth(self, queue: str) -> int:
        """How many messages wait in a queue."""
        found = self.get("/api/queues/length").raise_for_status().json()["active_queues"]
        return {one["name"]: one["messages"] for one in found}.get(queue, 0)

    def tasks(self) -> list[dict[str, Any]]:
        """Every task that it has heard of."""
        return list(self.get("/api/tasks").raise_for_status().json().values())


@contextmanager
def flower(home: Path, **environ: str) -> Iterator[Watcher]:
    """A Flower without a pool, that answers."""
    everything = {**os.environ, "BRANCHLINE_HOME": str(home), **flower_settings(), **environ}
    command = [sys.executable, "-m", "runtime", "flower"]
    process = subprocess.Popen(command, cwd=CHECKOUT, env=everything, start_new_session=True)
    try:
        with Watcher(everything) as watcher:
            until(lambda: _answers(watcher), READY_WITHIN, "Flower answers")
            yield watcher
    finally:
        process.terminate()
        process.wait(15)


def assert_flower_watches(url: str, home: Path) -> None:
    """A Flower without a pool shows what waits at the broker at ``url``, and what happens there."""
    environ = {"REDIS_URL": url, "BROKER_URL": url}
    with (
        flower(home, **environ) as watcher,
        make_celery(load(environ), ["python"]) as app,
        app.connection_for_write() as connection,
        app.events.Dispatcher(connection, hostname="python@test") as events,
    ):
        [queue] = app.conf.task_queues
        for _ in range(2):
            app.send_task(TASK, [str(uuid.uuid4())], queue=queue, connection=connection)
        until(lambda: watcher.depth(queue.name) == 2, what="Flower shows what waits")

        def shown() -> bool:
            events.send("task-received", uuid="one", name="echo", args="run", kwargs="{}")
            return [task["worker"] for task in watcher.tasks()] == ["python@test"]

        until(shown, what="Flower shows a task")


def _answers(watcher: Watcher) -> bool:
    try:
        return watcher.get("/healthcheck").status_code == 200
    except httpx.TransportError:
        return False
