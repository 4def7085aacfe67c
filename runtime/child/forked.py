"""A forked process: how it becomes a child of its own, and how it ends.

All that it touches costs it: a page of memory that it shares with its host is copied
when it changes so much as a reference count. So what runs here is short, and calls
the plainest functions there are.
"""

from __future__ import annotations

# What the signal module adds to this, enums of what is given and answered, costs each
# child the copies of twenty pages.
import _signal  # type: ignore[import-not-found]
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from runtime import processes
from runtime.sdk import driver
from runtime.sdk.loader import Function
from runtime.sdk.wire import Wire, decode_json

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAX_MESSAGE = 256 * 1024
"""Bytes of a message between pool, host and child."""
_BUFFER = bytearray(MAX_MESSAGE)
_ANCILLARY = socket.CMSG_SPACE(3 * 4)
"""Room for three descriptors, which are C ints."""
HELD_BACK = (int(signal.SIGTERM), int(signal.SIGINT))
"""Blocked in the host, so that what comes before a child is itself waits for it."""

_NICE = 5
"""Yielded to the pool, which must renew its leases however many children compute."""

_HANDLED = (int(signal.SIGCHLD), *HELD_BACK)
_SIGKILL = int(signal.SIGKILL)
_UNBLOCK, _DEFAULT = int(signal.SIG_UNBLOCK), int(signal.SIG_DFL)


def leave_host(host: int, descriptors: Sequence[int]) -> None:
    """Let go of all that is the host's (pid ``host``) and stand alone."""
    _signal.set_wakeup_fd(-1)
    for number in _HANDLED:
        _signal.signal(number, _DEFAULT)
    _signal.pthread_sigmask(_UNBLOCK, HELD_BACK)
    processes.die_with_parent(_SIGKILL)
    if os.getppid() != host:
        os._exit(1)  # the host died before the kernel could have told us
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
    message = bytes(memoryview(_BUFFER)[:size])
    _BUFFER[:size] = bytes(size)  # one run's token is nothing for the memory of the next one's child
    return message, descriptors


def decode(message: bytes) -> dict[str, Any]:
    """The JSON object of a message, which one of our own processes has made."""
    decoded: dict[str, Any] = decode_json(message.decode())
    return decoded


def await_order(source: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Wait, as the spare, for the run that the host gives away; end where none comes."""
    _rehearse()
    data, descriptors = receive(source)
    if not data:
        os._exit(0)
    os.close(source.fileno())
    return decode(data), descriptors


def _rehearse() -> None:
    """Touch, while nobody waits for it, some of what the run will touch."""
    os.environ["BRANCHLINE_RUN_ID"] = ""
    decode_json('{"": [0, 0.5, null]}')


def execute(worker: Function | None, order: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Execute the run that ``order`` and its stdin bring: by ``worker``, or by the order's command."""
    stdin, stdout, stderr = descriptors
    os.dup2(stderr, 2)
    os.close(stderr)
    _enter(order)
    if order["command"]:
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        os.close(stdin)
        os.close(stdout)
        _replace(order["command"])
    # The host's stdin is empty; so is the worker's, and what it prints goes to the log.
    os.dup2(2, 1)
    os.set_inheritable(stdin, False)
    os.set_inheritable(stdout, False)
    _work(worker, Wire(stdin, stdout))


def _enter(order: dict[str, Any]) -> None:
    if order["group"]:
        # Not open(): see above.
        descriptor = os.open(f"{order['group']}/cgroup.procs", os.O_WRONLY)
        os.write(descriptor, b"0")
        os.close(descriptor)
    os.chdir(order["folder"])
    environ = os.environ
    for name, value in order["environ"].items():
        environ[name] = value
    _limit(resource.RLIMIT_NOFILE, order["open_files"])
    # Data, not address space: programs reserve far more of that than they use.
    _limit(resource.RLIMIT_DATA, order["memory_bytes"])


def _limit(kind: int, value: int | None) -> None:
    if value is not None:
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _replace(command: list[str]) -> NoReturn:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it; programs do not expect that
    try:
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]} could not be executed: {error.strerror}\n".encode())
    os._exit(126)


def _work(worker: Function | None, wire: Wire) -> NoReturn:
    assert worker is not None
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()  # all children would draw the same numbers
    code = 70
    try:
        code = driver.execute(worker, wire)
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException:
        traceback.print_exc()
    finally:
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
