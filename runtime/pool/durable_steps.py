"""Durable steps: what a worker saves is committed, and then said to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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

    def handle(self, asked: protocol.Save | protocol.Refused, send: Callable[[bytes], None]) -> None:
        """Do what the worker asks and answer it by ``send``. Waits until that is committed."""
        if isinstance(asked, protocol.Refused):
            return send(orjson.dumps(_refusal(asked.key, asked.reason)))
        answer = self._save(asked)
        if answer is not None:
            send(orjson.dumps(answer))

    def _save(self, asked: protocol.Save) -> dict[str, Json] | None:
        """The answer; None where the run is lost."""
        transcript = self._attempt.transcript
        usage = transcript.usage_with(asked.usage) if asked.usage else None
        new = SavedValue(asked.key, asked.value, asked.digest)
        try:
            counts = self._commit(new, usage)
        except TooMuchSaved as error:
            return _refusal(asked.key, str(error))
        except StaleAttempt:
            self._attempt.stop(StopReason.LOST)
            return None
        if counts.digest != new.digest:
            return _refusal(asked.key, "this key was saved before for something else")
        if counts is new and usage is not None:
            transcript.mark_used(usage)
        answer: dict[str, Json] = {"type": "saved", "key": new.key}
        return answer if counts.value == new.value else {**answer, "value": orjson.Fragment(counts.value)}

    def _commit(self, new: SavedValue, usage: Mapping[str, Json] | None) -> SavedValue:
        """Commit, and retry while the database is away and the lease is held."""
        while True:
            try:
                return self._database.write(saved_values.save, self._attempt.run, new, usage)
            except StoreUnavailable:
                if self._attempt.lost:
                    raise StaleAttempt from None
                gevent.sleep(_RETRY_PAUSE)


def _refusal(key: str, reason: str) -> dict[str, Json]:
    return {"type": "refused", "of": "save", "key": key, "message": reason}
