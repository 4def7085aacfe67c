"""Programs that tests call again and again, in processes that are forked off one which has imported them.

To import the product takes most of a second of the processor, which each of a hundred calls would take
anew. So one process imports what all of them need, and each call is a process of its own that goes on
from there: with the arguments, environment, umask and files of the call, and nothing of another one.
What is about importing itself has to be started by Python as usual.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import math
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, NoReturn

import gevent
from gevent import monkey

from runtime.settings import CHECKOUT

_TIMED_OUT = -signal.SIGALRM
_STREAMS = ("stdin", "stdout", "stderr")


class Forks:
    """The process that has imported a program, for the ``with`` block."""

    def __init__(self, program: str, *, gevent: bool = False) -> None:
        """``program``: a module, and the function in it that each call executes; its imports are shared.

        ``gevent``: the process is one of gevent, as those of the web and of pools.
        """
        python = [sys.executable, "-m", *(("gevent.monkey", "--module") if gevent else ())]
        self._server = subprocess.Popen(
            [*python, __name__, program],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._turn = threading.Lock()

    def __enter__(self) -> Forks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate(timeout=60)

    def call(
        self, arguments: Sequence[str], environ: Mapping[str, str], stdin: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Execute the program in a process of its own, with exactly this environment."""
        with self._turn, TemporaryDirectory() as folder:
            (given, out, err) = (Path(folder, name) for name in _STREAMS)
            given.write_text(stdin)
            umask = os.umask(0)
            os.umask(umask)
            asked = {
                "arguments": arguments,
                "environ": dict(environ),
                "umask": umask,
                "folder": folder,
                "timeout": timeout,
            }
            assert self._server.stdin is not None
            assert self._server.stdout is not None
            print(json.dumps(asked), file=self._server.stdin, flush=True)
            code = int(self._server.stdout.readline())
            if code == _TIMED_OUT:
                raise subprocess.TimeoutExpired(arguments, timeout, out.read_text(), err.read_text())
            return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())


def _serve(program: str) -> None:
    module, _, name = program.partition(":")
    function = getattr(importlib.import_module(module), name)
    gc.collect()
    gc.freeze()  # lest a collection in a forked process copies all of it
    fork = monkey.get_original("os", "fork")
    wait = monkey.get_original("os", "waitpid")
    requests = open(os.dup(0), encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    replies = os.dup(1)
    for line in requests:
        asked = json.loads(line)
        pid = fork()
        if not pid:
            os.close(replies)
            signal.alarm(math.ceil(asked["timeout"]))  # which ends the process
            end(_execute(function, asked))
        os.write(replies, f"{os.waitstatus_to_exitcode(wait(pid, 0)[1])}\n".encode())


def _execute(function: Any, asked: Mapping[str, Any]) -> int:
    """Call the function with the arguments and files that are asked for; the exit code."""
    gevent.reinit()
    os.umask(0o077)  # for the files with its output
    for descriptor, name in enumerate(_STREAMS):
        flags = os.O_RDONLY if name == "stdin" else os.O_WRONLY | os.O_CREAT
        opened = os.open(f"{asked['folder']}/{name}", flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
    os.umask(asked["umask"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    sys.argv[1:] = asked["arguments"]
    return call(function)


def call(function: Callable[[], Any]) -> int:
    """Call a function as Python calls a program; the exit code."""
    try:
        function()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def end(code: int) -> NoReturn:
    """End as Python does, but for taking every module apart."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
