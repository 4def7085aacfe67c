"""Pool tokens: by which a machine elsewhere may execute the runs of one pool.

Of a token only the hash is stored. Whoever has one reads the runs of the pool, and writes their answers.
"""

from __future__ import annotations

import hashlib
import secrets

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import NotFound
from runtime.model import PoolToken, new_id
from runtime.store.tables import now, pool_tokens

_PREFIX = "blp_"
_BYTES = 30  # 40 characters of base64
_USE_NOTED_EVERY = 60  # seconds


def create(c: Connection, pool: str, name: str) -> tuple[PoolToken, str]:
    """A new token, and its secret, which cannot be had a second time."""
    secret = _PREFIX + secrets.token_urlsafe(_BYTES)
    made = (
        pool_tokens.insert()
        .values(id=new_id(), pool=pool, name=name, hash=_hash(secret), created_at=now())
        .returning(*_COLUMNS)
    )
    return PoolToken(**c.execute(made).one()._mapping), secret


def listing(c: Connection) -> list[PoolToken]:
    """All tokens, by pool, oldest first."""
    order = pool_tokens.c.pool, pool_tokens.c.created_at, pool_tokens.c.id
    return [PoolToken(**row._mapping) for row in c.execute(sa.select(*_COLUMNS).order_by(*order))]


def revoke(c: Connection, token_id: str) -> None:
    """Make a token worthless. Raises NotFound."""
    if not c.execute(pool_tokens.delete().where(pool_tokens.c.id == token_id)).rowcount:
        raise NotFound("There is no such pool token; `branchline token list` has their ids.")


def pool_of(c: Connection, secret: str) -> str | None:
    """The pool that a token is for; None for any that was revoked or never was."""
    this = pool_tokens.c.hash == _hash(secret)
    unnoted = sa.or_(
        pool_tokens.c.last_used_at.is_(None), pool_tokens.c.last_used_at < now(-_USE_NOTED_EVERY)
    )
    row = c.execute(sa.select(pool_tokens.c.pool, unnoted.label("unnoted")).where(this)).one_or_none()
    if row is None:
        return None
    if row.unnoted:
        c.execute(pool_tokens.update().where(this).values(last_used_at=now()))
    return str(row.pool)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


_COLUMNS = [pool_tokens.c[name] for name in PoolToken.__dataclass_fields__]
