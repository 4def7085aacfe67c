"""Environments of their own that Python workers have: which interpreter it is, and whether it is there.

A worker.toml names an interpreter (``python``), or what is to be installed (``requirements``).
Environments of the latter kind are in the data folder::

    environments/
        lock                one installation at a time
        <key>/              by what is required and by which Python; complete once it has ``installed``
            bin/python
            installed
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.registry.manifest import Worker

_INCLUDES = re.compile(rb"^\s*(?:-r|-c|--requirement|--constraint)[=\s]\s*(\S+)", re.MULTILINE)
_MARK = "installed"


@dataclass(frozen=True, slots=True)
class Environment:
    """One that Branchline installs."""

    folder: Path
    requirements: Path
    """The file that says what is in it."""

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def mark(self) -> Path:
        """The file that is there once it is complete."""
        return self.folder / _MARK

    @property
    def installed(self) -> bool:
        """Whether it is complete."""
        return self.mark.is_file()


class Environments:
    """The environments of the workers of one machine."""

    def __init__(self, home: Path) -> None:
        """``home``: the data folder."""
        self.root = home / "environments"

    def python(self, worker: Worker) -> Path | None:
        """The interpreter that executes a worker; None: that of Branchline itself."""
        environment = self.of(worker)
        return environment.python if environment else worker.python

    def of(self, worker: Worker) -> Environment | None:
        """The environment that is installed for a worker; None if it needs none, or has one itself."""
        if worker.requirements is None:
            return None
        return Environment(self.root / _key(worker.requirements), worker.requirements)

    def missing(self, worker: Worker) -> str | None:
        """Why a worker cannot be executed for want of its environment; None: it is there."""
        try:
            environment = self.of(worker)
        except OSError as error:
            return f"what it requires cannot be read: {error.strerror}"
        if environment is not None and not environment.installed:
            return (
                f"what it requires is not installed; run `branchline install {worker.id}` where its pool runs"
            )
        python = worker.python
        if python is not None and not (python.is_file() and os.access(python, os.X_OK)):
            return (
                f"its interpreter {python} is not there, or not executable; make its environment, or "
                "correct `python` in its worker.toml"
            )
        return None


def _key(requirements: Path) -> str:
    """What is another one where something else would be installed. Raises OSError."""
    total = hashlib.sha256()
    for part in (sys.version, sysconfig.get_platform(), os.path.realpath(sys.executable)):
        total.update(f"{part}\0".encode())
    for content in _contents(requirements):
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()[:32]


def _contents(requirements: Path) -> Iterator[bytes]:
    """The file, and those that it includes."""
    files = [requirements]
    for file in files:  # which grows meanwhile
        content = file.read_bytes()
        yield content
        included = (file.parent / os.fsdecode(name) for name in _INCLUDES.findall(content))
        files += [path for path in included if path.is_file() and path not in files]
