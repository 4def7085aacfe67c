"""Calls: other workers that a run has run for it, each as a run of its own."""

from __future__ import annotations

import _thread
import json
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .errors import Failure
from .messages import Json, Message
from .steps import digest_of

if TYPE_CHECKING:
    from .files import File
    from .wire import Connection

Said = str | Message | Mapping[str, Json]
"""What may be said to another worker; a text is one of the user."""
_LONGEST_ID = 200
_GAP = "\n\n"
"""Between two messages of an answer."""


class Calls:
    """The calls of one run."""

    def __init__(
        self,
        wire: Connection,
        ask: Callable[[str, Mapping[str, Json]], object],
        is_settled: Callable[[str], bool],
    ) -> None:
        """``ask``: what asks the user a question of a sub-run, by its id for this run.

        ``is_settled``: whether an earlier attempt of this run has asked it.
        """
        self._wire = wire
        self._ask = ask
        self._is_settled = is_settled
        self._counts: dict[str, int] = {}

    def call(
        self,
        worker: str,
        messages: Said | Iterable[Said],
        config: Mapping[str, Json] | None,
        args: Json,
        files: Iterable[File],
        id: str | None,
    ) -> Call:
        """See :meth:`runtime.sdk.run.Run.call`."""
        if id is None:
            self._counts[worker] = self._counts.get(worker, 0) + 1
            id = f"{worker}#{self._counts[worker]}"
        if not 0 < len(id) <= _LONGEST_ID:
            raise ValueError(f"the id of a call is a text of 1 to {_LONGEST_ID} characters")
        line: dict[str, Json] = {
            "type": "call",
            "id": id,
            "worker_id": worker,
            "messages": _naming(_conversation(messages), files),
        }
        line |= {"config": config, "args": args}
        return Call(self._wire, self._ask, self._is_settled, id, line)


