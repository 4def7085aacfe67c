"""A process that a zygote has forked off is like one that Python has started, in all that tests ask of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from runtime.system import processes
from runtime.testing.ports import free_port
from runtime.testing.stack import Process, Stack
from runtime.testing.waiting import until
from tests.support.zygotes import Zygotes

pytestmark = pytest.mark.skipif(not processes.LINUX, reason="stacks start from Python elsewhere")

DIES = """
import os, sys
from pathlib import Path
from tests.support.zygotes import Zygotes

zygotes = Zygotes()
with open(sys.argv[1], "wb") as output:
    print(zygotes.start(["reaper"], os.environ, output.fileno()).pid, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def environ(tmp_path: Path, sqlite_url: str) -> dict[str, str]:
    """That of a reaper whose Redis is away."""
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    return {**os.environ, "BRANCHLINE_HOME": str(tmp_path), "DATABASE_URL": sqlite_url, "REDIS_URL": nowhere}


@pytest.fixture
def start(
    zygotes: Zygotes, environ: dict[str, str], tmp_path: Path
) -> Iterator[Callable[..., tuple[Process, Path]]]:
    """Starts a process; that, and what it prints."""
    started: list[Process] = []

    def start(*arguments: str, **more: str) -> tuple[Process, Path]:
        log = tmp_path / f"log {len(started)}"
        with log.open("wb") as output:
            process = zygotes.start(arguments, environ | more, output.fileno())
        assert process is not None
        started.append(process)
        return process, log

    yield start
    for process in started:
        process.kill()
        process.wait(20)


def test_its_exit_code_and_output_are_those_of_the_command(start):
    for arguments in (("web",), ("pool", "python"), ("reaper",)):
        process, log = start(*arguments, REDIS_URL="nonsense")

        assert process.wait(30) == process.poll() == 2
        assert "REDIS_URL" in log.read_text()
        assert not Path(f"/proc/{process.pid}").exists(), "a zombie is left"


def test_it_has_a_session_and_nothing_else_open(start):
    process, _ = start("reaper")
    [reaper] = until(lambda: processes.children_of(process.pid), 20)

    assert os.getsid(process.pid) == os.getsid(reaper) == process.pid
    until(lambda: _open(reaper, "pipe:") == 1, 20, "the reaper has its heartbeat, and no pipe of another")
    until(lambda: _open(process.pid, "pipe:") == 3, 20, "the guardian has its own three pipes only")
    assert _open(process.pid, "socket:") == 0


def test_its_end_by_a_signal_shows_and_takes_the_process_below_with_it(start):
    process, _ = start("reaper")
    [reaper] = until(lambda: processes.children_of(process.pid), 20)

    process.send_signal(signal.SIGSTOP)
    until(lambda: _state(process.pid) == "T", 20)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.kill()

    assert process.wait(20) == -signal.SIGKILL
    until(lambda: processes.has_ended(reaper), 20, "the reaper has ended with its guardian")


def test_it_handles_no_signal_as_what_it_was_forked_from(start):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        process, _ = start("reaper")
        process.send_signal(number)  # at once, or when it has begun: both end it or change nothing

        if number != signal.SIGCHLD:
            assert process.wait(30) in (0, 1, -number)


def test_it_ends_when_who_has_started_it_is_killed(environ, tmp_path):
    command = [sys.executable, "-c", DIES, str(tmp_path / "log")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == -signal.SIGKILL, done.stderr
    until(lambda: not processes.is_alive(int(done.stdout)), 20, "the process has ended")


def test_what_is_read_at_the_start_of_a_program_is_left_to_python(zygotes, environ):
    for more in ({"LD_PRELOAD": "x"}, {"PYTHONPATH": "x"}, {"TZ": "x"}, {"GEVENT_LOOP": "x"}):
        assert zygotes.start(["reaper"], environ | more, 1) is None
    assert zygotes.start(["flower"], environ, 1) is None


@pytest.mark.parametrize("from_python", [True, False])
def test_a_stack_is_the_same_either_way(
    from_python: bool, zygotes: Zygotes, tmp_path: Path, sqlite_url: str, redis_url: str
):
    with (
        Stack(tmp_path, sqlite_url, redis_url, from_python=from_python) as stack,
        closing(stack.client()) as client,
    ):
        run = client.ask(client.thread(), "hello")["runs"][0]
        assert client.wait(run)["run"]["status"] == "success"
        before = stack.pool_process()
        os.kill(before, signal.SIGKILL)
        until(lambda: set(processes.children_of(stack.processes["pool python"].pid)) - {before}, 20)
        until(stack.ready, 40, "another pool process has begun")
        run = client.ask(client.thread(), "hello")["runs"][0]
        assert client.wait(run)["run"]["status"] == "success"
    assert {process.returncode for process in stack.processes.values()} == {0}
    assert "Traceback" not in "".join(map(stack.log, stack.processes))


def _open(pid: int, kind: str) -> int:
    """How many descriptors of that kind a process has."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has been closed since
            count += os.readlink(link).startswith(kind)
    return count


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
