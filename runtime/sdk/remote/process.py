"""A worker as a process on this machine, in a session of its own, without a sandbox."""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .worker import Exit

_ALWAYS = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PACKAGE = (__package__ or "").rpartition(".")[0]
_ROOT = str(Path(__file__).resolve().parents[_PACKAGE.count(".") + 2])
"""Where this package is imported from."""


class WorkerFolders:
    """The workers below some folders, by their worker.toml."""

    def __init__(self, folders: list[str]) -> None:
        """Raises ValueError where one of them has no worker."""
        self._workers: dict[str, tuple[Path, dict[str, Any]]] = {}
        for folder in map(Path, folders):
            found = [folder] if (folder / "worker.toml").exists() else sorted(folder.iterdir())
            for one in found:
                if (one / "worker.toml").exists():
                    manifest = tomllib.loads((one / "worker.toml").read_text(encoding="utf-8"))
                    self._workers[manifest["id"]] = one.absolute(), manifest
        if not self._workers:
            raise ValueError(f"There is no worker.toml in {', '.join(folders)}, or in a folder there.")

    @property
    def ids(self) -> list[str]:
        """Which workers there are."""
        return sorted(self._workers)

    def start(self, worker_id: str, environ: Mapping[str, str], line: bytes) -> Process:
        """Start a worker with its first line. Raises LookupError, OSError."""
        if worker_id not in self._workers:
            raise LookupError(worker_id)
        folder, manifest = self._workers[worker_id]
        needed = [name.rstrip("?") for name in manifest.get("env", ())]
        own = {name: os.environ[name] for name in (*_ALWAYS, *needed) if name in os.environ}
        process = Process(_command(folder, manifest), folder, {**own, "PYTHONPATH": _ROOT, **environ})
        process.send(line)
        return process


def _command(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    match manifest["type"]:
        case "python":
            return [sys.executable, "-m", _PACKAGE, str(folder / manifest["entrypoint_path"])]
        case "node":
            return ["node", str(folder / manifest["entrypoint_path"])]
        case "exec":
            return list(manifest["command"])
    raise OSError(f"a worker of type {manifest['type']} cannot be executed on this machine")


class Process:
    """One worker that executes one run."""

    def __init__(self, command: list[str], folder: Path, environ: Mapping[str, str]) -> None:
        """Raises OSError."""
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_end_with_parent if _LIBC else None,
        )
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        threading.Thread(target=self._write, daemon=True).start()

    def read(self) -> bytes:
        """The next chunk of its output; empty at the end."""
        assert self._process.stdout is not None
        return os.read(self._process.stdout.fileno(), 1 << 16)

    def read_log(self) -> bytes:
        """The next chunk of its log; empty at the end."""
        assert self._process.stderr is not None
        return os.read(self._process.stderr.fileno(), 1 << 16)

    def send(self, line: bytes) -> None:
        """Send it a line, without waiting for it to read. One that has ended is no error."""
        self._lines.put(line.rstrip(b"\n") + b"\n")

    def _write(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError), self._process.stdin as stdin:
            while (line := self._lines.get()) is not None:
                stdin.write(line)
                stdin.flush()

    def exit(self, timeout: float) -> Exit | None:
        """How it has ended, for which so many seconds are waited; None: by exit code 0."""
        code = self._wait(timeout)
        if code == 0:
            return None
        if code is None:
            return Exit("The worker closed its output but did not end.")
        if code < 0:
            return Exit(f"The worker was killed by {_signal_name(-code)}.")
        return Exit(f"The worker ended with exit code {code}.")

    def show_stack(self) -> None:
        """It is not asked for that."""

    def stop(self, grace: float) -> None:
        """SIGTERM to its group, and SIGKILL after ``grace`` seconds."""
        until = time.monotonic() + grace
        while self._wait(0) is None and time.monotonic() < until:
            self._signal(signal.SIGTERM)
            self._wait(min(0.25, max(0.0, until - time.monotonic())))
        self._signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Close its pipes."""
        self._lines.put(None)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass

    def _wait(self, timeout: float) -> int | None:
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


def _end_with_parent() -> None:
    """In the child, before it executes anything: it is killed when the machine's process dies."""
    assert _LIBC is not None
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
