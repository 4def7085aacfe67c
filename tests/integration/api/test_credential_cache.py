"""Whose a credential is: what is remembered, for how long, and when not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from runtime.duties import Duties
from runtime.errors import StreamUnavailable
from runtime.model import User
from runtime.store import Database, users
from runtime.stream import Revocations
from web.security.credentials import Credential, CredentialCache


class Announcements:
    """Stands for the other processes: hears what is announced, and says when they do."""

    def __init__(self) -> None:
        self.announced: list[str] = []
        self.away = False
        self.revoked: Callable[[str], None]
        self.hearing: Callable[[], None]
        self.deaf: Callable[[], None]

    def announce(self, user_id: str) -> None:
        if self.away:
            raise StreamUnavailable
        self.announced.append(user_id)

    def listen(self, *listener: Any) -> None:
        self.revoked, self.hearing, self.deaf, _ = listener


class Meanwhile:
    """A database during whose next lookup something happens."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.happens: Callable[[], None] = lambda: None

    def read(self, *args: Any) -> Any:
        found = self._database.read(*args)
        self.happens()
        self.happens = lambda: None
        return found


class Room:
    """CredentialCache with a clock that the test turns."""

    def __init__(self, database: Database, user: User) -> None:
        self.time = 0.0
        self.others = Announcements()
        self.database = Meanwhile(database)
        self.credentials = CredentialCache(
            cast(Database, self.database), cast(Revocations, self.others), clock=lambda: self.time, size=3
        )
        self.session = Credential("session", database.write(users.open_login, user.id, 1))

    def hear(self) -> Room:
        self.credentials.listen(Duties())
        self.others.hearing()
        return self

    def asks(self, credential: Credential | None = None) -> bool:
        """Whether the next request costs a query."""
        before = self.credentials.lookups
        self.credentials.resolve(credential or self.session)
        return self.credentials.lookups > before


@pytest.fixture
def room(database: Database, user: User) -> Room:
    return Room(database, user)


def test_a_user_is_cached_for_a_few_seconds(room: Room, user: User) -> None:
    room.hear()
    assert room.credentials.resolve(room.session) == user
    assert not room.asks()
    assert room.credentials.resolve(room.session) == user

    room.time += 5
    assert room.asks()
    assert not room.asks()


def test_an_invalid_credential_is_not_cached(room: Room) -> None:
    room.hear()
    nobody = Credential("token", "bl_none")

    assert [room.asks(nobody) for _ in range(2)] == [True, True]


def test_nothing_is_cached_before_revocations_are_subscribed_to(room: Room) -> None:
    assert [room.asks() for _ in range(2)] == [True, True]
    room.credentials.listen(Duties())
    assert [room.asks() for _ in range(2)] == [True, True]


def test_the_cache_is_cleared_when_the_subscription_is_lost(room: Room) -> None:
    room.hear().asks()
    room.others.deaf()

    assert [room.asks() for _ in range(2)] == [True, True]
    room.others.hearing()
    assert [room.asks() for _ in range(2)] == [True, False]


def test_a_revocation_drops_that_user_only(room: Room, user: User, database: Database) -> None:
    bob = database.write(users.register, email="bob@example.com", password_hash="-")
    of_bob = Credential("session", database.write(users.open_login, bob.id, 1))
    room.hear().asks()
    room.asks(of_bob)

    room.others.revoked(user.id)

    assert not room.asks(of_bob)
    assert room.asks()


@pytest.mark.parametrize("event", ["revoked", "deaf", "hearing"])
def test_a_look_up_is_not_cached_when_a_revocation_arrives_during_it(
    room: Room, user: User, event: str
) -> None:
    room.hear()
    room.database.happens = {
        "revoked": lambda: room.credentials.revoked(user.id),
        "deaf": room.others.deaf,
        "hearing": room.others.hearing,
    }[event]

    assert room.asks()
    assert room.asks()


def test_a_credential_is_refused_at_once_when_this_process_revokes_it(
    room: Room, user: User, database: Database
) -> None:
    room.hear().asks()
    assert database.write(users.end_login, room.session.value) == user.id
    room.credentials.revoked(user.id)

    assert room.others.announced == [user.id]
    assert room.credentials.resolve(room.session) is None


def test_a_revoked_credential_is_refused_while_redis_is_away(
    room: Room, user: User, database: Database
) -> None:
    room.hear().asks()
    room.others.away = True
    database.write(users.end_login, room.session.value)
    room.credentials.revoked(user.id)

    assert room.credentials.resolve(room.session) is None


def test_the_oldest_entry_is_dropped_when_the_cache_is_full(
    room: Room, user: User, database: Database
) -> None:
    room.hear()
    sessions = [Credential("session", database.write(users.open_login, user.id, 1)) for _ in range(4)]
    for one in sessions:
        room.asks(one)

    assert not room.asks(sessions[1])
    assert not room.asks(sessions[3])
    assert room.asks(sessions[0])
