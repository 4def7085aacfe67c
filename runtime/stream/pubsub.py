"""One pub/sub connection for all channels that a process subscribes (gevent)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator

import gevent
from gevent.event import Event
from redis.exceptions import ConnectionError, TimeoutError

from runtime.duties import Duties
from runtime.stream.connection import PING_AFTER, RECONNECT_AFTER, Link, PubSubConnection
from runtime.stream.failures import is_away

log = logging.getLogger(__name__)

CHANNELS_AT_ONCE = 500


class Subscriber:
    """Keeps the wanted channels subscribed, and subscribes them again after a reconnection.

    ``on_message(channel, message)`` is called for each message, ``on_subscribed(channel)``
    each time Redis has acknowledged a subscription: what was published before it
    may have been missed. ``on_lost()`` is called when the connection has ended.
    None of them may block.
    """

    def __init__(
        self,
        link: Link,
        on_message: Callable[[str, bytes], None],
        on_subscribed: Callable[[str], None],
        on_lost: Callable[[], None] = lambda: None,
        *,
        duties: Duties,
        duty: str,
    ) -> None:
        """``duty`` is its name among the ``duties`` of the process."""
        self._link = link
        self._duties = duties
        self._duty = duty
        self._on_message = on_message
        self._on_subscribed = on_subscribed
        self._on_lost = on_lost
        self._wanted: set[str] = set()
        self._requested: set[str] = set()
        self._changed: set[str] = set()
        self._awaited: Counter[str] = Counter()
        self._ping = False
        self._something_to_send = Event()
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self.failing = False
        """Whether the connection was lost or refused, and has not been restored."""

    def add(self, channel: str) -> None:
        """Subscribe ``channel``; ``on_subscribed`` is called once that is done."""
        self._wanted.add(channel)
        self._change(channel)
        if self._greenlet is None:
            self._greenlet = self._duties.start(self._duty, self._run)

    def remove(self, channel: str) -> None:
        """Unsubscribe ``channel``."""
        self._wanted.discard(channel)
        self._change(channel)

    def close(self) -> None:
        """Close the connection."""
        if self._greenlet is not None:
            self._greenlet.kill()

    def _change(self, channel: str) -> None:
        self._changed.add(channel)
        self._something_to_send.set()

    def _run(self) -> Iterator[None]:
        """Keep a connection. Each item is a reply, or a silence that is none too long."""
        failures = 0
        while True:
            connection = self._link.new_pubsub_connection()
            sender = None
            try:
                connection.connect()
                failures, self.failing = 0, False
                self._requested, self._awaited, self._changed = (
                    set(),
                    Counter(),
                    set(self._wanted),
                )
                self._something_to_send.set()
                sender = gevent.spawn(self._send, connection)
                try:
                    yield from self._receive(connection)
                finally:
                    self._on_lost()
            except Exception as error:
                self.failing = True
                if not is_away(error):
                    raise
                gevent.sleep(RECONNECT_AFTER[min(failures, len(RECONNECT_AFTER) - 1)])
                failures += 1
            finally:
                if sender is not None:
                    sender.kill()
                connection.close()

    def _send(self, connection: PubSubConnection) -> None:
        """Send the changes of ``_wanted``. Only this greenlet writes, so that commands never mix."""
        try:
            while True:
                self._something_to_send.wait()
                self._something_to_send.clear()
                changed, self._changed = self._changed, set()
                # A channel that is subscribed already is subscribed again: it was removed and added
                # meanwhile, and whoever added it waits for an acknowledgement.
                new = changed & self._wanted
                old = (changed & self._requested) - self._wanted
                self._requested |= new
                self._requested -= old
                self._awaited.update(new)
                for command in (
                    *_commands("UNSUBSCRIBE", old),
                    *_commands("SUBSCRIBE", new),
                ):
                    connection.send(*command)
                if self._ping:
                    self._ping = False
                    connection.send("PING")
        except Exception as error:
            if not is_away(error):
                log.exception("the duty %r failed to send", self._duty)
            connection.shut_down()  # so that the receiving greenlet notices, and begins again

    def _receive(self, connection: PubSubConnection) -> Iterator[None]:
        silent = False
        while True:
            try:
                reply = connection.receive(PING_AFTER)
            except TimeoutError:
                if silent:
                    raise ConnectionError("no reply to a ping") from None
                silent = self._ping = True
                self._something_to_send.set()
                yield
                continue
            silent = False
            if reply[0] == b"message":
                self._on_message(reply[1].decode(), reply[2])
            elif reply[0] == b"subscribe":
                self._acknowledged(reply[1].decode())
            yield

    def _acknowledged(self, channel: str) -> None:
        self._awaited[channel] -= 1
        if self._awaited[channel] == 0:  # else it was removed and added again; wait for the last one
            del self._awaited[channel]
            if channel in self._wanted:
                self._on_subscribed(channel)


def _commands(name: str, channels: set[str]) -> list[tuple[str, ...]]:
    listed = list(channels)
    return [(name, *listed[at : at + CHANNELS_AT_ONCE]) for at in range(0, len(listed), CHANNELS_AT_ONCE)]
