"""What a worker's worker.toml says about its sandbox, in the table ``[sandbox]``."""

from __future__ import annotations

from dataclasses import dataclass
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
class Credential:
    """A secret of the pool that is sent to one host for a strict worker, which never has it itself."""

    host: str
    """The host's name, with ``:port`` after it where that is not 443."""
    variable: str
    """The pool's variable with the secret. The worker has one of this name, without it."""
    base_url_variable: str
    """The worker's variable with the URL that stands for the host."""
    path: str = ""
    """What that URL has after the host."""
    header: str = "Authorization"
    format: str = "Bearer {}"
    """The header's value, with ``{}`` for the secret."""


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
    """What it may connect to at level ``strict``; see :mod:`runtime.sandbox.destinations`."""
    disk_bytes: int | None = None
    """How much its run may have in the folder of the run; None: as much as the pool says."""
    credentials: tuple[Credential, ...] = ()
    """What is added to its requests at level ``strict``."""
