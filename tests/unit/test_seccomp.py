"""The filter of system calls: what it answers, by reading it and by asking the kernel."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.sandbox import seccomp, syscalls
from runtime.sandbox.seccomp import Profile
from runtime.sandbox.syscalls import Architecture
from tests.support.kernel import needs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux'")

X86_64 = Architecture(0xC000003E, 0, 0x40000000)
AARCH64 = Architecture(0xC00000B7, 1, None)
HEADERS = ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm-generic/unistd.h")

OWN, SHARED = Profile(own_uid=True, strict=False), Profile(own_uid=False, strict=False)
STRICT = Profile(own_uid=True, strict=True)
PROFILES = [OWN, SHARED, STRICT, Profile(own_uid=False, strict=True)]

_UNIX, _INET, _INET6, _NETLINK, _PACKET, _VSOCK, _SMC = 1, 2, 10, 16, 17, 40, 43
_STREAM, _DGRAM, _RAW, _SEQPACKET = 1, 2, 3, 5
_FLAGS = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
ANY = (1 << 64) - 1

REFUSED = [
    *((name, ()) for name in seccomp._REFUSED),
    ("clone", (0x10000000,)),
    ("clone", (0x40000000 | signal.SIGCHLD,)),
    ("clone", (0x00020000,)),
    ("clone", (0x8000 | signal.SIGCHLD,)),
    ("unshare", (0x10000000,)),
    ("unshare", (0x80,)),
    ("prlimit64", (1, 0)),
    ("prlimit64", (0xFFFF_FFFF_0000_0001, 0)),
    ("setpriority", (0, 1)),
    ("setpriority", (1, 0)),
    ("setpriority", (2, 0)),
    ("sched_setaffinity", (1,)),
    ("sched_setscheduler", (1,)),
    ("sched_setparam", (1,)),
    ("sched_setattr", (1,)),
    ("ioprio_set", (1, 1)),
    ("ioprio_set", (2, 0)),
    ("ioprio_set", (3, 0)),
    ("personality", (0x0400000,)),
    ("mknodat", (0, 0, 0o020666)),
    ("mknodat", (0, 0, 0o060666)),
    ("ioctl", (0, 0x5412)),
    ("ioctl", (0, 0xFFFF_FFFF_0000_5412)),
    ("ioctl", (0, 0x541C)),
    ("socket", (_INET, _STREAM, 262)),
    ("socket", (_INET6, _STREAM | _FLAGS, 262)),
    ("socket", (_INET, _STREAM, 256)),
    ("socket", (_INET, _STREAM, 132)),
    ("socket", (_INET, _RAW, 6)),
    ("socket", (_INET, _RAW | _FLAGS, 1)),
    ("socket", (_INET, _SEQPACKET, 132)),
    ("socket", (_INET, 6, 33)),
    ("socket", (_PACKET, _RAW, 0)),
    ("socket", (_VSOCK, _STREAM, 0)),
    ("socket", (_SMC, _STREAM, 0)),
    ("sendto", (0, 0, 0, 0x20000000)),
    ("sendmsg", (0, 0, 0x20000000)),
    ("sendmmsg", (0, 0, 0, 0x20004000)),
    ("setsockopt", (0, 6, 30)),
    ("setsockopt", (0, 6, 19)),
]
"""System calls and arguments that every profile refuses."""

ALLOWED = [
    ("clone", (0x3D0F00,)),
    ("clone", (signal.SIGCHLD,)),
    ("unshare", (0x400,)),
    ("prlimit64", (0, 0)),
    ("setpriority", (0, 0)),
    ("sched_setaffinity", (0,)),
    ("sched_setattr", (0,)),
    ("ioprio_set", (1, 0)),
    ("personality", (0,)),
    ("personality", (0xFFFFFFFF,)),
    ("mknodat", (0, 0, 0o010666)),
    ("mknodat", (0, 0, 0o100666)),
    ("ioctl", (0, 0x5413)),
    ("socket", (_INET, _STREAM, 0)),
    ("socket", (_INET6, _STREAM | _FLAGS, 6)),
    ("socketpair", (_UNIX, _STREAM | _FLAGS, 0)),
    ("socketpair", (_UNIX, _SEQPACKET, 0)),
    ("sendto", (0, 0, 0, 0x4000)),
    ("sendmsg", (0, 0, 0x4000)),
    ("setsockopt", (0, 6, 1)),
    ("setsockopt", (0, 1, 30)),
]
"""What every profile allows."""

REFUSED_IF_STRICT = [
    ("bind", ()),
    ("listen", ()),
    ("socket", (_UNIX, _STREAM, 0)),
    ("socket", (_UNIX, _DGRAM | _FLAGS, 0)),
    ("socket", (_INET, _DGRAM, 0)),
    ("socket", (_INET6, _DGRAM | _FLAGS, 17)),
    ("socket", (_NETLINK, _RAW, 0)),
    ("socketpair", (_UNIX, _DGRAM, 0)),
    ("socketpair", (_UNIX, _DGRAM | _FLAGS, 0)),
]

REFUSED_UNDER_THE_POOLS_UID = [
    *((name, ()) for name in seccomp._REFUSED_UNDER_THE_POOLS_UID),
    ("ioctl", (0, 0x40086602)),
    ("ioctl", (0, 0x401C5820)),
]


def _answer(program: bytes, audit: int, number: int, arguments: tuple[int, ...]) -> int:
    """What a filter answers to a call: 0, or an error's number. It is executed as the kernel does."""
    data = struct.pack("=iIQ6Q", number, audit, 0, *(*arguments, *[ANY] * 6)[:6])
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at, accumulator = 0, 0
    while True:
        operation, if_true, if_false, operand = code[at]
        at += 1
        match operation:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, operand)[0]
            case 0x54:
                accumulator &= operand
            case 0x15:
                at += if_true if accumulator == operand else if_false
            case 0x25:
                at += if_true if accumulator > operand else if_false
            case 0x45:
                at += if_true if accumulator & operand else if_false
            case 0x06:
                assert operand == 0x7FFF0000 or operand >> 16 == 5
                return 0 if operand == 0x7FFF0000 else operand & 0xFFFF
            case _:
                raise AssertionError(f"operation {operation:#x}")


