"""The plan: what a host is told to do to itself and to its children."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

HOME = "home"
"""The name of a host's own folder, in which it is at home while it imports its worker."""


class Plan(NamedTuple):
    """What is in force for one worker on this machine."""

    folder: str
    """In which the host makes the folders of its runs."""
    read: tuple[str, ...]
    """What its runs may read and execute, beside their own folders."""
    write: tuple[str, ...]
    """What they may change, beside their own folders."""
    landlock: bool
    scopes: bool
    """Whether signals and abstract sockets are kept within the run."""
    system_calls: bool
    strict: bool
    own_uid: bool
    disk_bytes: int
    processes: int

    @property
    def home(self) -> str:
        """HOME and TMPDIR of the host."""
        return f"{self.folder}/{HOME}"

    def encode(self) -> dict[str, Any]:
        """As JSON."""
        return self._asdict()

    @classmethod
    def decode(cls, data: Mapping[str, Any]) -> Plan:
        """From JSON."""
        return cls(**{**data, "read": tuple(data["read"]), "write": tuple(data["write"])})
