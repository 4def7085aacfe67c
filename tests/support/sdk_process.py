"""A Python worker in a process of its own, executed by ``python -m runtime.sdk`` without a pool."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.settings import CHECKOUT

WITHIN = 60.0
"""Seconds that a process may take to end on a busy machine."""

Execute = Callable[..., "Executed"]
"""The fixture ``execute``: a worker's source, and what its first line has beside the run."""


class Executed:
    """A worker's process, and what it wrote."""

    def __init__(self, path: Path, line: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runtime.sdk", str(path)],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self.stdin, self.stdout, self.stderr = self.process.stdin, self.process.stdout, self.process.stderr
        self.stdin.write(json.dumps({"type": "run", "protocol": 1, **line}).encode() + b"\n")
        self.stdin.flush()

    def next(self) -> Any:
        return json.loads(self.stdout.readline())

    def answer(self, line: dict[str, Any]) -> None:
        self.stdin.write(json.dumps(line).encode() + b"\n")
        self.stdin.flush()

    def end(self) -> list[Any]:
        """Everything that it says until it ends."""
        said = [json.loads(line) for line in self.stdout]
        self.log = self.stderr.read().decode()
        self.process.wait(WITHIN)
        return said

    @property
    def code(self) -> int:
        return self.process.wait(WITHIN)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.stdin, self.stdout, self.stderr):
            pipe.close()
