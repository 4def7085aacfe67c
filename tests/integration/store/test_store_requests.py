"""Idempotency keys."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from runtime.errors import Conflict
from runtime.model import User, new_id
from runtime.store import Connection, Database, requests
from runtime.store.tables import now
from runtime.store.tables import requests as requests_table


def ask(database: Database, user_id: str, key: str, fingerprint: str, answer: object) -> object:
    """Carry a request out, or say what was answered before."""

    def carry_out(c: Connection) -> object:
        before = requests.begin(c, user_id, key, fingerprint)
        if before is not None:
            return before
        requests.finish(c, user_id, key, answer)
        return answer

    return database.write(carry_out)


def test_the_same_request_is_carried_out_once(database: Database, user: User) -> None:
    assert ask(database, user.id, "k", "body", {"runs": [1]}) == {"runs": [1]}
    assert ask(database, user.id, "k", "body", {"runs": [2]}) == {"runs": [1]}


def test_another_request_with_the_same_key_is_refused(database: Database, user: User) -> None:
    ask(database, user.id, "k", "body", {})

    with pytest.raises(Conflict):
        ask(database, user.id, "k", "another body", {})


def test_keys_of_two_users_are_two_keys(database: Database, user: User) -> None:
    ask(database, user.id, "k", "body", {"mine": True})

    assert ask(database, new_id(), "k", "other", {"mine": False}) == {"mine": False}


def test_the_key_of_a_request_that_failed_is_free(database: Database, user: User) -> None:
    def fail(c: Connection) -> None:
        requests.begin(c, user.id, "k", "body")
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError):
        database.write(fail)

    assert ask(database, user.id, "k", "body", {"tries": 2}) == {"tries": 2}


def test_the_same_request_at_the_same_moment_waits_for_the_first(database: Database, user: User) -> None:
    taken, second_asks = Event(), Event()

    def first(c: Connection) -> None:
        assert requests.begin(c, user.id, "k", "body") is None
        taken.set()
        assert second_asks.wait(10)
        requests.finish(c, user.id, "k", {"by": "first"})

    def second() -> object:
        assert taken.wait(10)
        second_asks.set()
        return ask(database, user.id, "k", "body", {"by": "second"})

    with ThreadPoolExecutor(2) as at_once:
        running = at_once.submit(database.write, first)
        answer = at_once.submit(second).result(timeout=20)
        running.result(timeout=20)

    assert answer == {"by": "first"}


def test_keys_are_forgotten_after_a_day(database: Database, user: User) -> None:
    ask(database, user.id, "old", "body", {})
    database.write(lambda c: c.execute(requests_table.update().values(created_at=now(-25 * 3600))))
    ask(database, user.id, "new", "body", {})

    assert database.write(requests.forget_old) == 1
    assert ask(database, user.id, "old", "other", {"again": True}) == {"again": True}
    assert ask(database, user.id, "new", "body", {"again": True}) == {}
