"""Hosts: what workers are imported in, and what children are forked from."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime import logs
from runtime.child import Children, protocol
from runtime.child import hosts as hosts_module
from runtime.child.child_process import ChildProcess
from runtime.errors import ChildFailed
from runtime.logs import OneLine
from runtime.registry import Worker
from runtime.settings import CHECKOUT, Settings
from runtime.testing.waiting import until
from tests.support.talk import (
    FAKE,
    SHELL,
    WITHIN,
    Start,
    Talk,
    alive,
    host_of,
    linux,
    parent_of,
    spare_of,
)


def test_what_is_printed_while_a_worker_is_imported_is_text_in_the_log_of_its_pool(
    children: Children, make_worker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Also the last line of a host, which has no end."""
    caplog.set_level(logging.INFO, "runtime")
    logs.begin()  # a request that this process has served before is not what it is about
    worker = make_worker(
        r"""
        import os, sys
        print("a\x1b[2J\n12:00:00 ERROR   runtime: forged", flush=True)
        print("b" * 5000, file=sys.stderr, flush=True)
        os.write(2, b"\xff the end")
        os._exit(1)
        """
    )

    with pytest.raises(ChildFailed):
        children.warm(worker)

    line = OneLine("%(levelname)s %(message)s")
    logged = [line.format(record) for record in caplog.records if "printed" in record.message]
    assert logged[0] == f"INFO worker {worker.id} printed: a\\x1b[2J"
    assert logged[1] == f"INFO worker {worker.id} printed: 12:00:00 ERROR   runtime: forged"
    assert logged[-1] == f"INFO worker {worker.id} printed: \ufffd the end"
    assert sum(one.count("b") for one in logged[2:-1]) >= 5000


def test_a_worker_that_prints_very_much_while_it_is_imported_fills_no_log(
    children: Children, make_worker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "runtime")
    worker = make_worker(r"""
        print("\n" * 100_000, flush=True)
        def run(run): ...
        """)

    children.warm(worker)

    until(lambda: "lines more" in caplog.text, what="the rest is only counted")
    assert caplog.text.count("printed: ") < 2000


@linux
@pytest.mark.parametrize("worker", [FAKE, SHELL], ids=["forked", "command"])
def test_a_process_that_was_forked_ahead_becomes_the_next_child(
    start: Start, children: Children, worker: Worker
) -> None:
    host = host_of(children, worker)
    spares = []
    for _ in range(2):
        spares.append(spare_of(host))
        talk = start(worker=worker).read_all()
        assert talk.child.pid == spares[-1]
        assert talk.child.wait(WITHIN) == 0
    assert spares[0] != spares[1]


SEARCHES_ITS_MEMORY = r"""
    import re

    def run(run):
        found = set()
        with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
            for line in maps.read().splitlines():
                place, mode, *_ = line.split()
                if mode.startswith("rw"):
                    start, end = (int(address, 16) for address in place.split("-"))
                    memory.seek(start)
                    found.update(re.findall(rb"t[o]ken-of-(ann|ben|cem) ", memory.read(end - start)))
        return " ".join(sorted(name.decode() for name in found))
    """


@linux
@pytest.mark.parametrize("spare", [True, False], ids=["forked ahead", "forked for the run"])
def test_the_token_of_a_run_is_not_in_the_memory_of_later_ones(
    children: Children, make_worker: Any, spare: bool
) -> None:
    worker = make_worker(SEARCHES_ITS_MEMORY)
    host = host_of(children, worker)
    for name, length in (("ann", 1000), ("ben", 30), ("cem", 1)):  # what is shorter hides less of the last
        if spare:
            spare_of(host)
        token = f"token-of-{name} " * length
        child = children.start(worker, run_id=name, environ={"BRANCHLINE_RUN_TOKEN": token})
        assert Talk(child, {}).read_all().text == name
        child.close()


def test_a_run_starts_when_the_spare_was_killed(start: Start, children: Children) -> None:
    host = host_of(children, FAKE)
    killed = spare_of(host)
    os.kill(killed, signal.SIGKILL)
    talk = start(text="x").read_all()
    assert talk.child.pid != killed or talk.child.wait(WITHIN) == -signal.SIGKILL
    until(lambda: not alive(killed), what="the end of the spare")
    assert start(text="again").read_all().text == "again"


