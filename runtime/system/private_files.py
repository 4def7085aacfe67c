"""Private files: what is stored on this machine is readable by its owner only.

The data folder is 0700 and each file in it 0600, whatever the umask, whichever command
makes it first. What an earlier version, a restored backup or a copy left open is
tightened when a process first uses it.

Standard library only: the settings use it before anything else is imported.
"""

from __future__ import annotations

import logging
import os
import stat
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)

_FOLDER = 0o700
_FILE = 0o600
_OTHERS = 0o077
_DATABASE_SUFFIXES = ("-journal", "-wal", "-shm")
"""The files that SQLite keeps beside a database; it makes them with the database's own mode."""


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner can enter, or tighten the one that is there; returns it.

    The files that lie directly in it are tightened too, when this process first asks for it.
    Deeper ones cannot be reached through the folder. A folder that everybody may write to
    (``/tmp``) is nobody's own, and stays as it is.

    Raises OSError where it cannot be made. What belongs to another user, and so cannot be
    tightened, is logged.
    """
    path.mkdir(mode=_FOLDER, parents=True, exist_ok=True)  # a umask only takes rights away
    _tighten_once(path)
    return path


def private_file(path: Path) -> int:
    """Open a file to read and write, which only its owner can; made if it is missing.

    Returns its descriptor, at the file's beginning. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE)
    _tighten(path)
    return descriptor


def private_database(path: Path) -> None:
    """Make the empty file of an SQLite database, or tighten it and what SQLite keeps beside it.

    Its folder is made if it is missing. One that is there may be shared, and stays as it is.
    """
    try:
        if not path.parent.exists():
            private_folder(path.parent)
        if not path.exists():
            os.close(private_file(path))
        if not path.is_file():
            return  # SQLite refuses it; a folder, such as /tmp, may be everybody's
    except OSError:
        return  # SQLite says the same when it opens the file, as the error of a database
    for suffix in ("", *_DATABASE_SUFFIXES):
        _tighten(path.with_name(path.name + suffix))


@cache
def _tighten_once(folder: Path) -> None:
    # Later files are made by this process, or by one that did the same.
    if folder.stat().st_mode & stat.S_ISVTX:
        return
    _tighten(folder)
    for path in folder.iterdir():
        if not path.is_dir():
            _tighten(path)


def _tighten(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode) or not mode & _OTHERS:
            return
        path.chmod(_FOLDER if stat.S_ISDIR(mode) else _FILE)
    except FileNotFoundError:  # there is none, or another process has just removed it
        return
    except PermissionError:
        log.warning("%s is open to other users of this machine, and belongs to one of them", path)
    else:
        log.warning(
            "%s was open to other users of this machine (mode %04o); now it is not", path, stat.S_IMODE(mode)
        )
