"""Inboxes: the lines that workers send over HTTP, kept for the executors of their runs.

A worker that wants an answer asks: its line goes the way of all others, so that it is read after
those that were sent before, and carries a token. What the executor answers is kept under that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from runtime.errors import LinesMissing, OutputLost, StaleAttempt
from runtime.stream.connection import Argument, Link, Script, translated

PUSH = Script("inbox_push")
POP = Script("inbox_pop")

INBOX_LINES = 10_000
INBOX_BYTES = 16 << 20
INBOX_TTL = 86_400
"""Bounds of an inbox; the last in seconds."""
ANSWER_TTL = 60
"""Seconds for which an answer is kept for the one who asked."""
_ASKED = b"?"
"""What a line that asks begins with, before its token; no JSON does."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that a worker has sent."""

    content: bytes
    token: str | None = None
    """By which it is to be answered; None: nobody waits."""

    def encode(self) -> bytes:
        """The line as it is kept."""
        if self.token is None:
            return self.content
        return b"%b%b %b" % (_ASKED, self.token.encode(), self.content)

    @classmethod
    def decode(cls, kept: bytes) -> Line:
        """A line that was kept."""
        if not kept.startswith(_ASKED):
            return cls(kept)
        token, _, content = kept[len(_ASKED) :].partition(b" ")
        return cls(content, token.decode())


class Inbox:
    """The inbox of every attempt. Unlike a notice, a line that was accepted is not lost."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._tokens: dict[str, str] = {}
        """Identifies a run's present ``pop``, so that Redis recognises it if it is sent again."""

    def push(
        self, thread_id: str, run_id: str, attempt: int, lines: Sequence[bytes], first: int | None = None
    ) -> bool:
        """Leave a worker's ``lines`` for the executor; False if the inbox is full now.

        ``first`` is the number of the first one, where the worker numbers them, from 1 and without a
        gap: those that came before are skipped. Raises StaleAttempt when a later attempt has begun or
        the run has ended, LinesMissing where lines before ``first`` have not come.
        """
        return self._push(thread_id, run_id, attempt, [Line(line) for line in lines], first)

    def ask(self, thread_id: str, run_id: str, attempt: int, line: bytes) -> str | None:
        """Leave a line that is to be answered; the token for its answer. None if the inbox is full now.

        Raises StaleAttempt as ``push`` does.
        """
        token = token_hex(8)
        kept = self._push(thread_id, run_id, attempt, [Line(line, token)], None)
        return token if kept else None

    def answer(self, thread_id: str, run_id: str, attempt: int, token: str, answer: bytes) -> None:
        """Keep the answer to a line for who has asked. Raises StreamUnavailable."""
        key = self._link.keys.answer(thread_id, run_id, attempt, token)
        with translated():
            self._link.client.set(key, answer, ex=ANSWER_TTL)

    def answered(self, thread_id: str, run_id: str, attempt: int, token: str) -> bytes | None:
        """The answer to a line, once there is one. Raises StreamUnavailable."""
        key = self._link.keys.answer(thread_id, run_id, attempt, token)
        with translated():
            found: Any = self._link.client.get(key)
        return None if found is None else bytes(found)

    def _push(
        self, thread_id: str, run_id: str, attempt: int, lines: Sequence[Line], first: int | None
    ) -> bool:
        names = (
            self._link.keys.inbox(thread_id, run_id, attempt),
            self._link.keys.inbox_state(thread_id, run_id, attempt),
            self._link.keys.run(thread_id, run_id),
        )
        kept = [line.encode() for line in lines]
        args: list[Argument] = [attempt, INBOX_LINES, INBOX_BYTES, INBOX_TTL, first or 0, *kept]
        answer = self._link.call(PUSH, names, args, resend=False)
        if answer == -1:
            raise StaleAttempt
        if answer < -1:
            raise LinesMissing(-answer - 1)
        return bool(answer)

    def pop(self, thread_id: str, run_id: str, attempt: int, count: int) -> list[bytes]:
        """Remove and return at most ``count`` lines, oldest first; :meth:`Line.decode` reads each.

        After StreamUnavailable call again: the lines of the lost reply are returned then.
        Raises OutputLost where Redis no longer has all lines.
        """
        names = (
            self._link.keys.inbox(thread_id, run_id, attempt),
            self._link.keys.inbox_state(thread_id, run_id, attempt),
        )
        token = self._tokens.setdefault(run_id, token_hex(8))
        lines = self._link.call(POP, names, (token, count))
        del self._tokens[run_id]
        if lines is None:
            raise OutputLost
        return list(lines)
