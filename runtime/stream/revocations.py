"""Revocations: every web process learns at once that credentials of a user have ended.

They have a connection of their own, so that none waits behind the wake-ups of a
thousand streams.
"""

from __future__ import annotations

from collections.abc import Callable

from runtime.duties import Duties
from runtime.stream.connection import Link
from runtime.stream.pubsub import Subscriber


class Revocations:
    """Publishes and receives that a user has signed out, revoked a token, or changed the password."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def announce(self, user_id: str) -> None:
        """Publish it to every process, once it is committed. Raises StreamUnavailable."""
        self._link.publish(self._link.keys.revocations(), user_id.encode())

    def listen(
        self,
        on_revoked: Callable[[str], None],
        on_connected: Callable[[], None],
        on_disconnected: Callable[[], None],
        duties: Duties,
    ) -> Subscriber:
        """Receive revocations until the result is closed (gevent).

        ``on_revoked(user_id)`` is called for each; ``on_connected()`` once none is missed
        any more, ``on_disconnected()`` when that ends. None of them may block.
        """
        subscriber = Subscriber(
            self._link,
            on_message=lambda _, user_id: on_revoked(user_id.decode()),
            on_subscribed=lambda _: on_connected(),
            on_lost=on_disconnected,
            duties=duties,
            duty="receive revocations",
        )
        subscriber.add(self._link.keys.revocations())
        return subscriber
