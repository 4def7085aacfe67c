"""Short messages beside the log: to a pool process, to a workspace, and a worker's inbox."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from secrets import token_hex
from typing import Any

import orjson
from redis.exceptions import RedisError, TimeoutError

from runtime.errors import StaleAttempt
from runtime.model import Json
from runtime.stream import keys
from runtime.stream.hints import Hint
from runtime.stream.link import PING_AFTER, RECONNECT_AFTER, Argument, Link, Script

PUSH = Script("inbox_push")
POP = Script("inbox_pop")

INBOX_LINES = 10_000
INBOX_BYTES = 16 << 20
INBOX_TTL = 86_400
"""Bounds of an inbox; the last in seconds."""


class Notices:
    """Sends and receives notices. A notice may be lost; nothing may depend on it alone.

    An inbox is no notice: it keeps what it accepted.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._tokens: dict[str, str] = {}

    def to_pool(self, incarnation: str, message: dict[str, Json]) -> None:
        """Tell one pool process something. Raises StreamUnavailable."""
        self._link.publish(keys.pool(incarnation), orjson.dumps(message))

    def to_workspace(self, workspace_id: str, hint: dict[str, Json]) -> None:
        """Send a hint that goes with no event of a log. Raises StreamUnavailable."""
        sent = Hint(workspace_id, hint)
        self._link.publish(sent.channel, sent.message)

    def pool_messages(self, incarnation: str) -> Iterator[dict[str, Json]]:
        """What is sent to this pool process, for ever; reconnects by itself.

        Yields ``{"type": "connected"}`` after each (re)connection: what was sent
        before it is lost, so look up now what a message would have told.
        """
        failures = 0
        while True:
            try:
                for message in self._listen(keys.pool(incarnation)):
                    failures = 0
                    yield message
            except RedisError:
                time.sleep(RECONNECT_AFTER[min(failures, len(RECONNECT_AFTER) - 1)])
                failures += 1

    def _listen(self, channel: str) -> Iterator[dict[str, Json]]:
        connection = self._link.new_connection()
        try:
            connection.connect()
            connection.send_command("SUBSCRIBE", channel)
            while True:
                kind, *rest = _next(connection)
                if kind == b"subscribe":
                    yield {"type": "connected"}
                elif kind == b"message":
                    yield orjson.loads(rest[1])
        finally:
            connection.disconnect()

    def inbox_push(self, thread_id: str, run_id: str, attempt: int, lines: Sequence[bytes]) -> bool:
        """Leave a worker's ``lines`` for the executor; False if the inbox is full now.

        Raises StaleAttempt when a later attempt has begun or the run has ended.
        """
        names = (
            keys.inbox(thread_id, run_id, attempt),
            keys.inbox_state(thread_id, run_id, attempt),
            keys.run(thread_id, run_id),
        )
        args: list[Argument] = [attempt, INBOX_LINES, INBOX_BYTES, INBOX_TTL, *lines]
        answer = self._link.call(PUSH, names, args, resend=False)
        if answer < 0:
            raise StaleAttempt
        return bool(answer)

    def inbox_pop(self, thread_id: str, run_id: str, attempt: int, count: int) -> list[bytes]:
        """Take at most ``count`` lines, oldest first.

        After StreamUnavailable call again: what the lost answer held comes with it.
        """
        names = (
            keys.inbox(thread_id, run_id, attempt),
            keys.inbox_state(thread_id, run_id, attempt),
        )
        token = self._tokens.setdefault(run_id, token_hex(8))
        lines = self._link.call(POP, names, (token, count))
        del self._tokens[run_id]
        return list(lines)


def _next(connection: Any) -> list[Any]:
    """The next reply of a pub/sub connection; asks for a sign of life after some silence."""
    try:
        return list(connection.read_response(timeout=PING_AFTER, disconnect_on_error=False))
    except TimeoutError:
        connection.send_command("PING", check_health=False)
        return list(connection.read_response())
