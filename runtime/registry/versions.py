"""Versions: copies of workers' folders, so that a run ends on the files that it has begun with.

What the digest does not include is linked rather than copied: hidden files and folders (``.venv``,
``.env``), ``node_modules``, files over 16 MiB, and what the worker's runs write to. A link that
leads out of the folder leads to the same place from the copy.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Set
from pathlib import Path
from typing import NamedTuple

from runtime.errors import WorkerInvalid
from runtime.registry.digest import Identity, digest_of, identity_of, is_apart, is_large
from runtime.registry.manifest import Worker, load
from runtime.sandbox import folders
from runtime.system.greenlets import ThreadPool

_CACHE = "__pycache__"
_THREADS = ThreadPool(1)
"""Where folders are read, which may be large."""


class FolderChanges(WorkerInvalid):
    """its folder is being changed"""


class Reading(NamedTuple):
    """A worker's folder as it was at one moment."""

    worker: Worker
    identity: Identity


def read(source: Path) -> Reading:
    """The worker in a folder, as it is now. Raises WorkerInvalid, FolderChanges."""
    written = load(source, "").written
    try:
        before, digest = _THREADS.call(_look, source, written)
        worker = load(source, digest)
        if worker.written != written or _THREADS.call(identity_of, source, written) != before:
            raise FolderChanges
    except FileNotFoundError as error:
        raise FolderChanges from error
    return Reading(worker, before)


def copied(reading: Reading, copies: Path) -> Worker:
    """The worker with a copy of its folder, which is made below ``copies``.

    Raises FolderChanges where it was changed since it was read, and OSError.
    """
    worker = reading.worker
    if str(worker.source) in worker.written:
        return worker  # its runs write everywhere in it, and are to find that again
    copy = copies / f"{worker.id}-{worker.digest[:16]}-{time.time_ns():x}"
    try:
        _THREADS.call(_copied, str(worker.source), str(copy), worker.written, reading.identity)
    except FileNotFoundError as error:
        raise FolderChanges from error
    return worker.in_copy(copy)


class Glance(NamedTuple):
    """A folder, as it looks from outside."""

    identity: Identity | None
    """What is another one once something of it has changed; None while it cannot be read."""
    cost: float = 0.0
    """Seconds of the processor that it took to look."""


def glance(source: Path, written: Set[str] = frozenset()) -> Glance:
    """Look at a folder, of which ``written`` does not count."""
    try:
        return _THREADS.call(_glance, source, written)
    except OSError:
        return Glance(None)


def _glance(source: Path, written: Set[str]) -> Glance:
    began = time.thread_time()
    return Glance(identity_of(source, written), time.thread_time() - began)


def discard(worker: Worker) -> None:
    """Remove the copy of a version that nobody uses any more; what it links to stays."""
    if worker.folder != worker.source:
        folders.remove_aside(str(worker.folder))


def _look(source: Path, written: Set[str]) -> tuple[Identity, str]:
    return identity_of(source, written), digest_of(source, written)


def _copied(source: str, copy: str, written: Set[str], before: Identity) -> None:
    try:
        _copy(source, copy, source, written)
        if identity_of(Path(source), written) != before:
            raise FolderChanges
    except BaseException:
        folders.remove(copy)
        raise


def _copy(source: str, target: str, root: str, linked: Set[str]) -> None:
    os.mkdir(target)
    with os.scandir(source) as entries:
        for entry in entries:
            path = os.path.join(target, entry.name)
            if entry.name == _CACHE:
                continue
            if entry.is_symlink():
                os.symlink(_destination(entry.path, root), path)
            elif is_apart(entry.name) or entry.path in linked:
                os.symlink(entry.path, path)
            elif entry.is_dir():
                _copy(entry.path, path, root, linked)
            elif entry.is_file():
                if is_large(entry.stat().st_size):
                    os.symlink(entry.path, path)
                else:
                    shutil.copy2(entry.path, path)
    shutil.copystat(source, target)


def _destination(link: str, root: str) -> str:
    """Where a link of a folder is to lead from its copy: the same within it, else as it did."""
    there = os.readlink(link)
    if os.path.isabs(there):
        return there
    folder = os.path.dirname(link)
    inside = os.path.normpath(os.path.join(folder, there))
    return there if Path(inside).is_relative_to(root) else os.path.join(folder, there)
