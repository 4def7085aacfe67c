"""Accounts: registering, signing in and out, passwords, and API tokens."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from marshmallow import fields

from runtime.errors import FieldError, Forbidden, Invalid, Unauthenticated
from runtime.model import User
from runtime.store import users
from runtime.tokens import session_token
from runtime.weak_passwords import weakness
from web.api.openapi import Blueprint
from web.api.schemas import inputs, outputs
from web.core import core
from web.http.addresses import network
from web.http.responses import json_response, no_content
from web.security import auth

entrance = Blueprint("auth", __name__, url_prefix="/api/auth", security=(), description="Signing in and out")
account = Blueprint("account", __name__, url_prefix="/api", description="Your account and its API tokens")
account.before_request(auth.sign_in_required)

_SignedIn = outputs.wrapped(
    "SignedIn",
    user=outputs.User,
    token=fields.String(metadata={"optional": True, "description": "only with `token: true` in the request"}),
)
_UserAnswer = outputs.wrapped("UserAnswer", user=outputs.User)
_TokenAnswer = outputs.wrapped("TokenAnswer", token=outputs.TokenWithSecret)


@entrance.route("/register", methods=["POST"])
@entrance.arguments(inputs.Registration)
@entrance.response(201, _SignedIn)
def register(given: dict[str, Any]) -> Response:
    """Create an account and sign in."""
    auth.same_origin()
    if not core.settings.security.registration:
        raise Forbidden("Registration is turned off. Ask your administrator for an account.")
    _limit_attempts(given["email"])
    _check_strength("password", given["password"], given["email"])
    password_hash = core.passwords.hash(given["password"])

    def make(c: Any) -> tuple[User, str]:
        user = users.register(c, email=given["email"], password_hash=password_hash, name=given["name"])
        return user, users.open_login(c, user.id, core.settings.security.session_days)

    user, session_id = core.database.write(make)
    _end_session_before()
    return _signed_in(user, session_id, given["token"], 201)


@entrance.route("/login", methods=["POST"])
@entrance.arguments(inputs.Credentials)
@entrance.response(200, _SignedIn)
def login(given: dict[str, Any]) -> Response:
    """Sign in. The session that the request's cookie is of ends."""
    auth.same_origin()
    _limit_attempts(given["email"])
    found = _account(given["email"], given["password"])
    days = core.settings.security.session_days
    session_id = core.database.write(users.sign_in, found[0].id, found[1], days) if found else None
    if found is None or session_id is None:
        raise Unauthenticated("The email address or the password is wrong.")
    _end_session_before()
    return _signed_in(found[0], session_id, given["token"], 200)


@entrance.route("/logout", methods=["POST"])
@entrance.response(204)
def logout() -> Response:
    """Sign out. Does nothing if you are not signed in."""
    credential = auth.request_credential()
    if credential is not None and credential.kind == "session":
        user_id = core.database.write(users.end_login, credential.value)
        if user_id is not None:
            core.credentials.revoked(user_id)
    auth.forget()
    return no_content()


@account.route("/auth/password", methods=["POST"])
@account.arguments(inputs.PasswordChange)
@account.response(200, _SignedIn)
def change_password(given: dict[str, Any]) -> Response:
    """Change your password.

    You are signed out everywhere, and tokens that signing in gave stop working. The response
    starts a new session. API tokens stay valid.
    """
    email = auth.current_user().email
    _limit_attempts(email)
    found = _account(email, given["current_password"])
    if found is None:
        raise Invalid("The current password is wrong.", [FieldError(("current_password",), "is wrong")])
    user, old_hash = found
    _check_strength("new_password", given["new_password"], email)
    new_hash = core.passwords.hash(given["new_password"])

    def change(c: Any) -> str:
        users.set_password(c, user.id, new_hash, instead_of=old_hash)
        return users.open_login(c, user.id, core.settings.security.session_days)

    session_id = core.database.write(change)
    core.credentials.revoked(user.id)
    return _signed_in(user, session_id, given["token"], 200)


@account.route("/me")
@account.response(200, _UserAnswer)
def me() -> Response:
    """Who you are."""
    return json_response({"user": auth.current_user().encode()})


@account.route("/tokens")
@account.response(200, outputs.page_of(outputs.Token))
def list_tokens() -> Response:
    """Your API tokens, without their secrets."""
    found = core.database.read(users.tokens, auth.current_user().id)
    return json_response({"items": [token.encode() for token in found], "next": None})


@account.route("/tokens", methods=["POST"])
@account.arguments(inputs.NewToken)
@account.response(201, _TokenAnswer)
def create_token(given: dict[str, Any]) -> Response:
    """Create an API token.

    Its secret is shown only once, in this response.
    """
    token, secret = core.database.write(users.create_token, auth.current_user().id, given["name"])
    return json_response({"token": {**token.encode(), "secret": secret}}, 201)


@account.route("/tokens/<id:token_id>", methods=["DELETE"])
@account.response(204)
def revoke_token(token_id: str) -> Response:
    """Revoke an API token."""
    user_id = auth.current_user().id
    core.database.write(users.revoke_token, user_id, token_id)
    core.credentials.revoked(user_id)
    return no_content()


def _check_strength(field: str, password: str, email: str) -> None:
    """Raises Invalid for a password that is guessed first."""
    if problem := weakness(password, email):
        raise Invalid(f"{field}: {problem}", [FieldError((field,), problem)])


def _end_session_before() -> None:
    """End the session that this browser had until now; nobody can use its cookie any more."""
    session_id = auth.session_of_cookie()
    user_id = core.database.write(users.end_login, session_id) if session_id else None
    if user_id is not None:
        core.credentials.revoked(user_id)


def _limit_attempts(email: str) -> None:
    """Raises TooMany after too many attempts from this address, or for this account."""
    core.login_limit.check(f"address {network(request.remote_addr)}", f"account {email.lower()}")


def _account(email: str, password: str) -> tuple[User, str] | None:
    """The account and the hash of its password; None unless ``password`` is right."""
    found = core.database.read(users.by_email, email)
    return found if core.passwords.verify(found[1] if found else None, password) else None


def _signed_in(user: User, session_id: str, with_token: bool, status: int) -> Response:
    auth.remember(session_id)
    body: dict[str, Any] = {"user": user.encode()}
    if with_token:
        body["token"] = session_token(core.settings, session_id)
    return json_response(body, status)
