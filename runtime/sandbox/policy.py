"""The policy: what a worker asks for and what its machine can do, made into what is in force.

Nothing is dropped silently. What a machine cannot do stands in :attr:`InForce.missing`,
with the reason; the pool's log, ``branchline doctor`` and ``branchline check`` print it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.sandbox import identity, namespaces, programs
from runtime.sandbox.machine import Machine, here
from runtime.sandbox.plan import Plan
from runtime.sandbox.rules import Level, Rules

FILES = "files"
"""It reads what its programs need and writes the folder of its run."""
SIGNALS = "signals"
"""It signals its own processes, and connects to no abstract socket of others."""
SYSTEM_CALLS = "system_calls"
"""It makes no system call that acts on others, or on the machine."""
OWN_UID = "own_uid"
"""It is a user of its own."""
PROCESSES = "processes"
"""The kernel limits how many processes it has."""
NETWORK = "network"
"""It connects to the hosts that its worker.toml names."""

_PROMISED: Mapping[Level, tuple[str, ...]] = {
    Level.NONE: (),
    Level.STANDARD: (FILES, SIGNALS, SYSTEM_CALLS),
    Level.STRICT: (FILES, SIGNALS, SYSTEM_CALLS, NETWORK),
}
"""What a worker whose ``required`` is true must have. A uid is one more wall behind these."""


@dataclass(frozen=True, slots=True)
class InForce:
    """What keeps the runs of one worker in their place."""

    level: Level
    measures: tuple[str, ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    """Measure → why it is not in force."""

    def encode(self) -> dict[str, Any]:
        """As a run shows it."""
        return {"level": str(self.level), "in_force": list(self.measures)}

    def describe(self) -> str:
        """As people read it: ``standard: files, signals; not own_uid (only root can give uids)``."""
        if self.level is Level.NONE:
            return f"none ({next(iter(self.missing.values()))})" if self.missing else "none"
        lacking = [f"not {name} ({why})" for name, why in self.missing.items()]
        return f"{self.level}: {'; '.join([', '.join(self.measures) or 'nothing', *lacking])}"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What every run may use where its worker.toml says nothing else."""

    disk_bytes: int
    processes: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pool runs."""

    checkout: Path
    private: Sequence[Path]
    """The data folder, the file of the database: no run may reach them, whatever its worker.toml says."""
    bounds: Bounds
    search_path: str
    """The PATH of its workers."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What the policy must know of a worker."""

    rules: Rules
    folder: Path
    command: Sequence[str]
    """The program that is executed, and its arguments; empty for a worker that is forked."""
    python: Path | None = None
    """The interpreter of its own environment, of which the forks are."""
    source: Path | None = None
    """The folder of which ``folder`` is a copy: what worker.toml says of paths is about this one."""


