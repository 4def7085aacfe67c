"""Children that end, or never start, by no fault of their worker."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from runtime.child import Children, host_process
from runtime.child.host_process import HostProcess
from runtime.errors import ChildFailed, ChildLost
from runtime.registry import Worker
from runtime.settings import CHECKOUT, Settings
from runtime.testing.waiting import until
from tests.support.talk import (
    FAKE,
    SHELL,
    WITHIN,
    WORKERS,
    Start,
    alive,
    host_of,
    linux,
    open_files,
    parent_of,
    spare_of,
)


@linux
def test_all_processes_end_when_their_pool_is_killed(settings: Settings, tmp_path: Path) -> None:
    """The pool process is killed, with a child, a program and a daemon below it."""
    script = tmp_path / "pool.py"
    script.write_text(
        textwrap.dedent(
            """
            import json, os, sys, time
            from pathlib import Path
            from runtime.child import Children
            from runtime.registry import discover
            from runtime.settings import load

            children = Children(load())
            worker = discover([Path(sys.argv[1])]).get("fake")
            line = {"type": "run", "run": {}, "config": {"mode": "child"}}
            started = children.start(worker, run_id="r", environ={})
            started.send(json.dumps(line).encode())
            program = json.loads(started.read())["text"]
            print(started.pid, program, children.hosts.for_worker(worker).pid, flush=True)
            time.sleep(600)
            """
        )
    )
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    pool = subprocess.Popen([sys.executable, str(script), str(WORKERS)], stdout=subprocess.PIPE, env=environ)
    try:
        assert pool.stdout is not None
        pids = [int(pid) for pid in pool.stdout.readline().split()]
        assert len(pids) == 3 and all(map(alive, pids))
    finally:
        pool.kill()
        pool.wait()
        assert pool.stdout is not None
        pool.stdout.close()
    until(lambda: not any(map(alive, pids)), what="the end of all processes")


@linux
def test_children_are_reported_ended_when_their_host_dies(start: Start, children: Children) -> None:
    talk = start("child")
    until(lambda: talk.read_more() and talk.text != "", what="a pid")
    os.kill(parent_of(talk.child.pid), signal.SIGKILL)
    talk.read_all()
    assert talk.child.wait(WITHIN) == -signal.SIGKILL
    assert talk.child.lost == "the process that had started it ended"
    until(lambda: not alive(int(talk.text)), what="the end of the program")
    assert start(text="again").read_all().text == "again"


def test_children_are_lost_and_not_forgotten_when_their_host_cannot_be_understood(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = start("hang")

    def fail(*_: Any) -> NoReturn:
        raise ValueError("nobody expected this")

    with monkeypatch.context() as patch:
        patch.setattr(HostProcess, "_handle", fail)
        talk.child.stop(0.0)  # its host reports its end
        assert talk.child.wait(WITHIN) == -signal.SIGKILL

    assert start(text="again").read_all().text == "again"


@linux
def test_a_child_that_kills_itself_was_not_lost(start: Start) -> None:
    talk = start("segfault").read_all()
    assert talk.child.wait(WITHIN) == -signal.SIGSEGV
    assert talk.child.lost is None


@linux
@pytest.mark.parametrize("worker", [FAKE, SHELL], ids=["forked", "command"])
def test_the_children_of_a_host_that_was_stopped_are_lost(
    start: Start, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_process, "_PING_AFTER", 0.3)
    talk = start("hang", worker, hang=True)
    host = parent_of(talk.child.pid)
    os.kill(host, signal.SIGSTOP)
    os.kill(talk.child.pid, signal.SIGKILL)

    assert talk.read_all().child.wait(0.01) == -signal.SIGKILL
    assert talk.child.lost == "the process that had started it ended"
    assert not alive(host)
    assert start(worker=worker).read_all().text


@linux
def test_a_start_that_finds_its_host_stopped_is_lost(
    start: Start, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_process, "_PING_AFTER", 0.3)
    os.kill(host_of(children, FAKE), signal.SIGSTOP)
    with pytest.raises(ChildLost):
        start()
    assert start(text="again").read_all().text == "again"


def test_a_start_goes_to_the_next_host_when_its_own_has_just_ended(
    start: Start, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = children.hosts.for_worker(FAKE)
    with monkeypatch.context() as unnoticed:
        unnoticed.setattr(HostProcess, "_handle_end", lambda host: None)
        os.kill(host.pid, signal.SIGKILL)
        until(lambda: not alive(host.pid), what="the end of the host")
        assert start(text="x").read_all().text == "x"
    host._handle_end()


@linux
@pytest.mark.parametrize("worker", [FAKE, SHELL], ids=["forked", "command"])
@pytest.mark.parametrize("spare", [True, False], ids=["spare", "fork"])
def test_a_start_is_lost_when_the_folder_of_its_worker_is_missing(
    children: Children, tmp_path: Path, worker: Worker, spare: bool
) -> None:
    copied = replace(worker, id="copied", folder=Path(shutil.copytree(worker.folder, tmp_path / "copied")))
    host = host_of(children, copied)
    if spare:
        spare_of(host)
    lost = children.hosts.for_worker(copied).start(request_of(copied, tmp_path / "nowhere"), b"", None)
    assert lost.wait(WITHIN) == 70
    assert lost.lost == "the worker's folder was missing on the machine of its pool"
    assert lost.read_log() == b""

    shutil.rmtree(copied.folder)
    with pytest.raises(ChildLost, match=r"^the worker's folder was missing"):
        children.start(copied, run_id="r", environ={})


def request_of(worker: Worker, folder: Path) -> dict[str, Any]:
    """A start request, as a launcher makes it, for a worker in another folder."""
    return {
        "type": "start",
        "command": list(worker.command) or None,
        "folder": str(folder),
        "environ": {},
        "memory_bytes": None,
        "open_files": None,
        "group": None,
    }


def test_an_import_is_lost_when_the_folder_of_its_worker_is_missing(
    children: Children, make_worker: Any
) -> None:
    worker = make_worker("def run(run): ...")
    shutil.rmtree(worker.folder)
    with pytest.raises(ChildLost, match=r"^the worker's folder was missing"):
        children.warm(worker)


@pytest.mark.parametrize(
    ("source", "lost", "message"),
    [
        ("import errno; raise OSError(errno.EMFILE, 'Too many', '/etc/x')", True, "failed: Too many$"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", True, "the process that imported"),
        ("import os; os._exit(3)", False, "its host process ended with exit code 3"),
        ("open('/nowhere/at/all')", False, r"FileNotFoundError: .*: 'all' \(made.py, line 1\)"),
        ("raise ImportError('(/srv/a/b.py, https://x.org/a)')", False, r"\(b.py, https://x.org/a\)"),
    ],
    ids=["no descriptors", "killed", "exits", "a path", "another path"],
)  # fmt: skip
def test_an_import_that_fails_says_whose_fault_it_is(
    children: Children, make_worker: Any, source: str, lost: bool, message: str
) -> None:
    with pytest.raises(ChildFailed, match=message) as raised:
        children.warm(make_worker(source))
    assert isinstance(raised.value, ChildLost) is lost


@linux
@pytest.mark.parametrize("worker", [FAKE, SHELL], ids=["forked", "command"])
def test_a_start_is_lost_when_its_host_has_no_more_descriptors(
    children: Children, start: Start, worker: Worker
) -> None:
    host = host_of(children, worker)
    spare_of(host)
    until(lambda: "anon_inode:[landlock-ruleset]" not in open_files(host), what="all that its fork took")
    before = resource.prlimit(host, resource.RLIMIT_NOFILE)
    resource.prlimit(host, resource.RLIMIT_NOFILE, (len(open_files(host)) + 1, before[1]))
    with pytest.raises(ChildLost, match=r"^no process could be made: Too many open files$"):
        start(worker=worker)
    resource.prlimit(host, resource.RLIMIT_NOFILE, before)
    assert start(worker=worker).read_all().text


@pytest.mark.parametrize("free", range(0, 9))
def test_a_start_is_lost_when_the_pool_has_too_few_descriptors(children: Children, free: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = os.open("/dev/null", os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (held + free, before[1]))
    try:
        child = children.start(FAKE, run_id="r", environ={})
    except ChildLost:
        pass
    else:
        child.stop(0)
        child.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.close(held)


def test_a_start_is_lost_when_the_process_table_is_full(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> NoReturn:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    with monkeypatch.context() as table:
        table.setattr(subprocess, "Popen", full)
        with pytest.raises(ChildLost, match=r"^no process could be made: Resource"):
            start()
    assert start(text="again").read_all().text == "again"
