"""Idempotency: a request that carries a key is carried out once.

The key is taken in the transaction that does what was asked. So the same
request at the same moment waits for the first to commit, and where that one
fails, its key is free again.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from runtime.errors import Conflict
from runtime.model import Json
from runtime.store.tables import Id, moment, now, requests

KEPT_SECONDS = 24 * 3600


def find(c: Connection, user_id: str, key: str, fingerprint: str) -> Json | None:
    """What was answered to a request with this ``key``; None where there was none, or none yet.

    Raises Conflict where the key was used for another request.
    """
    before = c.execute(_BEFORE, {"user": user_id, "used": key}).one_or_none()
    return None if before is None else _answer_of(before, fingerprint)


def begin(c: Connection, user_id: str, key: str, fingerprint: str) -> Json | None:
    """Take a user's ``key``: None where it is new, else the answer that was given to it.

    ``fingerprint`` is a digest of the request. Raises Conflict where the key
    was used for another one.
    """
    values = {"user_id": user_id, "key": key, "fingerprint": fingerprint}
    if c.execute(_TAKE, values).one_or_none() is not None:
        return None
    return _answer_of(c.execute(_BEFORE, {"user": user_id, "used": key}).one(), fingerprint)


def finish(c: Connection, user_id: str, key: str, answer: Json) -> None:
    """Keep what was answered, for whoever asks the same again."""
    c.execute(_FINISH, {"user": user_id, "used": key, "given": answer})


def forget_old(c: Connection) -> int:
    """Forget the keys of yesterday; how many they were."""
    return c.execute(_FORGET).rowcount


def _answer_of(before: Any, fingerprint: str) -> Json | None:
    if before.fingerprint != fingerprint:
        raise Conflict("This Idempotency-Key was used for another request; choose a new one.")
    return before.answer


def _of(statement: Any) -> Any:
    """``statement``, confined to one key of one user."""
    return statement.where(
        requests.c.user_id == sa.bindparam("user", type_=Id), requests.c.key == sa.bindparam("used")
    )


_TAKE = (
    postgresql.insert(requests)  # SQLite reads the same words
    .values(created_at=now())
    .on_conflict_do_nothing()
    .returning(requests.c.key)
)
_BEFORE = _of(sa.select(requests.c.fingerprint, requests.c.answer))
_FINISH = _of(requests.update()).values(answer=sa.bindparam("given", type_=requests.c.answer.type))
_FORGET = requests.delete().where(requests.c.created_at <= moment(-KEPT_SECONDS))