class Policy:
    """How one worker is kept in its place on this machine."""

    def __init__(self, subject: Subject, place: Place, machine: Machine | None = None) -> None:
        self._rules = subject.rules
        self._place = place
        self._machine = machine or here()
        self.private = private = tuple(path.resolve() for path in place.private)
        """What nothing in a worker.toml allows."""
        needed = programs.of_command(subject.command, place.search_path) if subject.command else []
        needed += programs.of_python(place.checkout, subject.python)
        source = subject.source or subject.folder
        asked = [str(subject.folder), str(source), *_expanded(subject.rules.read, source)]
        self.own_read = programs.resolved(asked, private)
        """What it may read because it is this worker."""
        shared = programs.resolved([*programs.SYSTEM, *needed], private)
        self.read = programs.outermost([*shared, *self.own_read])
        self.write = programs.outermost(programs.resolved(_expanded(subject.rules.write, source), ()))
        self.connect = subject.rules.connect
        self._closed = None if self._machine.no_uids else identity.closed_to_others(self._essential(subject))
        self._revealing = [
            path for path in self.write if any(secret.is_relative_to(path) for secret in private)
        ]
        self.in_force = self._decide()

    @property
    def refusal(self) -> str | None:
        """Why the worker must not run here; None: it may."""
        if self._rules.level is Level.NONE:
            return None
        if self._revealing and self._machine.linux:
            return (
                f"it is to write in {self._revealing[0]}, where Branchline's own data is; name other folders "
                "as write in [sandbox] of its worker.toml"
            )
        lacking = [name for name in _PROMISED[self._rules.level] if name in self.in_force.missing]
        if NETWORK in lacking and self._rules.credentials:
            return (
                "the credentials of its worker.toml can only be kept from it at level strict, which is not "
                f"in force here ({self.in_force.missing[NETWORK]})"
            )
        if self._rules.required and lacking:
            why = "; ".join(f"{name}: {self.in_force.missing[name]}" for name in lacking)
            return f"its worker.toml requires the sandbox, which this machine cannot give ({why})"
        return None

    def plan(self, folder: str) -> Plan | None:
        """What its host is to do, with ``folder`` for its runs; None: nothing."""
        if self.in_force.level is Level.NONE:
            return None
        measures, rules, bounds = self.in_force.measures, self._rules, self._place.bounds
        return Plan(
            folder=folder,
            read=self.read,
            write=self.write,
            landlock=FILES in measures,
            scopes=SIGNALS in measures,
            system_calls=SYSTEM_CALLS in measures,
            strict=NETWORK in measures,
            own_uid=OWN_UID in measures,
            disk_bytes=rules.disk_bytes or bounds.disk_bytes,
            processes=bounds.processes,
        )

    def _essential(self, subject: Subject) -> list[str]:
        """What a uid of its own must be able to reach for the worker to run at all."""
        found = list(programs.resolved(programs.of_python(self._place.checkout, subject.python), ()))
        if subject.command:
            found += [str(program) for program in programs.with_interpreters(Path(subject.command[0]))]
            # It may start whatever is on its PATH.
            folders = self._place.search_path.split(os.pathsep)
            found += [folder for folder in folders if os.path.isabs(folder) and os.path.isdir(folder)]
        return [*found, str(subject.folder), str(subject.folder.resolve())]

    def _decide(self) -> InForce:
        level, machine = self._rules.level, self._machine
        if level is Level.NONE:
            return InForce(level, ())
        missing: dict[str, str] = {}
        if machine.no_landlock:
            missing[FILES] = missing[SIGNALS] = machine.no_landlock
        elif not machine.signals:
            missing[SIGNALS] = f"its kernel's Landlock has ABI {machine.landlock}; 6 can (Linux 6.12)"
        if machine.no_system_calls:
            missing[SYSTEM_CALLS] = machine.no_system_calls
        if machine.no_uids:
            missing[OWN_UID] = machine.no_uids
        elif self.write:
            missing[OWN_UID] = f"what it writes in {self.write[0]} is to belong to the pool's user"
        elif self._closed:
            missing[OWN_UID] = f"{self._closed} is closed to other users"
        if OWN_UID in missing:
            missing[PROCESSES] = "without a uid for each run, its host counts them once a second instead"
        if not machine.linux:
            return InForce(Level.NONE, (), missing)
        if level is Level.STRICT:
            no_network = namespaces.missing()
            if SYSTEM_CALLS in missing:
                missing[NETWORK] = f"UNIX sockets would lead out of it ({missing[SYSTEM_CALLS]})"
            elif no_network is not None:
                missing[NETWORK] = no_network
        measures = (FILES, SIGNALS, SYSTEM_CALLS, OWN_UID, PROCESSES, NETWORK)
        possible = measures if level is Level.STRICT else measures[:-1]
        return InForce(level, tuple(m for m in possible if m not in missing), missing)


def _expanded(paths: Sequence[str], folder: Path) -> list[str]:
    """Paths of a worker.toml: relative ones are in the worker's folder."""
    return [os.path.join(folder, os.path.expanduser(path)) for path in paths]