class Call:
    """A sub-run. It is under way already; whatever is asked of it waits until it has ended.

    ``await`` it in an async worker, or iterate over it, by ``for`` or ``async for``, for its text as
    it comes. That it fails raises nothing: see ``status`` and ``error``.
    """

    def __init__(
        self,
        wire: Connection,
        ask: Callable[[str, Mapping[str, Json]], object],
        is_settled: Callable[[str], bool],
        id: str,
        line: Mapping[str, Json],
    ) -> None:
        self.id = id
        """By what it is called: the same in every attempt."""
        self._wire = wire
        self._ask = ask
        self._is_settled = is_settled
        self._lines: list[dict[str, Json]] = []
        """What has come from the pool and was not looked at."""
        self._run_id: str | None = None
        self._result: dict[str, Json] | None = None
        self._streamed = ""
        """Its text, as it has come."""
        self._given = 0
        """Characters of its text that were given out."""
        self._questions: list[dict[str, Json]] = []
        self._is_followed = False
        self._is_after_question = False
        self._waiting: list[Callable[[], object]] = []
        wire.listen(("call", id), self._receive)
        wire.write(json.dumps(line, allow_nan=False).encode() + b"\n")

    @property
    def run_id(self) -> str | None:
        """The id of the sub-run; None where there is none, because it was refused."""
        self._wait_until(lambda: self._run_id or self._result)
        return self._run_id

    @property
    def status(self) -> str:
        """How it has ended: success, error, timeout or cancelled."""
        return str(self.result["status"])

    @property
    def messages(self) -> list[Message]:
        """What it has answered."""
        return [Message(fields) for fields in self.result["messages"]]

    @property
    def text(self) -> str:
        """Its answer: the messages that are text, a blank line between them."""
        return text_of(self.result["messages"])

    @property
    def usage(self) -> dict[str, Json]:
        """What it has used itself."""
        return self.result.get("usage") or {}

    @property
    def usage_below(self) -> dict[str, Json]:
        """What all that it has called itself have used, and those below them."""
        return self.result.get("usage_below") or {}

    @property
    def error(self) -> dict[str, Json] | None:
        """Why it did not succeed: ``code``, ``message``, ``retryable``; None where it did."""
        return self.result.get("error")

    @property
    def result(self) -> dict[str, Json]:
        """The line that says how it has ended."""
        self._wait_until(lambda: self._result)
        assert self._result is not None
        return self._result

    def __await__(self) -> Generator[Any, None, Call]:
        return self._ended().__await__()

    async def _ended(self) -> Call:
        await self._wait_async(lambda: self._result)
        return self

    def __iter__(self) -> Iterator[str]:
        self._follow()
        while not self._is_exhausted():
            if piece := self._next_piece():
                yield piece
            elif not self._is_exhausted():
                self._wait_for_line()

    async def __aiter__(self) -> AsyncIterator[str]:
        self._follow()
        while not self._is_exhausted():
            if piece := self._next_piece():
                yield piece
            elif not self._is_exhausted():
                await self._wait_for_line_async()

    # ── what comes from the pool ────────────────────────────────────────────

    def _receive(self, fields: dict[str, Json]) -> None:
        """A line has come. In the main thread, perhaps in a signal handler: note it and no more."""
        self._lines.append(fields)
        for wake in list(self._waiting):
            wake()

    def _look(self) -> None:
        """Look at what has come."""
        while self._lines:
            fields = self._lines.pop(0)
            match fields.get("type"):
                case "called":
                    self._run_id = fields.get("run_id")
                case "delta":
                    self._streamed += str(fields.get("text"))
                case "question":
                    self._questions.append(fields)
                case "result":
                    self._result = fields
                    # What it has asked meanwhile, and nobody was asked, is no question any more.
                    self._questions = [q for q in self._questions if self._is_settled(self._name_of(q))]
                    self._wire.forget(("call", self.id))
                case "refused":
                    self._wire.forget(("call", self.id))
                    raise Failure(f"The call {self.id!r} is refused: {fields.get('message')}")

    def _put_questions(self) -> None:
        """Ask the user what it has asked: the run ends here, or has the answer."""
        while self._questions:
            self._put_question(self._questions.pop(0))

    def _put_question(self, line: Mapping[str, Json]) -> None:
        self._ask(self._name_of(line), {**line["question"], "call": self._run_id})

    def _name_of(self, line: Mapping[str, Json]) -> str:
        """The id of a question of it for this run."""
        name = f"{self.id}/{line['question']['id']}"
        return name if len(name) <= _LONGEST_ID else digest_of(name)

    # ── its text ────────────────────────────────────────────────────────────

    def _follow(self) -> None:
        if not self._is_followed:
            self._is_followed = True
            self._wire.write(json.dumps({"type": "follow", "id": self.id}).encode() + b"\n")

    def _is_exhausted(self) -> bool:
        self._look()
        return self._result is not None and not self._questions and not self._known()[self._given :]

    def _known(self) -> str:
        """Its text, as far as it has come; what a lost attempt had said may be in it until it has ended."""
        return self._streamed if self._result is None else text_of(self._result["messages"])

    def _next_piece(self) -> str:
        """Text that was not given out; empty where there is none.

        A question comes where it was asked: what the worker does with the text before it has been
        done in an earlier attempt.
        """
        while self._questions:
            before = str(self._questions[0].get("text") or "")
            if len(before) > self._given:
                return self._give(before)
            self._put_question(self._questions.pop(0))
            self._is_after_question = True
        return self._give(self._known())

    def _give(self, text: str) -> str:
        if self._is_after_question and len(text) > self._given:
            # The question stands between the two messages, and no blank line has to.
            self._given += len(_GAP) * text.startswith(_GAP, self._given)
            self._is_after_question = False
        piece, self._given = text[self._given :], max(self._given, len(text))
        return piece

    # ── waiting ─────────────────────────────────────────────────────────────

    def _wait_until(self, arrived: Callable[[], object]) -> None:
        self._look()
        while not arrived():
            self._put_questions()
            self._wait_for_line()
            self._look()
        self._put_questions()

    async def _wait_async(self, arrived: Callable[[], object]) -> None:
        self._look()
        while not arrived():
            self._put_questions()
            await self._wait_for_line_async()
            self._look()
        self._put_questions()

    def _wait_for_line(self) -> None:
        if self._wire.in_main_thread:
            self._wire.wait(lambda: self._lines)
            return
        woken = _thread.allocate_lock()
        woken.acquire()

        def wake() -> None:
            if woken.locked():
                woken.release()

        self._waiting.append(wake)
        try:
            if not self._lines:
                self._wire.wait_in_thread(woken)
        finally:
            self._waiting.remove(wake)

    async def _wait_for_line_async(self) -> None:
        import asyncio

        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(woken.set)

        self._waiting.append(wake)
        try:
            if not self._lines:
                await woken.wait()
        finally:
            self._waiting.remove(wake)


def text_of(messages: Iterable[Mapping[str, Json]]) -> str:
    """The answer in messages of a run: those that are text, a blank line between them."""
    kind = ("assistant", "text", "answer")
    texts = [m["content"] for m in messages if (m["role"], m["type"], m["channel"]) == kind]
    return _GAP.join(filter(None, texts))


def _conversation(messages: Said | Iterable[Said]) -> list[dict[str, Json]]:
    if isinstance(messages, str | Message | Mapping):
        messages = [messages]
    return [_message(said) for said in messages]


def _naming(messages: list[dict[str, Json]], files: Iterable[File]) -> list[dict[str, Json]]:
    """The messages, of which the last one names these files."""
    named = [file.id for file in files]
    if not named:
        return messages
    *before, last = messages or [{"role": "user", "content": ""}]
    return [*before, {**last, "files": [*last.get("files", ()), *named]}]


def _message(said: Said) -> dict[str, Json]:
    if isinstance(said, str):
        return {"role": "user", "content": said}
    if isinstance(said, Message):
        kind = {"role": said.role, "type": said.type, "channel": said.channel, "author": said.author}
        named = {"files": [file.id for file in said.files]} if said.files else {}
        return {**kind, "content": said.content, "data": dict(said.data), **named}
    return dict(said)
