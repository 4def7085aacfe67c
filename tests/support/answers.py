"""A pool process that does nothing but answer what the worker of one run asks for over HTTP."""

from __future__ import annotations

import threading
import time
from typing import Any

import orjson

from runtime.errors import BranchlineError
from runtime.model import Run
from runtime.services import Services
from runtime.stream import Line

_PAUSE = 0.05
"""Seconds between two looks whether something was asked."""


class PoolOfATest:
    """Answers until the attempt has ended, or Redis is gone."""

    def __init__(self, services: Services, run: Run) -> None:
        self._services = services
        self._run = run
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        run = self._run
        attempt = run.thread_id, run.id, run.attempt
        try:
            while True:
                for kept in self._services.inbox.pop(*attempt, 100):
                    line = Line.decode(kept)
                    if line.token is not None:
                        answer = orjson.dumps(_answer_to(orjson.loads(line.content)))
                        self._services.inbox.answer(*attempt, line.token, answer)
                time.sleep(_PAUSE)
        except (BranchlineError, OSError):
            pass  # the test is over


def _answer_to(asked: dict[str, Any]) -> dict[str, Any]:
    match asked["type"]:
        case "save":
            return {"type": "saved", "key": asked["key"]}
        case "inbox":
            return {"type": "message", "id": None, "message": None, "next": 1}
        case _:
            return {"type": "called", "id": asked["id"], "run_id": None}
