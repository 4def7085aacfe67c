"""A forked process: how it becomes a child of its own, and how it ends.

Whatever it touches costs time: a page of memory that it shares with its host is copied
as soon as anything in it changes, even a reference count. So the code here is short and
calls the simplest functions of the standard library.
"""

from __future__ import annotations

# The wrappers in the signal module, which turn arguments and results into enums, cost each
# child the copies of twenty pages.
import _signal  # type: ignore[import-not-found]
import errno
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeGuard

from runtime.sdk import driver, exits
from runtime.sdk.loader import Loaded
from runtime.sdk.wire import Wire, decode_json
from runtime.system import processes

BOOTSTRAP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bootstrap.py")
"""Runs a module of ours in any interpreter."""
MAX_MESSAGE = 256 * 1024
"""Bytes of a message between pool, host and child."""
_BUFFER = bytearray(MAX_MESSAGE)
_FIRST = 16 * 1024
"""Bytes that most requests fit into."""
_ANCILLARY = socket.CMSG_SPACE(4 * 4)
"""Room for four descriptors, which are C ints."""
BLOCKED = (int(signal.SIGTERM), int(signal.SIGINT))
"""Blocked in the host, so that a signal for a forked process waits until its own handlers are set."""

SHOW_STACK = int(signal.SIGUSR1)
"""Has a Python worker write to its log where each of its threads is."""

FOLDER_MISSING = "the worker's folder was missing on the machine of its pool"
_OF_MACHINE = frozenset(
    {
        errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EIO,
        errno.ESTALE, errno.ETXTBSY,
    }
)  # fmt: skip
"""Errors that a program meets because its machine is short of something, not because it is wrong."""

_NICE = 5
"""Lowers the priority of children: the pool must renew its leases however many of them compute."""

_HANDLED = (int(signal.SIGCHLD), *BLOCKED)
_SIGKILL = int(signal.SIGKILL)
_UNBLOCK, _DEFAULT = int(signal.SIG_UNBLOCK), int(signal.SIG_DFL)


def leave_host(host: int, descriptors: Sequence[int]) -> None:
    """Undo what the host (pid ``host``) has set up for itself, and become a session of its own."""
    _signal.set_wakeup_fd(-1)
    for number in _HANDLED:
        _signal.signal(number, _DEFAULT)
    _signal.pthread_sigmask(_UNBLOCK, BLOCKED)
    processes.die_with_parent(_SIGKILL)
    if os.getppid() != host:
        os._exit(1)  # the host died before the kernel knew to signal us
    processes.adopt_orphans()
    os.setsid()
    os.nice(_NICE)
    for descriptor in descriptors:
        os.close(descriptor)


def receive(source: socket.socket) -> tuple[bytes, list[int]]:
    """A message and the descriptors that came with it; empty at the end."""
    size, ancillary, _, _ = source.recvmsg_into([_BUFFER], _ANCILLARY)
    descriptors = [
        int.from_bytes(data[at : at + 4], sys.byteorder)
        for _, _, data in ancillary
        for at in range(0, len(data) - 3, 4)
    ]
    return bytes(memoryview(_BUFFER)[:size]), descriptors


def decode(message: bytes) -> dict[str, Any]:
    """The JSON object of a message from one of our own processes."""
    decoded: dict[str, Any] = decode_json(message.decode())
    return decoded


def is_of_machine(error: BaseException) -> TypeGuard[OSError]:
    """Whether the machine is to blame for an error: the same may work there later, or elsewhere now."""
    return isinstance(error, OSError) and error.errno in _OF_MACHINE


def await_request(source: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Wait, as the spare, until the host passes on a start request; end the process if none comes."""
    _preload()
    data, descriptors = receive(source)
    if not data:
        os._exit(0)
    return decode(data), descriptors


def _preload() -> None:
    """Touch some of the memory that the run will touch, while nobody waits for it."""
    os.environ["BRANCHLINE_RUN_ID"] = ""
    _BUFFER[:_FIRST] = bytes(_FIRST)
    with suppress(BaseException):  # the run may do without, whatever the worker's import has changed
        driver.rehearse()


def become_interpreter(entrypoint: str, host: socket.socket) -> NoReturn:
    """Replace this fork by an interpreter that imports the worker itself; see :mod:`runtime.child.ahead`."""
    os.set_inheritable(host.fileno(), True)
    arguments = ["runtime.child.ahead", entrypoint, str(host.fileno())]
    os.execv(sys.executable, [sys.executable, BOOTSTRAP, *arguments])


def execute(
    worker: Loaded | None, request: dict[str, Any], descriptors: list[int], host: socket.socket
) -> NoReturn:
    """Execute the run: with ``worker``, or with the command that ``request`` names.

    ``host`` is told what prevents it. It is closed before anything of the author's is
    executed, so that a worker cannot say of itself that it was lost.
    """
    stdin, stdout, stderr, *group = descriptors
    os.dup2(stderr, 2)
    os.close(stderr)
    try:
        for entrance in group:  # the pool has opened it: a sandboxed process could not
            os.write(entrance, b"0")
            os.close(entrance)
        _enter(request, _read(stdin, request["environ_bytes"]))
    except FileNotFoundError:
        give_up(host, FOLDER_MISSING)
    except OSError as error:
        give_up(host, f"its process could not be set up: {error.strerror}")
    if request["command"]:
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        os.close(stdin)
        os.close(stdout)
        _exec(request["command"], host)
    os.close(host.fileno())
    # The host's stdin is empty; so is the worker's, and what it prints goes to the log.
    os.dup2(2, 1)
    os.set_inheritable(stdin, False)
    os.set_inheritable(stdout, False)
    _run_worker(worker, Wire(stdin, stdout))


def give_up(host: socket.socket, reason: str) -> NoReturn:
    """End, and have the host report that the run was lost, and why."""
    os.write(host.fileno(), reason.encode())
    os._exit(70)


def _read(stdin: int, size: int) -> bytes:
    """The beginning of the input, which is the run's environment.

    It comes by no message of the host: that would have the run's token in its memory then, and with it
    every child that it forks later.
    """
    found = b""
    while len(found) < size:
        piece = os.read(stdin, size - len(found))
        if not piece:
            raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))  # the pool has ended
        found += piece
    return found


def _enter(request: dict[str, Any], variables: bytes) -> None:
    os.chdir(request["folder"])
    environ = os.environ
    for name, value in decode(variables).items():
        environ[name] = value
    _limit(resource.RLIMIT_NOFILE, request["open_files"])
    # Data, not address space: programs reserve far more address space than they use.
    _limit(resource.RLIMIT_DATA, request["memory_bytes"])


def _limit(kind: int, value: int | None) -> None:
    if value is not None:
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _exec(command: list[str], host: socket.socket) -> NoReturn:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, which programs do not expect
    try:
        os.execv(command[0], command)
    except OSError as error:
        name = os.path.basename(command[0])
        if is_of_machine(error):
            give_up(host, f"{name} could not be executed: {error.strerror}")
        os.write(2, f"{name} could not be executed: {error.strerror}\n".encode())
    os._exit(126)


def _run_worker(worker: Loaded | None, wire: Wire) -> NoReturn:
    assert worker is not None
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()  # else all children would draw the same numbers
    code = 70
    try:
        code = driver.execute(worker.function, wire, worker.choices)
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException:
        traceback.print_exc()
    finally:
        if exits.pending():
            wire.ignore_signals()  # its pool kills it if that takes too long
            exits.run()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                continue
        os._exit(code)


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return (end.code or 0) & 0xFF
    print(end.code, file=sys.stderr)
    return 1
