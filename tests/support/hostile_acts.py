"""What a hostile run tries: each act answers what it got, or raises the error that it was refused with.

It is copied into the folders of workers of every type, so it needs nothing but the standard
library. Each act is done by a process of its own, since some would end it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Target = dict[str, Any]
ACTS: dict[str, Callable[[Target], object]] = {}
LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER, _CLONE_NEWNS, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000, 0x20000000, 0x40000000


def act(function: Callable[[Target], object]) -> Callable[[Target], object]:
    """Register an act under its function's name."""
    ACTS[function.__name__] = function
    return function


def attempt(name: str, target: Target) -> str:
    """Do an act in a process of its own; what it got, or the name of the error."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            text = f"done: {ACTS[name](target)}"
        except OSError as error:
            text = f"refused: {errno.errorcode.get(error.errno or 0, str(error))}"
        except sqlite3.Error as error:
            text = f"refused: {error}"
        except BaseException as error:
            line = error.__traceback__.tb_next.tb_lineno if error.__traceback__.tb_next else 0
            text = f"failed: {type(error).__name__} in line {line}: {error}"
        os.write(writer, text.encode()[:4000])
        os._exit(0)
    os.close(writer)
    parts = []
    while part := os.read(reader, 4096):
        parts.append(part)
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    return b"".join(parts).decode() or f"ended: {os.waitstatus_to_exitcode(status)}"


def syscall(number: int, *arguments: object) -> int:
    """A system call by its number. Raises OSError."""
    result = LIBC.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return int(result)


def call(name: str, *arguments: object) -> int:
    """A function of the C library. Raises OSError."""
    result = getattr(LIBC, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return int(result)


def each(function: Callable[..., object], *things: object) -> object:
    """What the first of these gives that is not refused. Raises the last refusal."""
    refusal: OSError | None = None
    for thing in things:
        try:
            return function(thing)
        except OSError as error:
            refusal = error
    raise refusal or FileNotFoundError(errno.ENOENT, "there is none")


# ── files ───────────────────────────────────────────────────────────────────


@act
def read_the_secret_key(target: Target) -> object:
    return Path(target["home"], "secret").read_text()


@act
def read_the_database_file(target: Target) -> object:
    with contextlib.closing(sqlite3.connect(f"file:{target['home']}/branchline.db?mode=ro", uri=True)) as c:
        return c.execute("SELECT email FROM users").fetchall()


@act
def list_the_data_folder(target: Target) -> object:
    return os.listdir(target["home"])


@act
def reach_the_data_folder_by_a_link(target: Target) -> object:
    link = Path(os.environ["HOME"], "link")
    link.symlink_to(target["home"])
    return (link / "secret").read_text()


@act
def move_the_secret_key(target: Target) -> object:
    return os.rename(Path(target["home"], "secret"), Path(os.environ["HOME"], "secret"))


@act
def link_the_secret_key(target: Target) -> object:
    return os.link(Path(target["home"], "secret"), Path(os.environ["HOME"], "secret"))


@act
def read_the_users_files(target: Target) -> object:
    return each(lambda path: Path(path).read_bytes(), *target["files"])


@act
def write_into_its_own_folder(target: Target) -> object:
    return Path(__file__).with_name("new").write_text("")


@act
def write_into_the_workers(target: Target) -> object:
    return Path(target["checkout"], "workers", "echo", "new.py").write_text("")


@act
def write_into_the_checkout(target: Target) -> object:
    return each(lambda path: Path(target["checkout"], path).open("a"), "runtime/model.py", "setup.cfg")


@act
def write_into_the_temporary_folder(target: Target) -> object:
    return Path("/tmp", f"branchline-{os.getpid()}").write_text("")  # noqa: S108


@act
def write_into_the_folder_of_another_run(target: Target) -> object:
    return Path(target["sibling_home"], "new").write_text("")


@act
def read_the_folder_of_another_run(target: Target) -> object:
    return os.listdir(target["sibling_home"])


@act
def change_a_file_that_it_may_not_open(target: Target) -> object:
    path = os.path.join(target["home"], "secret")
    return each(
        lambda change: change(),
        lambda: os.chmod(path, 0o644),
        lambda: os.chown(path, os.getuid(), os.getgid()),
        lambda: os.utime(path),
        lambda: os.setxattr(path, "user.x", b""),
        lambda: os.truncate(path, 0),
    )


# ── processes ───────────────────────────────────────────────────────────────


@act
def read_the_environment_of_the_pool(target: Target) -> object:
    return each(lambda pid: Path(f"/proc/{pid}/environ").read_bytes(), *target["pids"])


@act
def find_a_secret_in_any_process(target: Target) -> object:
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdecimal() and target["marker"].encode() in Path(f"/proc/{entry}/environ").read_bytes():
                return entry
    raise PermissionError(errno.EACCES, "no environment had it")


@act
def steal_the_token_of_a_sibling(target: Target) -> object:
    mine = os.environ["BRANCHLINE_RUN_TOKEN"].encode()
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdecimal():
                found = Path(f"/proc/{entry}/environ").read_bytes()
                if b"BRANCHLINE_RUN_TOKEN=" in found and mine not in found:
                    return entry
    raise PermissionError(errno.EACCES, "no environment had one")


@act
def read_the_memory_of_a_sibling(target: Target) -> object:
    return each(lambda pid: os.open(f"/proc/{pid}/mem", os.O_RDONLY), *siblings(target))


@act
def write_into_the_answer_of_a_sibling(target: Target) -> object:
    return each(lambda pid: os.open(f"/proc/{pid}/fd/1", os.O_WRONLY), *siblings(target))


@act
def trace_the_pool(target: Target) -> object:
    return each(lambda pid: call("ptrace", 16, pid, 0, 0), *target["pids"])


@act
def trace_a_sibling(target: Target) -> object:
    return each(lambda pid: call("ptrace", 16, pid, 0, 0), *siblings(target))


@act
def read_another_process_directly(target: Target) -> object:
    buffer = ctypes.create_string_buffer(8)
    vector = struct.pack("PN", ctypes.addressof(buffer), 8)
    return each(lambda pid: syscall(310, pid, vector, 1, vector, 1, 0), *target["pids"], *siblings(target))


@act
def stop_the_pool(target: Target) -> object:
    return each(lambda pid: os.kill(pid, signal.SIGSTOP), *target["pids"])


@act
def stop_a_sibling(target: Target) -> object:
    return each(lambda pid: os.kill(pid, signal.SIGSTOP), *siblings(target))


@act
def limit_the_pool(target: Target) -> object:
    return each(lambda pid: resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1)), *target["pids"])


@act
def slow_the_pool_down(target: Target) -> object:
    return each(
        lambda change: change(),
        *(change for pid in target["pids"] for change in (
            lambda pid=pid: os.setpriority(os.PRIO_PROCESS, pid, 19),
            lambda pid=pid: os.sched_setaffinity(pid, {0}),
            lambda pid=pid: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)),
            lambda pid=pid: syscall(251, 1, pid, 3 << 13),
        )),
    )  # fmt: skip


@act
def own_signals(target: Target) -> object:
    """What it must be able to do: end what it has started."""
    process = subprocess.Popen(["sleep", "60"])
    process.kill()
    return process.wait()


# ── sockets ─────────────────────────────────────────────────────────────────


@act
def use_redis(target: Target) -> object:
    with socket.create_connection(("127.0.0.1", target["redis_port"]), 5) as connection:
        connection.sendall(b"PING\r\n")
        answer = connection.recv(100)
    if answer.startswith(b"-"):
        raise PermissionError(errno.EACCES, answer.decode())
    return answer


@act
def connect_to_an_abstract_socket(target: Target) -> object:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect("\0" + target["abstract"])


# ── the kernel ──────────────────────────────────────────────────────────────


@act
def make_namespaces(target: Target) -> object:
    flags = (_CLONE_NEWUSER, _CLONE_NEWUSER | _CLONE_NEWNS, _CLONE_NEWPID, _CLONE_NEWNET)
    return each(lambda flag: call("unshare", flag), *flags)


@act
def mount_something(target: Target) -> object:
    folder = tempfile.mkdtemp(dir=os.environ["HOME"]).encode()
    call("mount", b"none", folder, b"tmpfs", 0, None)
    return call("umount2", folder, 0)  # only where it was not refused, and then nothing is to stay


@act
def have_privileges(target: Target) -> object:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    if status["NoNewPrivs"] == "1" and int(status["CapEff"], 16) | 2 == 2:
        raise PermissionError(errno.EPERM, "none")
    return status["NoNewPrivs"], status["CapEff"]


@act
def become_root(target: Target) -> object:
    if os.geteuid() == 0:
        done = subprocess.run([sys.executable, "-c", "import os; os.setuid(1)"], capture_output=True)
    else:
        done = subprocess.run(["su", "-c", "id"], capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise PermissionError(errno.EPERM, "refused")
    return done.stdout


@act
def share_memory_by_system_v(target: Target) -> object:
    private = 0
    return each(
        lambda create: create(),
        lambda: call("shmget", private, 4096, 0o600 | 0o1000),
        lambda: call("semget", private, 1, 0o600 | 0o1000),
        lambda: call("msgget", private, 0o600 | 0o1000),
    )


@act
def clone_in_the_new_way(target: Target) -> object:
    return syscall(435, None, 0)


@act
def use_another_abi(target: Target) -> object:
    return syscall(0x40000000 | 39)


# ── what every program needs ────────────────────────────────────────────────


@act
def ordinary_work(target: Target) -> object:
    """Not hostile: all of this must be possible."""
    import asyncio
    import concurrent.futures
    import ssl
    import tempfile

    home = Path(os.environ["HOME"])
    (home / "a").mkdir()
    (home / "a" / "file").write_text("x")
    (home / "a" / "file").rename(home / "file")
    assert tempfile.mkdtemp().startswith(str(home))
    assert Path.home() == home
    for text in Path(__file__).with_name("worker.toml"), Path("/etc/hosts"):
        assert text.read_text()
    assert socket.getaddrinfo("localhost", 80)
    assert ssl.create_default_context()
    assert asyncio.run(asyncio.sleep(0, "slept")) == "slept"
    assert subprocess.run(["sh", "-c", "ls /usr >/dev/null && echo said"], capture_output=True).stdout
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        assert list(threads.map(abs, [-1, 1])) == [1, 1]
    with open(os.devnull, "w") as nothing:
        nothing.write("x")
    os.kill(os.getpid(), 0)
    return "all"


@act
def spawn_until_it_is_stopped(target: Target) -> object:
    for _ in range(300):
        if os.fork() == 0:
            os.closerange(3, 64)  # whoever waits for what this act got must not wait for its processes
            time.sleep(600)
            os._exit(0)
    time.sleep(600)
    return "nothing has stopped it"


def siblings(target: Target) -> Iterator[int]:
    """The processes of other runs of this worker, and its host."""
    yield from target["siblings"]


def kill_all(others: list[int]) -> None:
    """Kill every process that may be killed, unless one of ``others`` may be: then all would be lost."""
    for pid in others:
        with contextlib.suppress(PermissionError):
            os.kill(pid, 0)
            raise AssertionError(f"this run could kill the process {pid}, so it has killed none")
    os.kill(-1, signal.SIGKILL)


def main() -> None:
    """As an exec or a node worker: read the run, do the acts, say what they got."""
    run = json.loads(sys.stdin.readline())
    for text in perform(run["args"]):
        sys.stdout.write(json.dumps({"type": "delta", "text": text}) + "\n")
        sys.stdout.flush()


def perform(args: Target) -> Iterator[str]:
    """Say who one is, do the acts that ``args`` names, and say what each got."""
    yield json.dumps({"pid": os.getpid(), "parent": os.getppid(), "home": os.environ["HOME"]}) + "\n"
    if args.get("open"):
        Path(args["open"]).read_text()
    for number in range(1000 if args.get("fill") else 0):
        Path(os.environ["HOME"], str(number)).write_bytes(bytes(args["fill"]))
        time.sleep(0.5)
    time.sleep(args.get("wait", 0))
    if args.get("kill_all"):
        kill_all(args["kill_all"])
    yield json.dumps({name: attempt(name, args) for name in args.get("acts", ())})


if __name__ == "__main__":
    main()