@pytest.fixture(params=[X86_64, AARCH64], ids=["x86_64", "aarch64"])
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Architecture:
    monkeypatch.setattr(syscalls, "architecture", lambda: request.param)
    return request.param


def _asked(profile: Profile, where: Architecture, rows: list) -> dict[str, int]:
    """What the filter answers to each row whose call this architecture has."""
    program = seccomp.program(profile)
    return {
        f"{name}{arguments}": _answer(program, where.audit, number, arguments)
        for name, arguments in rows
        if (number := syscalls.number(name, where)) is not None
    }


@pytest.mark.parametrize("profile", PROFILES, ids=str)
def test_the_filter_refuses_and_allows_what_its_profile_says(profile: Profile, where: Architecture) -> None:
    assert set(_asked(profile, where, REFUSED).values()) == {errno.EPERM}
    assert set(_asked(profile, where, ALLOWED).values()) == {0}
    assert set(_asked(profile, where, REFUSED_IF_STRICT).values()) == {errno.EPERM if profile.strict else 0}
    by_owner = _asked(profile, where, REFUSED_UNDER_THE_POOLS_UID)
    assert set(by_owner.values()) == {0 if profile.own_uid else errno.EPERM}


def test_calls_that_libraries_replace_by_older_ones_are_unknown(where: Architecture) -> None:
    program = seccomp.program(OWN)
    assert _answer(program, where.audit, 435, ()) == errno.ENOSYS
    assert _answer(program, where.audit, syscalls.HIGHEST + 1, ()) == errno.ENOSYS


def test_the_calls_of_another_abi_are_refused() -> None:
    if (own := syscalls.architecture()) is None:
        pytest.skip("this machine's calls are not known")
    program = seccomp.program(OWN)
    assert _answer(program, 0x40000003, 20, ()) == errno.EPERM  # getpid of i386
    if own.foreign:
        assert _answer(program, own.audit, own.foreign | 39, ()) == errno.EPERM  # getpid of x32


@pytest.mark.parametrize("column", [0, 1], ids=["x86_64", "aarch64"])
def test_the_numbers_are_those_of_the_kernels_headers(column: int) -> None:
    header = Path(HEADERS[column])
    if not header.exists():
        pytest.skip("no kernel headers here")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
    numbers = {name: int(number) for name, number in found}
    highest = max(numbers.values())
    for name, columns in syscalls.NUMBERS.items():
        if columns[0] is None or columns[0] <= highest:  # headers are older than the newest calls
            assert columns[column] == numbers.get(name), name