@linux
def test_a_spare_holds_nothing_of_a_run_and_ends_with_its_host(start: Start, children: Children) -> None:
    host = host_of(children, FAKE)
    start(text="x").read_all().child.wait(WITHIN)
    spare = spare_of(host)
    until(lambda: os.getsid(spare) == spare, what="a session of its own")

    def pipes() -> int:
        kinds = []
        for number in os.listdir(f"/proc/{spare}/fd"):
            with suppress(FileNotFoundError):  # it is closed just now
                kinds.append(os.readlink(f"/proc/{spare}/fd/{number}"))
        return sum(kind.startswith("pipe:") for kind in kinds)

    until(lambda: pipes() == 2, what="only stdout and stderr of its host are open")
    children.close()
    until(lambda: not alive(spare), what="the end of the spare")


@linux
def test_a_child_stopped_right_after_its_fork_ends_at_once(children: Children) -> None:
    host = host_of(children, FAKE)
    for spare in (True, False):
        if spare:
            spare_of(host)
        child = children.start(FAKE, run_id="r", environ={})
        assert isinstance(child, ChildProcess)
        child.stop(WITHIN)
        assert child.wait(0) in (-signal.SIGTERM, 128 + signal.SIGTERM)
        child.close()


def test_a_child_finds_its_line_when_it_starts(children: Children) -> None:
    text = "é" * 100_000  # more than a pipe holds
    line = {"type": "run", "run": {}, "config": {"mode": "ok", "text": text, "count": 1}}
    child = children.start(FAKE, run_id="r", environ={}, line=json.dumps(line).encode() + b"\n")
    assert isinstance(child, ChildProcess)
    decoder = protocol.Decoder()
    events: list[protocol.WorkerEvent] = []
    while chunk := child.read():
        events += decoder.feed(chunk)
    assert "".join(event.text for event in events if isinstance(event, protocol.Delta)) == text
    assert child.wait(WITHIN) == 0


@linux
def test_a_host_waits_for_a_pool_that_is_slow_to_send() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)  # as gevent hands it on
    command = [sys.executable, "-m", "runtime.child.host", str(theirs.fileno())]
    with subprocess.Popen(command, cwd=CHECKOUT, pass_fds=[theirs.fileno()]) as host, ours:
        theirs.close()
        until(lambda: catches(host.pid, signal.SIGTERM) or host.poll() is not None, what="the host waits")
        serve = {"type": "serve", "entrypoint": None, "sandbox": None, "python": None}
        ours.sendall(json.dumps(serve).encode())
        assert json.loads(ours.recv(4096))["type"] == "ready"


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(mask >> (number - 1) & 1)


