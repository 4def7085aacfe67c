"""Asking a worker what may be chosen in its config: in a child of its own, which is ended in time."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import closing

from runtime.child.child import Child
from runtime.child.children import Children
from runtime.child.output_reader import OutputReader
from runtime.errors import ChildFailed
from runtime.registry import Worker
from runtime.sdk.choosing import LONGEST, MOST

TIMEOUT = 15.0
"""Seconds that a worker has; its server may not answer."""
_MAX_BYTES = 1 << 20
"""Room for one field of the longest values in any script, and for several of usual ones."""
_STOPPED = (None, -signal.SIGKILL)
_LAST_LINES = 500
"""How many characters are told of what it has printed."""

Choices = dict[str, list[str]]
"""Values by field of the config."""


def ask(children: Children, worker: Worker, timeout: float = TIMEOUT) -> Choices:
    """What may be chosen. Raises ChildFailed with the reason where it has nothing to say."""
    child = children.start(worker, run_id="", environ={}, line=b'{"type": "choices"}\n')
    with closing(child):
        printed = OutputReader(child.read_log)
        timer = threading.Timer(timeout, child.stop, (0,))
        timer.start()
        try:
            output = _read(child)
            if len(output) >= _MAX_BYTES:
                raise _failed("it says too much")
            code = child.wait(timeout)
        finally:
            timer.cancel()
            child.stop(0)
            log = printed.end()
        found = _choices(output)
        if code != 0 and not found:
            reason = "it did not answer in time" if code in _STOPPED else _last_line(log)
            raise _failed(reason)
        return found


def _failed(reason: str) -> ChildFailed:
    return ChildFailed(f"it could not say what may be chosen in its config: {reason}")


def _read(child: Child) -> bytes:
    output = b""
    while len(output) < _MAX_BYTES and (chunk := child.read()):
        output += chunk
    return output


def _choices(output: bytes) -> Choices:
    """What its lines say. What is none of them, or is no text to be shown, is left out."""
    found: Choices = {}
    for line in output.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        match said:
            case {"type": "choices", "field": str(field), "values": list(values)} if _is_shown(field):
                found[field] = [value for value in values[:MOST] if _is_shown(value)]
    return found


def _is_shown(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST and value.isprintable()


def _last_line(log: str) -> str:
    lines = log[-_LAST_LINES:].strip().splitlines()
    return lines[-1] if lines else "it has ended without a word"
