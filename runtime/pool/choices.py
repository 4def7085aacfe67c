"""What may be chosen in the configs of a pool's workers, as the workers say it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from runtime.child import Children, choosing
from runtime.child.choosing import Choices
from runtime.errors import ChildFailed
from runtime.registry import Worker

log = logging.getLogger(__name__)

_AGAIN_AFTER = 300.0
"""Seconds until a worker is asked again."""
_RETRY_AFTER = 60.0
"""The same after a failure: the server that it asks may be there again."""


@dataclass(slots=True)
class _Asked:
    digest: str
    """Of the version that was asked."""
    again_at: float
    """By the monotonic clock."""
    choices: Choices = field(default_factory=dict)
    failure: str | None = None


class OfferedChoices:
    """Asks now and then, and keeps what was last said. A failure is logged once, and changes nothing."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._asked: dict[str, _Asked] = {}

    def of(self, worker: Worker) -> Mapping[str, list[str]]:
        """Values by field of the config."""
        asked = self._asked.get(worker.id)
        return asked.choices if asked is not None else {}

    def refresh(self, workers: Iterable[Worker]) -> Iterator[None]:
        """Ask those that were not asked for long, and versions that were not asked at all."""
        for worker in workers:
            asked = self._asked.get(worker.id)
            if not self._children.hosts.choosing.get(worker.id):
                self._asked.pop(worker.id, None)
            elif asked is None or asked.digest != worker.digest or time.monotonic() >= asked.again_at:
                self._ask(worker, asked)
                yield

    def _ask(self, worker: Worker, before: _Asked | None) -> None:
        now = time.monotonic()
        try:
            found = choosing.ask(self._children, worker)
            self._asked[worker.id] = _Asked(worker.digest, now + _AGAIN_AFTER, found)
        except ChildFailed as error:
            if before is None or before.failure != str(error):
                log.warning("worker %s: %s", worker.id, error)
            kept = before.choices if before is not None else {}
            self._asked[worker.id] = _Asked(worker.digest, now + _RETRY_AFTER, kept, str(error))
