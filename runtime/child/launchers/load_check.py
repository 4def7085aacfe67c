"""Whether a worker of type ``node`` can be loaded, found out in a process that does nothing else."""

from __future__ import annotations

import json
import logging
import re
import signal
from pathlib import Path

from runtime.child.child_process import ChildProcess
from runtime.child.host_process import import_failed
from runtime.child.output_reader import OutputReader
from runtime.child.paths import known_folders, without_paths
from runtime.errors import ChildLost
from runtime.registry import Worker

log = logging.getLogger(__name__)

ENVIRON = {"BRANCHLINE_CHECK": "1"}
"""The environment by which ``launch.js`` learns that it is to load the worker only."""
_TIMEOUT = 60.0
"""Seconds that loading may take, as an import in Python may."""
_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)
"""Ends that loading hardly brings about by itself."""


def wait(child: ChildProcess, worker: Worker) -> None:
    """Wait for the end of a process that loads the worker, and see whether it could.

    Raises ChildFailed with the reason if not, and ChildLost where that says nothing of the worker.
    """
    stdout, stderr = OutputReader(child.read), OutputReader(child.read_log)
    try:
        code = child.wait(_TIMEOUT)
    finally:
        child.stop(0)
        answer, printed = stdout.end(), stderr.end()
        child.close()
    if code is None:
        raise import_failed(f"its import took longer than {_TIMEOUT:g} seconds")
    said = _said(answer)
    if said.get("type") == "loaded":
        return
    if child.lost:
        raise ChildLost(child.lost)
    if child.oom_killed:
        raise import_failed("it took more memory than it may have")
    if child.exceeded:
        raise import_failed(f"it had {child.exceeded}")
    if code in _FROM_OUTSIDE:
        raise ChildLost("the process that loads it was ended from outside")
    for line in printed.splitlines():
        log.info("worker %s printed: %s", worker.id, line)
    message = said.get("message") or f"its process ended with exit code {code} while it was loaded"
    raise import_failed(_described(str(message), printed, worker))


def _said(answer: str) -> dict[str, object]:
    """What ``launch.js`` has said; the worker may have written anything before."""
    for line in reversed(answer.splitlines()):
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if isinstance(fields, dict):
            return fields
    return {}


def _described(message: str, printed: str, worker: Worker) -> str:
    """The reason, and where in the worker's files it is, if Node.js has printed that."""
    assert worker.entrypoint is not None
    place = re.search(rf"{re.escape(str(worker.folder))}/([^\s:]+):(\d+)", printed)
    folders = known_folders(str(worker.entrypoint))
    text = without_paths(message[:4000].replace("file://", ""), folders)
    return f"{text} ({Path(place[1]).name}, line {place[2]})" if place else text
