"""Talking to a child that a test has started, and looking at its processes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.child import Child, Children, protocol
from runtime.registry import Worker, discover
from runtime.sandbox.rules import Rules
from runtime.settings import CHECKOUT
from runtime.testing.waiting import until

WORKERS = CHECKOUT / "tests" / "workers"
REGISTRY = discover([CHECKOUT / "workers", WORKERS])
FAKE = replace(REGISTRY.get("fake"), sandbox=Rules(write=("/tmp",)))  # noqa: S108
"""It may reach the files of its tests. The data folder is elsewhere."""
SHELL = REGISTRY.get("shell")
WITHIN = 60.0
"""Seconds that anything may take on a busy machine."""

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs subreapers")

Start = Callable[..., "Talk"]
"""Starts a child: the fixture ``start``."""


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


def alive(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process lead to."""
    folder = f"/proc/{pid}/fd"
    found = []
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):  # it was closed meanwhile
            found.append(os.readlink(f"{folder}/{name}"))
    return found


def spare_of(host: int) -> int:
    """The process that a host has forked ahead."""
    found: list[str] = []

    def there() -> bool:
        found[:] = Path(f"/proc/{host}/task/{host}/children").read_text().split()
        return len(found) == 1

    until(there, what="a spare")
    return int(found[0])


def host_of(children: Children, worker: Worker) -> int:
    return children.hosts.for_worker(worker).pid
