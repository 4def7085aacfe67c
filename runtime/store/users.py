"""Users, their logins and their API tokens.

A login is one sign-in of a user; its id travels in the cookie. It ends at sign-out, when
the password changes, or when its days are over. Of an API token only the hash is stored.
Web processes remember for a moment whose a credential is: whoever ends one announces it
(:class:`runtime.stream.Revocations`).
"""

from __future__ import annotations

import hashlib
import secrets

import sqlalchemy as sa
from sqlalchemy import Connection, exc

from runtime.errors import Conflict, NotFound
from runtime.model import ApiToken, User, new_id
from runtime.store.tables import Id, api_tokens, logins, now, users, workspaces

_TOKEN_PREFIX = "bl_"  # noqa: S105  no secret, only what secrets begin with
_TOKEN_BYTES = 30  # 40 characters of base64
_USE_NOTED_EVERY = 60  # seconds


def register(c: Connection, *, email: str, password_hash: str, name: str | None = None) -> User:
    """A new user with a personal workspace. Raises Conflict where the address has an account."""
    email = _plain(email)
    workspace_id = new_id()
    c.execute(_MAKE_WORKSPACE, {"id": workspace_id, "name": name or email})
    row = {"id": new_id(), "workspace_id": workspace_id, "email": email, "name": name}
    try:
        made = c.execute(_MAKE_USER, {**row, "password_hash": password_hash}).one()
    except exc.IntegrityError as error:
        raise Conflict(f"There is an account for {email} already; sign in instead.") from error
    return User(**made._mapping)


def by_email(c: Connection, email: str) -> tuple[User, str] | None:
    """The user of an address, and the hash of the password."""
    row = c.execute(_BY_EMAIL, {"email": _plain(email)}).one_or_none()
    if row is None:
        return None
    *fields, password_hash = row
    return User(*fields), password_hash


def get(c: Connection, user_id: str) -> User:
    """The user; for the processes of the system itself."""
    return User(*c.execute(sa.select(*_USER).where(users.c.id == user_id)).one())


def open_login(c: Connection, user_id: str, days: float) -> str:
    """Sign a user in for ``days``; the login's id."""
    login_id = new_id()
    c.execute(_OPEN_LOGIN, {"id": login_id, "user_id": user_id, "seconds": days * 86400})
    return login_id


def sign_in(c: Connection, user_id: str, password_hash: str, days: float) -> str | None:
    """Sign in a user who has shown the password of that hash; None where there is another by now.

    A change of the password waits for this, or this for the change: no login that
    the old one opened outlives it.
    """
    still = c.execute(_STILL, {"user": user_id, "hash": password_hash}).one_or_none()
    return open_login(c, user_id, days) if still else None


def by_login(c: Connection, login_id: str) -> User | None:
    """The user who is signed in by that login; None once it has ended."""
    row = c.execute(_BY_LOGIN, {"login": login_id}).one_or_none()
    return None if row is None else User(**row._mapping)


def end_login(c: Connection, login_id: str) -> str | None:
    """Sign out; the id of the user who was signed in, None for a login that has ended."""
    user_id: str | None = c.execute(_END_LOGIN, {"login": login_id}).scalar_one_or_none()
    return user_id


def end_logins(c: Connection, user_id: str) -> None:
    """Sign a user out everywhere."""
    c.execute(_END_LOGINS, {"user": user_id})


def set_password(c: Connection, user_id: str, password_hash: str, *, instead_of: str | None = None) -> None:
    """Give a user another password, which ends all logins.

    ``instead_of``: the hash that is to be there until now. Raises NotFound, or Conflict
    where it is another.
    """
    found = c.execute(_PASSWORD, {"user": user_id}).scalar_one_or_none()
    if found is None:
        raise NotFound
    if instead_of not in (None, found):
        raise Conflict("The password has been changed meanwhile.")
    c.execute(_SET_PASSWORD, {"user": user_id, "new_hash": password_hash})
    end_logins(c, user_id)


def create_token(c: Connection, user_id: str, name: str) -> tuple[ApiToken, str]:
    """A new API token, and its secret, which cannot be had a second time."""
    secret = _TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
    row = c.execute(
        _CREATE_TOKEN, {"id": new_id(), "user_id": user_id, "name": name, "hash": _hash(secret)}
    ).one()
    return ApiToken(**row._mapping), secret


