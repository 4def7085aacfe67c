"""Steering: a worker is given the messages that were sent to its run while it is under way.

Each look into the inbox is numbered and committed with what it has found, nothing included, before
the worker is answered. So a later attempt finds the same in the same order, and only then what is
new. A message that is found is committed into the output state at the place where it was read.
Where it stands there from an earlier attempt it stays; where that attempt's text is void, it moves.
What a worker costs that looks very often is bounded (:mod:`runtime.pool.empty_looks`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import gevent
import gevent.lock
import orjson

from runtime.child import protocol
from runtime.errors import StaleAttempt, StoreUnavailable
from runtime.model import Json, Message, QueuedMessage
from runtime.pool.attempt import Attempt, StopReason
from runtime.pool.empty_looks import EmptyLooks
from runtime.pool.first_line import encoded
from runtime.settings import Settings
from runtime.store import Database, queued_messages

T = TypeVar("T")

_RETRY_PAUSE = 0.25
"""Seconds between two tries while the database is away."""
_PAUSE = 0.001
"""Seconds that a worker waits for the answer to a look that needs no write: it may look in a tight loop."""
_DEAF = b"[branchline] this worker is a web service, which reads its inbox by the Worker API\n"


class Steering:
    """Gives the worker of one attempt what is in its inbox."""

    def __init__(self, attempt: Attempt, database: Database, settings: Settings) -> None:
        self._attempt = attempt
        self._settings = settings
        self._database = database
        self._looks = 0
        """How often this attempt's worker has looked."""
        self._latest: Message | None = None
        """What the latest look has found."""
        self._before: list[QueuedMessage | None] | None = None
        """What each look of the earlier attempts has found; None: not loaded yet."""
        self._empty = EmptyLooks()
        self._turn = gevent.lock.BoundedSemaphore()
        """A worker may look from two sides at once: as a process, and by the Worker API."""

    @property
    def looks_to_keep(self) -> int | None:
        """How many looks were made, if more than these are committed."""
        return self._looks if self._empty.committed > self._looks else None

    def handle(self, asked: protocol.ReadInbox, send: Callable[[bytes], None] | None) -> None:
        """Answer with the next message, or that there is none. Waits until it is committed.

        ``send`` is None where the worker reads no answer.
        """
        if send is None:
            return self._attempt.transcript.log.write(_DEAF)
        with self._turn:
            if self._attempt.transcript.result is not None:
                return send(protocol.NO_MESSAGE)
            if asked.number is not None and not 0 <= asked.number - self._looks <= 1:
                return send(_out_of_turn(self._looks))
            try:
                found = (
                    self._latest if asked.number == self._looks else self._look(only_earlier=asked.earlier)
                )
            except StaleAttempt:
                return self._attempt.stop(StopReason.LOST)
            send(self._answer(asked, found))

    def _answer(self, asked: protocol.ReadInbox, found: Message | None) -> bytes:
        if asked.number is None and found is None:
            return protocol.NO_MESSAGE
        answer: dict[str, Json] = {"type": "message", "id": found and found.id}
        answer["message"] = found and encoded(found, self._attempt.run, self._settings)
        return orjson.dumps(answer if asked.number is None else {**answer, "next": self._looks + 1})

    def _look(self, *, only_earlier: bool) -> Message | None:
        looks = self._looks
        found = self._find(only_earlier=only_earlier)
        if self._looks > looks:
            self._latest = found
        return found

    def _find(self, *, only_earlier: bool) -> Message | None:
        run = self._attempt.run
        if self._before is None:
            load = (self._database.read, queued_messages.reads_before, run)
            self._before = self._persist(*load) if run.inbox_reads else []
        if self._looks < len(self._before):
            found = self._before[self._looks]
            self._looks += 1
            return self._find_again(found) if found is not None else None
        if only_earlier:
            return None
        number = self._looks + 1
        if self._empty.contain(number):
            gevent.sleep(_PAUSE)
            self._looks = number
            return None
        ahead = self._empty.ahead(number)
        waits = self._persist(self._database.write, queued_messages.look, run, number, ahead)
        self._looks = number
        if not waits:
            self._empty.add(number, ahead)
            return None
        self._empty.forget()
        return self._deliver(
            lambda position, before: self._database.write(queued_messages.read, run, number, position, before)
        )

    def _find_again(self, found: QueuedMessage) -> Message | None:
        """What an earlier attempt has read; where that attempt's text is void, it is put into this one's."""
        for message in self._attempt.claim.earlier:
            if message.id == found.id:
                return message
        run = self._attempt.run
        return self._deliver(
            lambda position, before: self._database.write(
                queued_messages.read_again, run, found, position, before
            )
        )

    def _deliver(self, commit: Callable[[int, list[Message]], Message | None]) -> Message | None:
        """End the answer, ``commit`` the message below it, and have both announced."""
        transcript = self._attempt.transcript
        message = self._persist(commit, *transcript.make_room())
        if message is not None:
            transcript.add_delivered(message)
        self._attempt.wake.set()
        return message

    def _persist(self, write: Callable[..., T], *args: object) -> T:
        """Commit, and retry while the database is away and the lease is held."""
        while True:
            try:
                return write(*args)
            except StoreUnavailable:
                if self._attempt.lost:
                    raise StaleAttempt from None
                gevent.sleep(_RETRY_PAUSE)


def _out_of_turn(looks: int) -> bytes:
    message = (
        f"the inbox was looked into {looks} times; only the latest look may be repeated, or the next made"
    )
    return orjson.dumps({"type": "refused", "of": "inbox", "message": message})
