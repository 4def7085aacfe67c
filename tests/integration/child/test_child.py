"""Children that are processes: real hosts, real workers. The last test runs all the others under gevent."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from runtime.child import Child, Children, forked, host_process, protocol
from runtime.child import hosts as hosts_module
from runtime.child.child_process import ChildProcess
from runtime.child.host_process import HostProcess
from runtime.errors import ChildFailed, ChildLost, OutputTooLarge
from runtime.registry import Worker, discover, load
from runtime.sandbox.rules import Rules
from runtime.settings import CHECKOUT, Settings
from runtime.settings import load as load_settings

WORKERS = CHECKOUT / "tests" / "workers"
REGISTRY = discover([CHECKOUT / "workers", WORKERS])
FAKE = replace(REGISTRY.get("fake"), sandbox=Rules(write=("/tmp",)))  # noqa: S108
"""It may reach the files of its tests. The data folder is elsewhere."""
SHELL = REGISTRY.get("shell")
WITHIN = 20.0
"""Seconds that anything may take on a busy machine."""

_GEVENT = "BRANCHLINE_TEST_GEVENT"
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs subreapers")


class Talk:
    """A child with a run, and the events that it emits."""

    def __init__(self, child: Child, config: dict[str, Any], **more: Any) -> None:
        self.child = child
        self.events: list[protocol.WorkerEvent] = []
        self.decoder = protocol.Decoder()
        line = {"type": "run", "protocol": 1, "run": {"id": "run-1", "attempt": 1}, "config": config, **more}
        child.send(json.dumps(line).encode())

    def read_more(self) -> bool:
        """Read one more chunk; False at the end."""
        chunk = self.child.read()
        self.events += self.decoder.feed(chunk) if chunk else self.decoder.end()
        return bool(chunk)

    def read_all(self) -> Talk:
        while self.read_more():
            pass
        return self

    def until_text(self, text: str) -> Talk:
        while text not in self.text and self.read_more():
            pass
        assert text in self.text
        return self

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, protocol.Delta))

    @property
    def logged(self) -> str:
        """Output that was not of the protocol."""
        return "".join(event.text for event in self.events if isinstance(event, protocol.Log))

    @property
    def log(self) -> str:
        log = b""
        while chunk := self.child.read_log():
            log += chunk
        return log.decode()


Start = Callable[..., Talk]


@pytest.fixture
def settings() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as home:
        yield load_settings({"BRANCHLINE_HOME": home})


@pytest.fixture
def children(settings: Settings) -> Iterator[Children]:
    children = Children(settings, {**os.environ, "FAKE_VARIABLE": "seen", "SECRET": "unseen"})
    yield children
    children.close()


@pytest.fixture
def start(children: Children) -> Start:
    """Start a child of a worker, ``fake`` unless another is given, with a config."""

    def start(
        mode: str = "ok", worker: Worker = FAKE, more: dict[str, Any] | None = None, **config: Any
    ) -> Talk:
        child = children.start(worker, run_id="run-1", environ={"BRANCHLINE_API_URL": "http://api"})
        return Talk(child, {"mode": mode, **config}, **(more or {}))

    return start


@pytest.fixture
def make_worker(tmp_path: Path) -> Callable[..., Worker]:
    """Write a worker of type python whose file is ``source``."""

    def make(source: str, more: str = "") -> Worker:
        folder = tmp_path / "made"
        folder.mkdir(exist_ok=True)
        manifest = f'id = "made"\nname = "Made"\ntype = "python"\nentrypoint_path = "made.py"\n{more}'
        (folder / "worker.toml").write_text(manifest)
        (folder / "made.py").write_text(textwrap.dedent(source))
        return load(folder)

    return make


def alive(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {WITHIN} s"
        time.sleep(0.01)


def test_a_child_emits_its_text_and_ends_with_done(start: Start) -> None:
    talk = start(text="Hi ", count=3).read_all()
    assert talk.text == "Hi Hi Hi "
    assert talk.events[-1] == protocol.Done()
    assert talk.child.wait(WITHIN) == 0


def test_echo_repeats_every_message_exactly(start: Start) -> None:
    text = "  two  spaces\n\nand lines\r\n\ttabs \u2028 separators 👩‍👩‍👧 done \n"
    for piece in ("character", "word", "line"):
        messages = [{"role": "user", "content": "not this"}, {"role": "user", "content": text}]
        talk = start(worker=REGISTRY.get("echo"), more={"messages": messages}, piece=piece).read_all()
        assert talk.text == text


def test_a_child_sees_its_run_and_nothing_of_the_pool(start: Start) -> None:
    seen = json.loads(start("environ").read_all().text)
    environ = seen["environ"]
    assert environ["BRANCHLINE_RUN_ID"] == "run-1"
    assert environ["BRANCHLINE_API_URL"] == "http://api"
    assert environ["FAKE_VARIABLE"] == "seen"
    assert environ["PATH"] == os.environ["PATH"]
    assert "SECRET" not in environ and _GEVENT not in environ
    assert seen["folder"] == str(FAKE.folder)
    assert seen["session"] == seen["pid"]


def test_children_of_one_worker_do_not_see_each_other(children: Children, make_worker: Any) -> None:
    worker = make_worker(
        """
        import random
        seen = []
        def run(run):
            seen.append(run.id)
            return f"{len(seen)} {random.random()}"
        """
    )
    texts = []
    for number in range(3):
        child = children.start(worker, run_id=str(number), environ={})
        texts.append(Talk(child, {}).read_all().text)
    assert {text.split()[0] for text in texts} == {"1"}
    assert len({text.split()[1] for text in texts}) == 3


def test_what_a_worker_prints_goes_to_the_log(start: Start) -> None:
    talk = start("noise", text="x").read_all()
    assert talk.text == "xx"
    assert talk.events[-1] == protocol.Done()
    log = talk.log
    assert "only printed" in log and "echoed by a program" in log


def test_garbage_goes_to_the_log_and_harms_nothing(start: Start) -> None:
    talk = start("garbage", text="x").read_all()
    assert talk.text == "xx"
    assert talk.events[-1] == protocol.Done()
    assert talk.logged.startswith("plain words\n")
    assert "\0" not in talk.logged
    assert "'nonsense'" in talk.logged


def test_an_exception_is_reported_and_its_traceback_is_logged(start: Start) -> None:
    talk = start("raise", text="before").read_all()
    assert talk.text == "before"
    assert talk.events[-1] == protocol.Failed("ValueError: as you asked", retryable=False)
    assert "Traceback" in talk.log
    assert talk.child.wait(WITHIN) == 1


def test_a_failure_is_reported_without_a_traceback(start: Start) -> None:
    talk = start("fail", retryable=True).read_all()
    assert talk.events[-1] == protocol.Failed("It did not work out.", retryable=True)
    assert "Traceback" not in talk.log


@pytest.mark.parametrize(
    ("mode", "code"),
    [("crash", 3), ("exit", 3), ("segfault", -signal.SIGSEGV), ("silent", 0), ("exit0_mid_message", 0)],
)
def test_the_exit_code_shows_how_a_child_ended(start: Start, mode: str, code: int) -> None:
    talk = start(mode, exit_code=3).read_all()
    assert talk.child.wait(WITHIN) == code
    assert not any(isinstance(event, protocol.Done | protocol.Failed) for event in talk.events)


def test_a_wait_for_a_living_child_ends_after_its_timeout(start: Start) -> None:
    talk = start("hang", text="there").until_text("there")
    assert talk.child.wait(0.05) is None


def test_a_hanging_child_ends_when_stopped(start: Start) -> None:
    talk = start("hang", text="there").until_text("there")
    talk.child.stop(WITHIN)
    assert talk.child.wait(0) == 128 + signal.SIGTERM
    assert talk.read_all().text == "there"


def test_a_stopped_worker_can_clean_up_and_emit_text(start: Start) -> None:
    talk = start("clean_up", text="a ").until_text("a ")
    talk.child.stop(WITHIN)
    assert talk.read_all().text == "a cleaned up"


def test_the_cancel_line_stops_a_worker(start: Start) -> None:
    talk = start("clean_up", text="a ").until_text("a ")
    talk.child.send(b'{"type":"cancel"}')
    assert talk.read_all().text == "a cleaned up"
    assert talk.child.wait(WITHIN) == 128 + signal.SIGTERM


def test_the_end_of_stdin_stops_a_worker(start: Start) -> None:
    talk = start("clean_up", text="a ").until_text("a ")
    assert isinstance(talk.child, ChildProcess)
    talk.child._stdin.close()  # nothing public closes it alone, but the death of a pool does
    assert talk.read_all().text == "a cleaned up"


def test_a_child_that_ignores_sigterm_is_killed_when_stopped(start: Start) -> None:
    talk = start("ignore_term", text="there").until_text("there")
    talk.child.stop(0.05)
    assert talk.child.wait(0) == -signal.SIGKILL


def test_a_child_can_be_stopped_twice_and_after_its_end(start: Start) -> None:
    talk = start().read_all()
    talk.child.wait(WITHIN)
    talk.child.stop(1)
    talk.child.stop(0)
    talk.child.send(b"late")
    talk.child.close()
    assert talk.child.read() == b""


@linux
@pytest.mark.parametrize("grace", [0, 0.2])
def test_programs_that_a_worker_started_end_with_it(start: Start, grace: float, tmp_path: Path) -> None:
    talk = start("child", path=str(tmp_path / "pid"))
    wait_until(lambda: talk.read_more() and talk.text != "", "a pid")
    pid = int(talk.text)
    assert alive(pid)
    talk.child.stop(grace)
    wait_until(lambda: not alive(pid), "the end of the program")


@linux
def test_a_daemonised_grandchild_ends_with_the_run(start: Start) -> None:
    talk = start("daemon").read_all()  # its pipes would stay open if the grandchild lived on
    assert talk.child.wait(WITHIN) == 0
    wait_until(lambda: not alive(int(talk.text)), "the end of the grandchild")


@linux
def test_the_end_of_one_run_leaves_the_processes_of_others_alone(start: Start) -> None:
    staying = start("child")
    wait_until(lambda: staying.read_more() and staying.text != "", "a pid")
    for _ in range(3):
        start("daemon").read_all().child.wait(WITHIN)
    assert alive(int(staying.text)) and staying.child.wait(0) is None


def spare_of(host: int) -> int:
    """The process that a host has forked ahead."""
    found: list[str] = []

    def there() -> bool:
        found[:] = Path(f"/proc/{host}/task/{host}/children").read_text().split()
        return len(found) == 1

    wait_until(there, "a spare")
    return int(found[0])


def host_of(children: Children, worker: Worker) -> int:
    return children.hosts.for_worker(worker).pid


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


@linux
def test_nothing_of_a_request_stays_where_later_children_could_read_it() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.send(b'{"environ": {"BRANCHLINE_RUN_TOKEN": "secret"}}')
        message, _ = forked.receive(theirs)

    assert forked.decode(message)["environ"] == {"BRANCHLINE_RUN_TOKEN": "secret"}
    assert not any(forked._BUFFER)  # it is private, and part of what a later child's memory shows


def test_a_run_starts_when_the_spare_was_killed(start: Start, children: Children) -> None:
    host = host_of(children, FAKE)
    killed = spare_of(host)
    os.kill(killed, signal.SIGKILL)
    talk = start(text="x").read_all()
    assert talk.child.pid != killed or talk.child.wait(WITHIN) == -signal.SIGKILL
    wait_until(lambda: not alive(killed), "the end of the spare")
    assert start(text="again").read_all().text == "again"


@linux
def test_a_spare_holds_nothing_of_a_run_and_ends_with_its_host(start: Start, children: Children) -> None:
    host = host_of(children, FAKE)
    start(text="x").read_all().child.wait(WITHIN)
    spare = spare_of(host)
    wait_until(lambda: os.getsid(spare) == spare, "a session of its own")
    kinds = []
    for number in os.listdir(f"/proc/{spare}/fd"):
        with suppress(FileNotFoundError):  # it is closed just now
            kinds.append(os.readlink(f"/proc/{spare}/fd/{number}"))
    assert sum(kind.startswith("pipe:") for kind in kinds) <= 2, kinds  # stdout and stderr of the pool
    children.close()
    wait_until(lambda: not alive(spare), "the end of the spare")


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
        wait_until(lambda: catches(host.pid, signal.SIGTERM) or host.poll() is not None, "the host waits")
        ours.sendall(json.dumps({"type": "serve", "entrypoint": None}).encode())
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
    wait_until(lambda: not any(map(alive, pids)), "the end of all processes")


@linux
def test_children_are_reported_ended_when_their_host_dies(start: Start, children: Children) -> None:
    talk = start("child")
    wait_until(lambda: talk.read_more() and talk.text != "", "a pid")
    os.kill(parent_of(talk.child.pid), signal.SIGKILL)
    talk.read_all()
    assert talk.child.wait(WITHIN) == -signal.SIGKILL
    assert talk.child.lost == "the process that had started it ended"
    wait_until(lambda: not alive(int(talk.text)), "the end of the program")
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
        wait_until(lambda: not alive(host.pid), "the end of the host")
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
    before = resource.prlimit(host, resource.RLIMIT_NOFILE)
    resource.prlimit(host, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{host}/fd")) + 1, before[1]))
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


@linux
def test_programs_that_a_worker_starts_have_none_of_its_pipes(children: Children, make_worker: Any) -> None:
    worker = make_worker(
        """
        import subprocess
        def run(run):
            listed = ["ls", "-l", "/proc/self/fd"]
            return subprocess.run(listed, close_fds=False, capture_output=True, text=True).stdout
        """
    )
    for _ in range(2):  # a fork of its own, and the spare
        child = children.start(worker, run_id="r", environ={})
        text = Talk(child, {}).read_all().text
        assert text.count("pipe:") == 2 and "socket:" not in text, text  # those that subprocess made
        spare_of(host_of(children, worker))


def test_a_closed_stdout_is_the_end_of_what_is_read_but_not_of_the_child(start: Start) -> None:
    talk = start("close_stdout_and_sleep", text="x").read_all()
    assert talk.text == "x"
    assert talk.child.wait(0.05) is None


def test_a_flood_arrives_completely_and_fast(start: Start) -> None:
    talk = start("flood", text="word ", count=100_000)
    before = time.monotonic()
    talk.read_all()
    assert talk.text == "word " * 100_000
    assert talk.events[-1] == protocol.Done()
    assert time.monotonic() - before < 5


def test_a_child_that_nobody_reads_waits_and_goes_on_when_read(start: Start) -> None:
    talk = start("flood", text="word ", count=50_000)
    assert talk.child.wait(0.3) is None
    assert talk.read_all().text == "word " * 50_000


def test_a_line_without_an_end_is_cut_short(start: Start) -> None:
    talk = start("big_line", size=20 << 20)
    with pytest.raises(OutputTooLarge):
        talk.read_all()
    talk.child.stop(0)


def test_a_run_larger_than_the_pipe_is_sent_without_waiting(start: Start) -> None:
    messages = [{"role": "user", "content": "é" * 3_000_000}]
    talk = start(worker=REGISTRY.get("echo"), more={"messages": messages}, piece="line").read_all()
    assert talk.text == messages[0]["content"]


def test_a_send_never_waits_when_the_child_does_not_read(start: Start) -> None:
    talk = start("ignore_term", text="there").until_text("there")
    before = time.monotonic()
    for _ in range(50):
        talk.child.send(b"x" * 100_000)
    assert time.monotonic() - before < 10  # else for as long as the child lives
    assert talk.child.wait(0.05) is None
    talk.child.stop(0)


def test_many_children_run_at_once(start: Start) -> None:
    talks = [start(text=f"{number} ", count=20) for number in range(50)]
    threads = [threading.Thread(target=talk.read_all) for talk in talks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WITHIN)
    assert [talk.text for talk in talks] == [f"{number} " * 20 for number in range(50)]
    assert [talk.child.wait(WITHIN) for talk in talks] == [0] * 50


def test_no_descriptor_is_left_open_after_a_child(start: Start) -> None:
    start().read_all().child.wait(WITHIN)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        talk = start().read_all()
        assert talk.log == ""
        talk.child.wait(WITHIN)
        talk.child.stop(0)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_command_speaks_the_protocol(start: Start) -> None:
    talk = start(worker=SHELL).read_all()
    assert talk.text == "Hello from a shell."
    assert talk.events[0] == protocol.Step("Reading the run")
    assert protocol.Log("this line is for the log\n") in talk.events
    assert talk.events[-1] == protocol.Done()
    assert talk.log == "shell: run run-1\n"


def test_a_command_gets_the_cancel_line_when_its_run_is_cancelled(start: Start) -> None:
    talk = start(worker=SHELL, hang=True).until_text("a shell.")
    talk.child.send(b'{"type":"cancel"}')
    assert talk.read_all().text == "Hello from a shell. Stopped."


def test_a_start_fails_when_the_command_does_not_exist(start: Start) -> None:
    missing = replace(SHELL, command=("no-such-program-here",))
    with pytest.raises(ChildFailed, match="'no-such-program-here' was not found"):
        start(worker=missing)


def test_a_command_that_cannot_be_executed_logs_why(start: Start, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("neither a script nor a program")
    program.chmod(0o755)
    talk = start(worker=replace(SHELL, command=(str(program),))).read_all()
    assert talk.child.wait(WITHIN) == 126
    assert "could not be executed" in talk.log


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_a_node_worker_speaks_the_protocol(start: Start, tmp_path: Path) -> None:
    (tmp_path / "worker.toml").write_text('id = "n"\nname = "N"\ntype = "node"\nentrypoint_path = "n.mjs"\n')
    (tmp_path / "n.mjs").write_text(
        """
        import { createInterface } from "node:readline";
        const say = (event) => process.stdout.write(JSON.stringify(event) + "\\n");
        for await (const line of createInterface({ input: process.stdin })) {
            const { config } = JSON.parse(line);
            for (const unit of config.text) say({ type: "delta", text: unit });
            for (const half of config.text.split("")) say({ type: "delta", text: half });
            say({ type: "done" });
            break;
        }
        process.exit(0);
        """
    )
    talk = start(worker=load(tmp_path), text="é😀").read_all()
    assert talk.text == "é😀é😀"
    assert talk.events[-1] == protocol.Done()


def test_a_child_has_the_limits_of_its_worker(start: Start) -> None:
    limits = replace(SHELL.limits, open_files=77, memory_bytes=1 << 30)
    worker = replace(SHELL, command=("/bin/sh", "-c", "ulimit -n; ulimit -d"), limits=limits)
    talk = start(worker=worker).read_all()
    assert talk.logged == f"77\n{(1 << 30) // 1024}\n"


def test_children_yield_to_the_pool_when_the_processors_are_busy(start: Start) -> None:
    talk = start(worker=replace(SHELL, command=("/bin/sh", "-c", "nice"))).read_all()
    assert int(talk.logged) == min(os.nice(0) + 5, 19)


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
        wait_until(lambda: children.hosts.for_worker(worker) is not before, "another host")
        assert another_host()
        wait_until(lambda: not alive(hosts[0]), "the end of the first host")
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

    wait_until(lambda: not alive(before), "the end of the idle host")
    assert alive(python), "it has imported its worker"
    running.child.send(b'{"type":"cancel"}')
    assert running.read_all().text == "Hello from a shell. Stopped."
    assert start(worker=idle).read_all().text == "Hello from a shell."


def test_nothing_is_started_after_close(children: Children) -> None:
    children.close()
    with pytest.raises(ChildFailed, match="shutting down"):
        children.start(FAKE, run_id="r", environ={})


@pytest.mark.skipif(_GEVENT in os.environ, reason="this is that run")
def test_all_of_this_holds_under_gevent() -> None:
    patched = "from gevent import monkey; monkey.patch_all(); "
    script = patched + "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", script, __file__, "-q", "-p", "no:cacheprovider"],
        cwd=CHECKOUT,
        env={**os.environ, _GEVENT: "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
