"""Users, sessions and API tokens."""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from runtime.errors import Conflict, NotFound
from runtime.model import User, new_id
from runtime.store import Connection, Database, tables, users
from runtime.store.tables import api_tokens, now


def test_an_address_is_the_same_in_any_case(database: Database, user: User) -> None:
    found = database.read(users.by_email, " ADA@Example.com ")

    assert found == (user, "-")
    assert database.read(users.by_email, "bob@example.com") is None


def test_an_address_has_one_account(database: Database, user: User) -> None:
    with pytest.raises(Conflict):
        database.write(users.register, email="Ada@example.com", password_hash="other")
    assert database.read(users.by_email, user.email) == (user, "-")


def test_each_user_has_a_workspace_of_their_own(database: Database, user: User) -> None:
    bob = database.write(users.register, email="bob@example.com", password_hash="-")

    assert bob.workspace_id != user.workspace_id


def test_a_session_signs_in_until_it_is_ended(database: Database, user: User) -> None:
    one = database.write(users.open_login, user.id, 30)
    other = database.write(users.open_login, user.id, 30)
    assert database.read(users.by_login, one) == user

    database.write(users.end_login, one)
    database.write(users.end_login, one)

    assert database.read(users.by_login, one) is None
    assert database.read(users.by_login, other) == user
    assert database.read(users.by_login, new_id()) is None


def test_a_session_ends_by_itself(database: Database, user: User) -> None:
    assert database.read(users.by_login, database.write(users.open_login, user.id, 0)) is None
    assert database.read(users.by_login, database.write(users.open_login, user.id, 0.001)) == user


def test_another_password_ends_all_sessions(database: Database, user: User) -> None:
    bob = database.write(users.register, email="bob@example.com", password_hash="-")
    mine = [database.write(users.open_login, user.id, 1) for _ in range(2)]
    of_bob = database.write(users.open_login, bob.id, 1)

    database.write(users.set_password, user.id, "new")

    assert [database.read(users.by_login, session) for session in mine] == [None, None]
    assert database.read(users.by_login, of_bob) == bob
    assert database.read(users.by_email, user.email) == (user, "new")
    with pytest.raises(NotFound):
        database.write(users.set_password, new_id(), "nobody's")


def test_another_password_can_be_bound_to_the_present_one(database: Database, user: User) -> None:
    with pytest.raises(Conflict):
        database.write(users.set_password, user.id, "new", instead_of="other")
    assert database.read(users.by_email, user.email) == (user, "-")

    database.write(users.set_password, user.id, "new", instead_of="-")
    assert database.read(users.by_email, user.email) == (user, "new")


def test_a_password_that_was_changed_meanwhile_opens_no_session(database: Database, user: User) -> None:
    assert database.write(users.sign_in, user.id, "-", 1)
    database.write(users.set_password, user.id, "new")

    assert database.write(users.sign_in, user.id, "-", 1) is None


def test_no_session_slips_past_a_change_of_the_password(database: Database, user: User) -> None:
    with ThreadPoolExecutor(1) as elsewhere:

        def sign_in_slowly(c: Connection) -> tuple[str | None, Future[None]]:
            session = users.sign_in(c, user.id, "-", 1)
            change = elsewhere.submit(database.write, users.set_password, user.id, "new")
            with pytest.raises(TimeoutError):  # it waits for this one
                change.result(timeout=0.5)
            return session, change

        session, change = database.write(sign_in_slowly)
        change.result(timeout=20)

    assert session is not None
    assert database.read(users.by_login, session) is None


def test_errors_of_the_database_do_not_show_what_was_to_be_stored(database: Database, user: User) -> None:
    twice = {"id": user.id, "workspace_id": user.workspace_id, "email": user.email}
    again = tables.users.insert().values(created_at=now(), password_hash="the hash", **twice)

    with pytest.raises(IntegrityError) as error:
        database.write(lambda c: c.execute(again))
    assert "the hash" not in str(error.value)


def test_a_token_is_worth_something_until_it_is_revoked(database: Database, user: User) -> None:
    token, secret = database.write(users.create_token, user.id, "laptop")

    assert re.fullmatch(r"bl_[\w-]{40}", secret)
    assert database.read(users.by_token, secret) == user
    assert [kept.id for kept in database.read(users.tokens, user.id)] == [token.id]

    database.write(users.revoke_token, user.id, token.id)
    assert database.read(users.by_token, secret) is None
    assert database.read(users.tokens, user.id) == []


@pytest.mark.parametrize("secret", ["", "bl_", "bl_\0", "bl_\ud800", "é" * 40])
def test_a_token_that_never_was_is_worth_nothing(database: Database, secret: str) -> None:
    assert database.read(users.by_token, secret) is None


def test_the_secret_of_a_token_is_not_stored(database: Database, user: User) -> None:
    _, secret = database.write(users.create_token, user.id, "laptop")

    [row] = database.read(lambda c: c.execute(sa.select(api_tokens)).all())
    assert secret not in str(row)
    assert secret[3:] not in str(row)
    assert "hash" not in {field.name for field in fields(database.read(users.tokens, user.id)[0])}


def test_nobody_revokes_the_token_of_another(database: Database, user: User) -> None:
    token, secret = database.write(users.create_token, user.id, "laptop")
    bob = database.write(users.register, email="bob@example.com", password_hash="-")

    with pytest.raises(NotFound):
        database.write(users.revoke_token, bob.id, token.id)
    assert database.read(users.by_token, secret) == user


def test_the_use_of_a_token_is_noted_once_a_minute(database: Database, user: User) -> None:
    _, secret = database.write(users.create_token, user.id, "laptop")

    def used() -> object:
        database.read(users.by_token, secret)
        return database.read(users.tokens, user.id)[0].last_used_at

    first = used()
    assert first is not None
    assert used() == first

    database.write(lambda c: c.execute(api_tokens.update().values(last_used_at=now(-61))))
    assert used() >= first  # type: ignore[operator]


def test_a_token_works_while_somebody_else_writes(database: Database, user: User) -> None:
    _, secret = database.write(users.create_token, user.id, "laptop")

    def authenticate_late(c: Connection) -> User | None:
        c.execute(sa.select(api_tokens)).all()  # from here on, the reader sees the database as it is now
        with ThreadPoolExecutor(1) as elsewhere:
            account = {"email": "bob@example.com", "password_hash": "-"}
            elsewhere.submit(database.write, users.register, **account).result(timeout=20)
        return users.by_token(c, secret)

    assert database.read(authenticate_late) == user
