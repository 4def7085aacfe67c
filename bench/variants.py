"""The same worker as ``stamp`` with something that differs, so that what that costs can be measured."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from runtime.settings import CHECKOUT

WORKERS = CHECKOUT / "bench" / "workers"
PLAIN = "stamp"
UNSANDBOXED = "stamp-unsandboxed"
NUMPY = "stamp-numpy"
THREADS = "stamp-threads"
"""Its numpy starts threads, so that it is not forked."""
OWN = "stamp-own"
"""It has an environment of its own, with nothing in it."""
HTTP = "stamp-http"
"""A web service."""
REMOTE = "stamp-remote"
"""Executed by a machine elsewhere."""
ELSEWHERE = "elsewhere"
"""The folder, beside that of the others, with what the machine elsewhere executes."""
_WITH_THREADS = 'import os\n\nos.environ["OPENBLAS_NUM_THREADS"] = "2"\nimport numpy\n'


def write(folder: Path, service: str) -> Path:
    """Make them in ``folder``, those with numpy where that is installed; returns the folder.

    ``service``: the URL of the worker that is a web service.
    """
    _write(folder, UNSANDBOXED, manifest='[sandbox]\nlevel = "none"\n')
    environment = folder.parent / "environment"
    command = [sys.executable, "-m", "venv", "--without-pip", str(environment)]
    subprocess.run(command, check=True)
    _write(folder, OWN, manifest=f'python = "{environment / "bin" / "python"}"\n')
    if find_spec("numpy") is not None:
        _write(folder, NUMPY, code="import numpy\n")
        _write(folder, THREADS, code=_WITH_THREADS)
    _write_manifest(folder, HTTP, f'type = "http"\nurl = "{service}"\npool = "types"\n')
    _write_manifest(folder, REMOTE, 'type = "remote"\n')
    _write(folder.parent / ELSEWHERE, REMOTE)
    return folder


def _write_manifest(folder: Path, worker_id: str, manifest: str) -> None:
    """A worker that has no code here."""
    (folder / worker_id).mkdir(parents=True)
    (folder / worker_id / "worker.toml").write_text(f'id = "{worker_id}"\nname = "{worker_id}"\n{manifest}')


def _write(folder: Path, worker_id: str, manifest: str = "", code: str = "") -> None:
    """``manifest`` and ``code`` are what its files have beside those of ``stamp``."""
    copy = shutil.copytree(WORKERS / PLAIN, folder / worker_id)
    toml, source = copy / "worker.toml", copy / "stamp.py"
    text = toml.read_text().replace(f'id = "{PLAIN}"', f'id = "{worker_id}"')
    toml.write_text(f"{text}\n{manifest}")
    future = "from __future__ import annotations\n"
    source.write_text(source.read_text().replace(future, f"{future}\n{code}"))
