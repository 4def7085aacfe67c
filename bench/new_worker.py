"""``python -m bench.new_worker``: seconds from ``branchline new-worker`` to the first delta, by type.

It does what an author does who changes nothing: makes the folder, has its own test pass (or a run on
the terminal, where it has none), waits until a Branchline that is running has taken it up, and asks it
there. What an author reads, thinks and writes in between is not in it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.registry import load, node
from runtime.settings import CHECKOUT
from runtime.testing.client import Client
from runtime.testing.ports import free_port
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until

POOLS = ("python", "node", "exec", "http")
_WITHIN = 120.0
"""Seconds that anything may take on a busy machine."""
_PORT = "9000"
"""Of the service that is made."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of worker that is made."""

    name: str
    options: tuple[str, ...]
    test: Callable[[Path], Sequence[str]]
    """The command that tests what is in a folder."""


def _on_terminal(folder: Path) -> Sequence[str]:
    return [sys.executable, "-m", "runtime", "run", str(folder), "hello"]


def _by_pytest(folder: Path) -> Sequence[str]:
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]


def _by_node(folder: Path) -> Sequence[str]:
    worker = load(folder)
    assert worker.entrypoint is not None
    return [*node.command(worker.entrypoint, os.environ), "--test"]


KINDS = (
    Kind("python", ("--type", "python"), _by_pytest),
    Kind("node, JavaScript", ("--type", "node"), _by_node),
    Kind("node, TypeScript", ("--type", "node", "--typescript"), _by_node),
    Kind("exec", ("--type", "exec"), _on_terminal),
    Kind("http", ("--type", "http"), _on_terminal),
)


def main() -> None:
    """Measure all that can be executed here, and print a Markdown table."""
    kinds = [kind for kind in KINDS if "node" not in kind.options or shutil.which("node")]
    _show("type", "made", "tested", "taken up", "first delta", "in all, s")
    _show("---", *["---:"] * 5)
    with running() as (stack, client):
        for kind in kinds:
            seconds = measure(stack, client, kind)
            _show(kind.name, *(f"{one:.1f}" for one in (*seconds, sum(seconds))))


def _show(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


@contextmanager
def running() -> Iterator[tuple[Stack, Client]]:
    """All of Branchline without a worker, and a client with an account."""
    with tempfile.TemporaryDirectory(prefix="branchline-new-worker-") as name, ExitStack() as cleanup:
        folder = Path(name)
        for part in ("redis", "workers"):
            (folder / part).mkdir()
        redis = cleanup.enter_context(RedisServer(folder / "redis"))
        database = f"sqlite:///{folder}/branchline.db"
        workers, python = str(folder / "workers"), str(CHECKOUT)
        stack = cleanup.enter_context(
            Stack(folder, database, redis.url, POOLS, WORKERS_PATH=workers, PYTHONPATH=python)
        )
        yield stack, cleanup.enter_context(closing(stack.client()))


def measure(stack: Stack, client: Client, kind: Kind) -> list[float]:
    """Seconds of each step of a worker of this kind."""
    name = f"mine-{KINDS.index(kind)}"
    folder = Path(stack.environ["WORKERS_PATH"]) / name
    moments = [time.monotonic()]
    stack.run("new-worker", name, *kind.options, "--path", str(folder))
    moments.append(time.monotonic())
    with _served(folder) if kind.name == "http" else ExitStack():
        _call(kind.test(folder), folder, stack.environ)
        moments.append(time.monotonic())
        until(lambda: _is_available(client, name), _WITHIN, f"{name} is available")
        moments.append(time.monotonic())
        asked = client.ask(client.thread(), "hello", worker_id=name)["runs"][0]
        with client.stream(f"/api/runs/{asked['id']}/events") as events:
            next(event for event in events if event.type == "message.delta")
        moments.append(time.monotonic())
    return [after - before for before, after in itertools.pairwise(moments)]


def _call(command: Sequence[str], folder: Path, environ: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")


def _is_available(client: Client, name: str) -> bool:
    answer = client.get(f"/api/workers/{name}")
    return answer.status_code == 200 and bool(answer.json()["worker"]["available"])


@contextmanager
def _served(folder: Path) -> Iterator[None]:
    """The service behind a worker of type http, on a port that is free."""
    port = free_port()
    [service] = folder.glob("*.py")
    for file in (service, folder / "worker.toml"):
        file.write_text(file.read_text().replace(_PORT, str(port)))
    with subprocess.Popen([sys.executable, service], stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


if __name__ == "__main__":
    main()
