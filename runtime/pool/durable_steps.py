"""Durable steps: what a worker saves is committed, and then said to be."""

from __future__ import annotations

from collections.abc import Mapping

import gevent
import orjson

from runtime.child import protocol
from runtime.errors import StaleAttempt, StoreUnavailable, TooMuchSaved
from runtime.model import Json
from runtime.pool.attempt import Attempt, StopReason
from runtime.store import Database, saved_values
from runtime.store.saved_values import SavedValue

_RETRY_PAUSE = 0.25
"""Seconds between two tries while the database is away."""


class DurableSteps:
    """Commits what one attempt saves, and answers its worker."""

    def __init__(self, attempt: Attempt, database: Database) -> None:
        self._attempt = attempt
        self._database = database

    def handle(self, asked: protocol.Save | protocol.Refused) -> None:
        """Do what the worker asks and answer it. Waits until that is committed."""
        if isinstance(asked, protocol.Refused):
            self._refuse(asked.key, asked.reason)
        else:
            self._save(asked)

    def _save(self, asked: protocol.Save) -> None:
        transcript = self._attempt.transcript
        usage = transcript.usage_with(asked.usage) if asked.usage else None
        new = SavedValue(asked.key, asked.value, asked.digest)
        try:
            counts = self._commit(new, usage)
        except TooMuchSaved as error:
            return self._refuse(asked.key, str(error))
        except StaleAttempt:
            return self._attempt.stop(StopReason.LOST)
        if counts.digest != new.digest:
            return self._refuse(asked.key, "this key was saved before for something else")
        if counts is new and usage is not None:
            transcript.mark_used(usage)
        answer = {"type": "saved", "key": new.key}
        if counts.value != new.value:
            self._send({**answer, "value": orjson.Fragment(counts.value)})
        else:
            self._send(answer)

    def _commit(self, new: SavedValue, usage: Mapping[str, Json] | None) -> SavedValue:
        """Commit, and retry while the database is away and the lease is held."""
        while True:
            try:
                return self._database.write(saved_values.save, self._attempt.run, new, usage)
            except StoreUnavailable:
                if self._attempt.lost:
                    raise StaleAttempt from None
                gevent.sleep(_RETRY_PAUSE)

    def _send(self, answer: Mapping[str, Json]) -> None:
        child = self._attempt.child
        if child is not None:
            child.send(orjson.dumps(answer))