def test_a_host_does_without_threading() -> None:
    """Importing it doubles what the fork of a light worker costs."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import runtime.child.host, sys; print('threading' in sys.modules)"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=True,
    )
    assert done.stdout == "False\n"


def test_a_host_leaves_children_to_the_pool_when_all_get_sigterm(start: Start) -> None:
    talk = start("ok", text="x", count=2, gap=1).until_text("x")
    os.kill(parent_of(talk.child.pid), signal.SIGTERM)
    assert talk.read_all().text == "xx"
    assert start(text="again").read_all().text == "again"


@linux
def test_the_host_of_a_worker_with_threads_survives_when_all_get_sigterm(
    children: Children, make_worker: Any
) -> None:
    worker = make_worker(
        """
        import threading, time
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        def run(run):
            yield "x"
            time.sleep(1)
            yield "y"
        """
    )
    child = children.start(worker, run_id="r", environ={})
    assert isinstance(child, ChildProcess)
    talk = Talk(child, {}).until_text("x")
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(parent_of(child.pid), number)
    assert talk.read_all().text == "xy"
    assert child.wait(WITHIN) == 0


def test_a_failed_import_names_its_line(children: Children, make_worker: Any) -> None:
    worker = make_worker("import json\nimport no_such_module\n")
    with pytest.raises(ChildFailed, match=r"No module named 'no_such_module' \(made.py, line 2\)"):
        children.start(worker, run_id="r", environ={})


def test_a_warm_up_fails_when_the_file_has_no_worker(children: Children, make_worker: Any) -> None:
    with pytest.raises(ChildFailed, match="no function named run"):
        children.warm(make_worker("def walk(run): ..."))


def test_a_worker_whose_import_starts_threads_is_not_forked(children: Children, make_worker: Any) -> None:
    worker = make_worker(
        """
        import os, threading
        lock = threading.Lock()
        lock.acquire()
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        def run(run):
            yield f"{threading.active_count()} {os.getcwd()}"
        """
    )
    children.warm(worker)
    children.warm(FAKE)
    spare_of(host_of(children, FAKE))  # there has been time enough for forking one ahead
    for _ in range(2):
        child = children.start(worker, run_id="r", environ={})
        assert Talk(child, {}).read_all().text == f"2 {worker.folder}"


def test_a_changed_worker_gets_a_new_host_and_the_old_one_finishes(
    children: Children, make_worker: Any
) -> None:
    source = "def run(run):\n    yield {!r}\n    {}"
    wait = "import time, os\n    while not os.path.exists('go'): time.sleep(0.01)\n    yield ' end'"
    old = make_worker(source.format("old", wait))
    running = Talk(children.start(old, run_id="r", environ={}), {}).until_text("old")
    new = make_worker(source.format("new", ""))
    assert new.digest != old.digest
    assert Talk(children.start(new, run_id="r", environ={}), {}).read_all().text == "new"
    (old.folder / "go").touch()
    assert running.read_all().text == "old end"


def test_a_host_is_replaced_after_many_children_while_runs_go_on(
    settings: Settings, make_worker: Any
) -> None:
    worker = make_worker(
        """
        import pathlib, time
        folder = pathlib.Path(__file__).parent
        first = not (folder / ".imported").exists()
        (folder / ".imported").touch()
        while not first and not (folder / ".go").exists():
            time.sleep(0.01)
        def run(run):
            yield "x"
        """,
        '[sandbox]\nwrite = ["."]',
    )
    children = Children(replace(settings, pool=replace(settings.pool, host_recycle=2)))
    hosts: list[int] = []

    def another_host() -> bool:
        child = children.start(worker, run_id="r", environ={})
        hosts.append(parent_of(child.pid))
        assert Talk(child, {}).read_all().text == "x"
        return len(set(hosts)) == 2

    try:
        children.warm(worker)
        for _ in range(5):  # while the next host imports
            assert not another_host()
        before = children.hosts.for_worker(worker)
        (worker.folder / ".go").touch()
        until(lambda: children.hosts.for_worker(worker) is not before, what="another host")
        assert another_host()
        until(lambda: not alive(hosts[0]), what="the end of the first host")
    finally:
        children.close()


def test_no_two_workers_and_no_two_versions_of_one_share_a_host(start: Start) -> None:
    versions = [SHELL, replace(SHELL, id="other"), replace(SHELL, digest="another version")]
    talks = [start(worker=worker, hang=True).until_text("a shell.") for worker in versions]
    assert len({parent_of(talk.child.pid) for talk in talks}) == len(versions)


def test_the_host_of_a_command_is_ended_when_it_is_idle_and_another_one_starts(
    children: Children, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, idle, warm = (replace(SHELL, id=name) for name in ("used", "idle", "warm"))
    python = host_of(children, FAKE)
    running = start(worker=used, hang=True).until_text("a shell.")
    start(worker=idle).read_all().child.wait(WITHIN)
    before = host_of(children, idle)
    host_of(children, warm)
    assert alive(before), "nobody is idle for ten minutes yet"

    monkeypatch.setattr(hosts_module, "_MAX_IDLE", 0.0)
    host_of(children, replace(SHELL, id="new"))

    until(lambda: not alive(before), what="the end of the idle host")
    assert alive(python), "it has imported its worker"
    running.child.send(b'{"type":"cancel"}')
    assert running.read_all().text == "Hello from a shell. Stopped."
    assert start(worker=idle).read_all().text == "Hello from a shell."


def test_nothing_is_started_after_close(children: Children) -> None:
    children.close()
    with pytest.raises(ChildFailed, match="shutting down"):
        children.start(FAKE, run_id="r", environ={})


def test_close_waits_until_nothing_is_left_of_a_host(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, closing, ends = children.hosts.for_worker(SHELL), threading.Event(), []
    handle_end, wait = host._handle_end, host.wait

    def handle_end_late() -> None:
        assert closing.wait(WITHIN)
        handle_end()
        ends.append(host)

    def wait_first() -> None:
        wait()
        closing.set()

    monkeypatch.setattr(host, "_handle_end", handle_end_late)
    monkeypatch.setattr(host, "wait", wait_first)
    children.hosts.close()

    assert ends == [host]
