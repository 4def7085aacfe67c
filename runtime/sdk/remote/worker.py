"""What executes a run on this machine, and what starts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol


class Exit(NamedTuple):
    """How a worker has ended that has not said so itself, and was not well."""

    message: str
    """What the run's error says; if it is lost, a part of a sentence."""
    lost: bool = False
    """Whether that is no fault of the worker, so that another attempt may succeed."""


class Lost(Exception):
    """The worker could not be started, through no fault of its own: another attempt may succeed.

    The text says why as a part of a sentence.
    """


class Worker(Protocol):
    """A worker that executes one run. Its methods are those of :class:`.process.Process`."""

    def read(self) -> bytes: ...
    def read_log(self) -> bytes: ...
    def send(self, line: bytes) -> None: ...
    def exit(self, timeout: float) -> Exit | None: ...
    def show_stack(self) -> None: ...
    def stop(self, grace: float) -> None: ...
    def close(self) -> None: ...


Start = Callable[[str, Mapping[str, str], bytes], Worker]
"""Starts a worker by its id, with variables and the first line. Raises LookupError, OSError, Lost."""
