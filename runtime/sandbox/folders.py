"""The folders of runs: each attempt has one of its own, as HOME and TMPDIR, and leaves nothing in it.

::

    <temporary folder>/branchline-runs-XXXXXXXX/    of a pool process, which locks it
        versions/                                   copies of workers' folders
        1/                                          of a host
            home/                                   of the host itself, while it imports its worker
            1/                                      of an attempt, or empty, for a further one

They are not in the data folder, through which a run's own uid could not pass.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import logging
import os
import tempfile

from runtime.sandbox.plan import HOME
from runtime.system.greenlets import ThreadPool

log = logging.getLogger(__name__)

_PREFIX = "branchline-runs-"
_THREADS = ThreadPool(2)
_CHANGED_MEANWHILE = (errno.ENOENT, errno.ENOTEMPTY)
_MOST_DISTURBANCES = 1000
"""How often a removal goes on with what is there after something has come or gone meanwhile."""


class PoolFolder:
    """The folder of a pool process."""

    def __init__(self) -> None:
        """Makes it, and removes those that killed pool processes have left. Raises OSError."""
        _remove_abandoned()
        self.path, self._lock = _make_locked()
        self._numbers = itertools.count(1)

    def make(self) -> str:
        """A folder for a host. Raises OSError."""
        path = f"{self.path}/{next(self._numbers)}"
        os.mkdir(path, 0o711)
        os.mkdir(f"{path}/{HOME}", 0o755)
        return path

    def versions(self) -> str:
        """The folder for copies of workers' folders. Raises OSError."""
        path = f"{self.path}/versions"
        os.makedirs(path, 0o711, exist_ok=True)
        return path

    def remove(self) -> None:
        """Remove it with all that is in it. Raises OSError where something stays, which nobody locks then."""
        try:
            remove(self.path)
        finally:
            os.close(self._lock)


def remove(path: str) -> None:
    """Remove a folder that a worker has written, whatever it has made of it.

    However deep its folders are nested, no path here is long and nothing recurs: what is in
    a folder is moved up before the folder is removed. Not to be called while the worker runs.
    A part of it may be removed by somebody else at the same time. Raises OSError.
    """
    numbers = itertools.count()
    disturbances = 0
    while os.path.lexists(path):
        try:
            names = os.listdir(path)
            for name in names:
                _remove_one(path, name, numbers)
            if not names:
                os.rmdir(path)
        except OSError as error:
            disturbances += 1
            if error.errno not in _CHANGED_MEANWHILE or disturbances > _MOST_DISTURBANCES:
                raise


def remove_aside(path: str) -> None:
    """As :func:`remove`, while other greenlets run. What cannot be removed is logged."""
    try:
        _THREADS.call(remove, path)
    except OSError as error:
        log.warning("the folder %s could not be removed: %s", path, error.strerror)


def _remove_one(top: str, name: str, numbers: itertools.count[int]) -> None:
    path = f"{top}/{name}"
    if not _is_folder(path):
        return os.unlink(path)
    os.chmod(path, 0o700)
    for inner in os.listdir(path):
        if _is_folder(f"{path}/{inner}"):
            os.chmod(f"{path}/{inner}", 0o700)  # a folder that is moved must be writable itself
            os.rename(f"{path}/{inner}", _unused(top, numbers))
        else:
            os.unlink(f"{path}/{inner}")
    os.rmdir(path)


def _unused(top: str, numbers: itertools.count[int]) -> str:
    while os.path.lexists(path := f"{top}/{next(numbers)}"):
        continue
    return path


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _make_locked() -> tuple[str, int]:
    """A folder, and the descriptor that locks it for as long as this process lives.

    A locked folder is abandoned by nobody, and systemd-tmpfiles leaves it alone however old it is.
    """
    while True:
        path = os.path.realpath(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # another pool has found it before it was locked
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if os.path.isdir(path):
            os.chmod(path, 0o711)  # noqa: S103 - a run's own uid must get to its folder
            return path, descriptor
        os.close(descriptor)  # another pool has found it meanwhile


def _remove_abandoned() -> None:
    root = tempfile.gettempdir()
    for name in os.listdir(root):
        if name.startswith(_PREFIX):
            _remove_if_abandoned(os.path.join(root, name))


def _remove_if_abandoned(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(path)
    except OSError:
        pass  # its pool lives
    finally:
        os.close(descriptor)