# ── the kernel's answers ────────────────────────────────────────────────────

needs_seccomp = needs(seccomp.supported())


def _sandboxed(profile: Profile, ask: Callable[[], object]) -> object:
    """What ``ask`` returns in a forked process that the filter is installed in."""
    program = seccomp.program(profile)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
            seccomp.install(program)
            os.write(writer, json.dumps(ask()).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    return json.loads(answer)


def _call(name: str, arguments: tuple[int, ...]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    number = syscalls.number(name, syscalls.architecture())
    filled = [ctypes.c_uint64(value) for value in (*arguments, *[ANY] * 6)[:6]]
    return 0 if libc.syscall(number, *filled) >= 0 else ctypes.get_errno()


@needs_seccomp
@pytest.mark.parametrize("profile", PROFILES, ids=str)
def test_the_kernel_refuses_what_the_filter_refuses(profile: Profile) -> None:
    rows = [*REFUSED]
    rows += REFUSED_IF_STRICT if profile.strict else []
    rows += [] if profile.own_uid else REFUSED_UNDER_THE_POOLS_UID
    here = [row for row in rows if syscalls.number(row[0], syscalls.architecture()) is not None]
    answers = _sandboxed(profile, lambda: [_call(*row) for row in here])
    assert [row for row, answer in zip(here, answers, strict=True) if answer != errno.EPERM] == []


@needs_seccomp
def test_a_second_filter_cannot_lift_the_first() -> None:
    def ask() -> int:
        seccomp.install(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000))
        return _call("ptrace", (0, 1))

    assert _sandboxed(OWN, ask) == errno.EPERM


PYTHON = """
import asyncio, concurrent.futures, os, resource, subprocess
os.nice(1)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.sched_setaffinity(0, os.sched_getaffinity(0))
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    assert list(pool.map(abs, [-1, -2])) == [1, 2]
assert subprocess.run(["sh", "-c", "echo hello | cat"], capture_output=True, check=True).stdout == b"hello\\n"
async def main():
    process = await asyncio.create_subprocess_exec("true")
    assert await process.wait() == 0
asyncio.run(main())
print("done")
"""
PYTHON_SERVER = """
import asyncio, socket, threading
def serve(listener):
    with listener.accept()[0] as connection:
        connection.sendall(connection.recv(5))
async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener,)).start()
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"hello")
    assert await reader.read(5) == b"hello"
asyncio.run(main())
print("done")
"""
NODE = """
const { execFileSync } = require("child_process");
const { Worker } = require("worker_threads");
execFileSync("sh", ["-c", "true"]);
new Worker("0", { eval: true }).on("exit", () => console.log("done"));
"""
NODE_SERVER = """
const net = require("net");
const server = net.createServer((c) => c.end("hello")).listen(0, "127.0.0.1", () => {
  net.connect(server.address().port, "127.0.0.1").on("data", (d) => {
    console.log(d.toString() === "hello" ? "done" : "wrong");
    process.exit(0);
  });
});
"""
CLIENTS = {"python": [sys.executable, "-c", PYTHON], "node": ["node", "-e", NODE]}
SERVERS = {"python": [sys.executable, "-c", PYTHON_SERVER], "node": ["node", "-e", NODE_SERVER]}


def _run_under(profile: Profile, command: list[str]) -> object:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")

    def ask() -> list[object]:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return [ended.stdout, ended.stderr]

    return _sandboxed(profile, ask)


@needs_seccomp
@pytest.mark.parametrize("profile", PROFILES, ids=str)
@pytest.mark.parametrize("command", CLIENTS.values(), ids=CLIENTS)
def test_programs_run_under_the_filter(profile: Profile, command: list[str]) -> None:
    assert _run_under(profile, command) == ["done\n", ""]


@needs_seccomp
@pytest.mark.parametrize("profile", [OWN, SHARED], ids=str)
@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_programs_serve_under_the_filter_where_they_are_not_strict(
    profile: Profile, command: list[str]
) -> None:
    assert _run_under(profile, command) == ["done\n", ""]