def by_token(c: Connection, secret: str) -> User | None:
    """The user whose API token that is; None for any that was revoked or never was."""
    row = c.execute(_BY_TOKEN, {"secret_hash": _hash(secret)}).one_or_none()
    if row is None:
        return None
    *fields, token_id, use_unnoted = row
    if use_unnoted:
        _note_use(c, token_id)
    return User(*fields)


def tokens(c: Connection, user_id: str) -> list[ApiToken]:
    """A user's API tokens, oldest first."""
    return [ApiToken(**row._mapping) for row in c.execute(_TOKENS, {"user": user_id})]


def revoke_token(c: Connection, user_id: str, token_id: str) -> None:
    """Make a token worthless. Raises NotFound."""
    if not c.execute(_REVOKE_TOKEN, {"token": token_id, "user": user_id}).rowcount:
        raise NotFound


def _note_use(c: Connection, token_id: str) -> None:
    try:
        c.execute(_NOTE_USE, {"token": token_id})
    except exc.OperationalError:
        # SQLite refuses to write in a transaction that began as a reader when
        # somebody else has written meanwhile. The next request notes it.
        if c.dialect.name != "sqlite":
            raise


def _plain(email: str) -> str:
    return email.strip().lower()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


_USER = (users.c.id, users.c.workspace_id, users.c.email, users.c.name, users.c.created_at)
_TOKEN = (
    api_tokens.c.id,
    api_tokens.c.user_id,
    api_tokens.c.name,
    api_tokens.c.created_at,
    api_tokens.c.last_used_at,
)
_LOGIN_ID = sa.bindparam("login", type_=Id)
_USER_ID = sa.bindparam("user", type_=Id)
_TOKEN_ID = sa.bindparam("token", type_=Id)

_MAKE_WORKSPACE = workspaces.insert().values(created_at=now())
_MAKE_USER = users.insert().values(created_at=now()).returning(*_USER)
_BY_EMAIL = sa.select(*_USER, users.c.password_hash).where(users.c.email == sa.bindparam("email"))
_PASSWORD = sa.select(users.c.password_hash).where(users.c.id == _USER_ID).with_for_update()
_STILL = _PASSWORD.where(users.c.password_hash == sa.bindparam("hash"))
_SET_PASSWORD = users.update().where(users.c.id == _USER_ID).values(password_hash=sa.bindparam("new_hash"))

_OPEN_LOGIN = logins.insert().values(
    created_at=now(), expires_at=now(sa.bindparam("seconds", type_=sa.Float))
)
_BY_LOGIN = (
    sa.select(*_USER)
    .join(logins, logins.c.user_id == users.c.id)
    .where(logins.c.id == _LOGIN_ID, logins.c.ended_at.is_(None), logins.c.expires_at > now())
)
_END_LOGIN = (
    logins.update()
    .where(logins.c.id == _LOGIN_ID, logins.c.ended_at.is_(None))
    .values(ended_at=now())
    .returning(logins.c.user_id)
)
_END_LOGINS = (
    logins.update().where(logins.c.user_id == _USER_ID, logins.c.ended_at.is_(None)).values(ended_at=now())
)

_CREATE_TOKEN = api_tokens.insert().values(created_at=now()).returning(*_TOKEN)
_BY_TOKEN = (
    sa.select(
        *_USER,
        api_tokens.c.id.label("token_id"),
        sa.func.coalesce(api_tokens.c.last_used_at <= now(-_USE_NOTED_EVERY), sa.true()).label("use_unnoted"),
    )
    .join(api_tokens, api_tokens.c.user_id == users.c.id)
    .where(api_tokens.c.hash == sa.bindparam("secret_hash"))
)
_NOTE_USE = api_tokens.update().where(api_tokens.c.id == _TOKEN_ID).values(last_used_at=now())
_TOKENS = (
    sa.select(*_TOKEN)
    .where(api_tokens.c.user_id == _USER_ID)
    .order_by(api_tokens.c.created_at, api_tokens.c.id)
)
_REVOKE_TOKEN = api_tokens.delete().where(api_tokens.c.id == _TOKEN_ID, api_tokens.c.user_id == _USER_ID)
