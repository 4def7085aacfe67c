"""What a worker's worker.toml says about its sandbox, in the table ``[sandbox]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Level(StrEnum):
    """How much of its machine a worker may reach."""

    NONE = "none"
    """What the pool may: its files, its secrets, its services."""
    STANDARD = "standard"
    """To read, programs and its own folder; to write, the folder of its run; and the network."""
    STRICT = "strict"
    """As ``standard``, but of the network only the hosts that ``connect`` names."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The table ``[sandbox]`` of one worker.toml."""

    level: Level = Level.STANDARD
    required: bool = False
    """Whether the worker is refused on a machine that cannot keep all that its level promises."""
    read: tuple[str, ...] = ()
    """Files and folders that it may read and execute beside those that every program needs."""
    write: tuple[str, ...] = ()
    """Files and folders that it may change beside the folder of its run."""
    connect: tuple[str, ...] = ()
    """Hosts, ``name`` or ``name:port``, that it may connect to at level ``strict``."""
    disk_bytes: int | None = None
    """How much its run may have in the folder of the run; None: as much as the pool says."""
    credentials: Mapping[str, str] = field(default_factory=dict)
    """Host → name of the variable whose value is sent to it, so that the worker never has it."""
