"""Sub-runs without a server: each is executed in place, when it is called; its result is there at once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..calls import text_of
from ..messages import Json
from ..protocol import Call
from ..steps import digest_of

Fields = dict[str, Json]
_DEEPEST = 5


class Refused(Exception):
    """There is no such sub-run; the message says why."""


class Written(Protocol):
    """A message that a sub-run has written."""

    def fields(self) -> Fields:
        """It as JSON."""


class Failure(Protocol):
    """Why a sub-run has failed."""

    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def retryable(self) -> bool: ...


class Outcome(Protocol):
    """How a sub-run stands: it has ended, or waits for an answer."""

    @property
    def status(self) -> str: ...
    @property
    def messages(self) -> Sequence[Written]: ...
    @property
    def usage(self) -> Fields: ...
    @property
    def error(self) -> Failure | None: ...
    def answer(self, answer: Json) -> Outcome:
        """How it stands after that answer."""


@dataclass(frozen=True)
class Called:
    """A sub-run that was made, and how it stands."""

    digest: str
    run_id: str
    result: Outcome


class SubRuns:
    """The sub-runs of one run, in all its attempts."""

    def __init__(self, execute: Callable[[Call], Outcome], made: dict[str, Called], depth: int) -> None:
        """``execute``: executes a sub-run, or raises Refused. ``made``: by call. ``depth``: runs above."""
        self._execute = execute
        self.made = made
        self._depth = depth

    def call(self, asked: Call) -> list[Fields]:
        """The lines that answer a call."""
        said = [[m.role, m.type, m.channel, m.author, m.content, m.data] for m in asked.messages]
        digest = digest_of([asked.worker_id, said, asked.config, asked.args])
        called = self.made.get(asked.id)
        if called is None:
            try:
                if self._depth >= _DEEPEST:
                    raise Refused(f"Sub-runs may be {_DEEPEST} deep, and this one would be deeper.")
                called = Called(digest, str(uuid.uuid4()), self._execute(asked))
            except Refused as error:
                refusal = {"code": "call_refused", "message": str(error), "retryable": False, "log_tail": ""}
                return [_ended(asked.id, None, "error", [], None, refusal)]
            self.made[asked.id] = called
        elif called.digest != digest:
            message = "this call was made before, and asked for something else"
            return [{"type": "refused", "of": "call", "id": asked.id, "message": message}]
        return [{"type": "called", "id": asked.id, "run_id": called.run_id}, *_told(asked.id, called)]


def _told(id: str, called: Called) -> list[Fields]:
    """The questions of a sub-run, and its end."""
    result = called.result
    written: Sequence[Fields] = [message.fields() for message in result.messages]
    lines = [_question(id, fields, written[:place]) for place, fields in enumerate(written)]
    told = [line for line in lines if line is not None]
    if result.status == "waiting":
        return told
    error: Fields | None = None
    if result.error is not None:
        why = result.error
        error = {"code": why.code, "message": why.message, "retryable": why.retryable, "log_tail": ""}
    return [*told, _ended(id, called.run_id, result.status, list(written), result.usage, error)]


def _question(id: str, asked: Fields, before: Sequence[Fields]) -> Fields | None:
    if asked["type"] != "confirmation":
        return None
    data = asked["data"]
    question = {"id": data.get("id"), "prompt": asked["content"], "options": data.get("options")}
    question |= {"schema": data.get("schema"), "digest": asked["id"]}
    return {"type": "question", "id": id, "question": question, "text": text_of(before)}


def _ended(
    id: str,
    run_id: str | None,
    status: str,
    messages: list[Fields],
    usage: Fields | None,
    error: Fields | None,
) -> Fields:
    about = {"type": "result", "id": id, "run_id": run_id, "status": status}
    return {**about, "messages": messages, "usage": usage, "error": error}
