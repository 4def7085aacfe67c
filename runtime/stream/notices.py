"""Notices: short messages to a pool process or to a workspace, which may be lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import orjson
from redis.exceptions import TimeoutError

from runtime.model import Json
from runtime.stream.connection import PING_AFTER, RECONNECT_AFTER, Link, PubSubConnection
from runtime.stream.failures import is_away
from runtime.stream.hints import Hint


class Notices:
    """Sends and receives notices. A notice may be lost; nothing may depend on it alone."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def to_pool(self, incarnation: str, message: dict[str, Json]) -> None:
        """Send ``message`` to one pool process. Raises StreamUnavailable."""
        self._link.publish(self._link.keys.pool(incarnation), orjson.dumps(message))

    def to_pool_of_calls(self, pool: str) -> None:
        """Tell all processes of a pool that a sub-run waits. Raises StreamUnavailable."""
        self._link.publish(self._link.keys.calls(pool), b'{"type":"calls"}')

    def to_workspace(self, workspace_id: str, hint: dict[str, Json]) -> None:
        """Send a hint that goes with no event of a log. Raises StreamUnavailable."""
        sent = Hint(workspace_id, hint)
        self._link.publish(self._link.keys.workspace(workspace_id), sent.message)

    def pool_messages(self, incarnation: str, pool: str) -> Iterator[dict[str, Json]]:
        """The messages to this process of a pool, for ever; reconnects by itself.

        Yields ``{"type": "connected"}`` after each (re)connection: messages that were sent
        before it are lost, so the caller has to look up what they would have reported. And
        ``{"type": "silence"}`` where there was none for some seconds.
        """
        failures = 0
        while True:
            try:
                for message in self._listen(self._link.keys.pool(incarnation), self._link.keys.calls(pool)):
                    failures = 0
                    yield message
            except Exception as error:
                if not is_away(error):
                    raise
                time.sleep(RECONNECT_AFTER[min(failures, len(RECONNECT_AFTER) - 1)])
                failures += 1

    def _listen(self, *channels: str) -> Iterator[dict[str, Json]]:
        connection = self._link.new_pubsub_connection()
        try:
            connection.connect()
            connection.send("SUBSCRIBE", *channels)
            while True:
                kind, *rest = self._receive(connection)
                if kind == b"subscribe":
                    if rest[-1] == len(channels):
                        yield {"type": "connected"}
                elif kind == b"message":
                    yield orjson.loads(rest[1])
                else:
                    yield {"type": "silence"}
        finally:
            connection.close()

    def _receive(self, connection: PubSubConnection) -> list[Any]:
        """The next reply; after some silence a ping checks that the connection is alive."""
        try:
            return connection.receive(PING_AFTER)
        except TimeoutError:
            connection.send("PING")
            return connection.receive(self._link.timeout)
