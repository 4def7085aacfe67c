"""Inboxes: the lines that workers send over HTTP, kept for the executors of their runs."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex

from runtime.errors import LinesMissing, OutputLost, StaleAttempt
from runtime.stream.connection import Argument, Link, Script

PUSH = Script("inbox_push")
POP = Script("inbox_pop")

INBOX_LINES = 10_000
INBOX_BYTES = 16 << 20
INBOX_TTL = 86_400
"""Bounds of an inbox; the last in seconds."""


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
        names = (
            self._link.keys.inbox(thread_id, run_id, attempt),
            self._link.keys.inbox_state(thread_id, run_id, attempt),
            self._link.keys.run(thread_id, run_id),
        )
        args: list[Argument] = [attempt, INBOX_LINES, INBOX_BYTES, INBOX_TTL, *lines]
        answer = self._link.call(PUSH, names, args, resend=False)
        if answer == -1:
            raise StaleAttempt
        if answer < -1:
            raise LinesMissing(-answer - 1)
        return bool(answer)

    def pop(self, thread_id: str, run_id: str, attempt: int, count: int) -> list[bytes]:
        """Remove and return at most ``count`` lines, oldest first.

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
