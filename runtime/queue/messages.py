"""The messages of a pool's queue, and which of them are ours.

Whoever can reach the broker can put anything into a queue. What is no message of ours is
dropped and counted before Celery looks at it: a mistake in what Celery decodes would end the
pool process, and with it the attempts of all its runs. Only a message exactly as
:func:`runtime.queue.publisher.publish` sends it is ours.
"""

from __future__ import annotations

import base64
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from kombu import compression

log = logging.getLogger(__name__)

TASK = "branchline.run"


def queue_prefix(installation: str) -> str:
    """What the names of its pools' queues begin with; the broker has others, such as those of Flower."""
    return f"{installation}.runs." if installation else "runs."


MAX_BYTES = 1 << 16
"""Of a message, with everything around it. Ours are smaller than 2 KiB."""

_OPTIONS = ("eta", "expires", "group", "stamped_headers", "stamps")
_LOG_PAUSE = 60.0
"""Seconds between two lines in the log about messages that were dropped."""


def is_ours(message: Any) -> bool:
    """Whether a message, as kombu hands it over, is one of ours."""
    try:
        kind = message.content_type, message.content_encoding
        return not message.errors and _is_run(message.headers, message.body, *kind)
    except Exception:  # whatever the message makes of a look at it, it is not ours
        return False


def is_ours_in_redis(item: bytes) -> bool:
    """Whether an element of a queue in Redis holds one of ours, in the form that kombu gives it there."""
    try:
        if len(item) > MAX_BYTES or b'"__type__"' in item:  # by which kombu's JSON makes objects
            return False
        message = orjson.loads(item)
        properties = message["properties"]
        if properties["body_encoding"] != "base64" or not _is_properties(properties):
            return False
        body = base64.b64decode(message["body"], validate=True)
        return _is_run(message["headers"], body, message["content-type"], message["content-encoding"])
    except Exception:  # as above
        return False


def _is_properties(properties: Mapping[str, Any]) -> bool:
    info = properties["delivery_info"]
    return isinstance(properties["delivery_tag"], str) and isinstance(info["routing_key"], str)


def _is_run(headers: Mapping[str, Any], body: bytes | str, kind: str, encoding: str) -> bool:
    """Whether this is a task that executes one run, now, and nothing after it."""
    if (kind, encoding) != ("application/json", "utf-8") or len(body) > MAX_BYTES:
        return False
    if headers["task"] != TASK or not isinstance(headers["id"], str) or headers.get("compression"):
        return False
    if any(headers.get(name) for name in _OPTIONS) or any(headers.get("timelimit") or ()):
        return False
    if not isinstance(headers.get("retries", 0), int):
        return False
    (run_id,), named, following = orjson.loads(body)
    return str(uuid.UUID(run_id)) == run_id and named == {} and not any(following.values())


class Dropped:
    """Counts the messages that were dropped in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self._clock = clock
        self._log_at = float("-inf")

    def add(self) -> None:
        """Count one more; and say so, at most once a minute."""
        self.count += 1
        if self._clock() >= self._log_at:
            self._log_at = self._clock() + _LOG_PAUSE
            log.warning("the queue held what is no message of ours; %d dropped so far", self.count)


dropped = Dropped()
"""Of this process."""


def refuse_compressed() -> None:
    """Have kombu decompress nothing: a message of a few KiB could fill the memory.

    None of ours is compressed.
    """
    for content_type in compression.encoders():
        compression.register(_refuse, _refuse, content_type)


def _refuse(_: bytes) -> bytes:
    raise ValueError("compressed messages are not accepted")
