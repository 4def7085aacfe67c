"""Offers: the machines elsewhere that ask for a run of a pool, and the runs that they are given.

A machine asks by a request that waits (:mod:`web.api.claims`). The request leaves an offer, which a
pool process takes before it claims a run, so that no run is claimed that nobody would execute.
"""

from __future__ import annotations

from typing import Any

from runtime.stream.connection import Link, Script, translated

OFFERS = Script("offers")

KEPT = 60
"""Seconds for which a run is kept for the machine that it is given to."""


class Offers:
    """The offers to all pools. Each method raises StreamUnavailable."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def make(self, pool: str, offer: str, seconds: float) -> bool:
        """Offer to execute a run, for so long; or prolong the offer. One that is taken stays so.

        False where it was ended.
        """
        stands = bool(self._call(pool, "make", offer, int(seconds * 1000)))
        if stands:
            self._link.publish(self._link.keys.calls(pool), b'{"type":"offer"}')
        return stands

    def withdraw(self, pool: str, offer: str) -> bool:
        """Take an offer back; False where it is taken, and a run follows."""
        return bool(self._call(pool, "withdraw", offer))

    def end(self, pool: str, offer: str) -> bool:
        """As :meth:`withdraw`, and it cannot be made any more, as by a request that still waits."""
        return bool(self._call(pool, "end", offer))

    def count(self, pool: str) -> int:
        """How many offers nobody has taken."""
        return int(self._call(pool, "count"))

    def take(self, pool: str) -> str | None:
        """Take an offer, if there is one."""
        taken = self._call(pool, "take")
        return None if taken is None else bytes(taken).decode()

    def give_back(self, pool: str, offer: str, seconds: float) -> None:
        """There is no run for an offer that was taken."""
        self._call(pool, "give_back", offer, int(seconds * 1000))

    def hand_over(self, pool: str, offer: str, claim: bytes) -> None:
        """Give a run to the machine that has made the offer."""
        with translated():
            self._link.client.set(self._link.keys.claim(pool, offer), claim, ex=KEPT)

    def handed_over(self, pool: str, offer: str) -> bytes | None:
        """The run that was given for an offer, if it was. It can be read again for some time."""
        with translated():
            found: Any = self._link.client.get(self._link.keys.claim(pool, offer))
        return None if found is None else bytes(found)

    def _call(self, pool: str, what: str, *args: str | int) -> Any:
        return self._link.call(OFFERS, (self._link.keys.offers(pool),), (what, *args))
