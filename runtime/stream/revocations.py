"""Revocations: every web process hears at once that credentials of a user have ended.

On a connection of its own, where no revocation waits behind the wake-ups of a
thousand streams.
"""

from __future__ import annotations

from collections.abc import Callable

from runtime.stream import keys
from runtime.stream.connection import Link
from runtime.stream.pubsub import Subscriber


class Revocations:
    """Announces, and hears, that a user has signed out, lost a token, or has another password."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def announce(self, user_id: str) -> None:
        """Tell every process, once the end of the credentials is committed. Raises StreamUnavailable."""
        self._link.publish(keys.revocations(), user_id.encode())

    def listen(
        self, revoked: Callable[[str], None], hearing: Callable[[], None], deaf: Callable[[], None]
    ) -> Subscriber:
        """Hear what is announced until the result is closed (gevent).

        ``revoked(user_id)`` is called for each announcement; ``hearing()`` once nothing
        is missed any more, ``deaf()`` when that ends. None of them may block.
        """
        subscriber = Subscriber(
            self._link,
            on_message=lambda _, user_id: revoked(user_id.decode()),
            on_subscribed=lambda _: hearing(),
            on_lost=deaf,
        )
        subscriber.add(keys.revocations())
        return subscriber
