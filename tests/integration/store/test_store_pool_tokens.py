"""Tokens of pools, on both databases."""

from __future__ import annotations

import pytest

from runtime.errors import NotFound
from runtime.model import new_id
from runtime.store import Database, pool_tokens


def test_a_token_is_for_one_pool_until_it_is_revoked(database: Database) -> None:
    made, secret = database.write(pool_tokens.create, "gpu", "the machine in the cellar")
    database.write(pool_tokens.create, "remote", "another one")

    assert database.write(pool_tokens.pool_of, secret) == "gpu"
    assert database.write(pool_tokens.pool_of, secret + "x") is None
    listed = database.read(pool_tokens.listing)
    assert [(one.pool, one.name, one.last_used_at is None) for one in listed] == [
        ("gpu", "the machine in the cellar", False),
        ("remote", "another one", True),
    ]
    assert secret not in str(listed)

    database.write(pool_tokens.revoke, made.id)
    assert database.write(pool_tokens.pool_of, secret) is None
    with pytest.raises(NotFound, match="token list"):
        database.write(pool_tokens.revoke, new_id())
