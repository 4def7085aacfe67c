"""Authentication: a browser by its cookie, a program by its bearer token, which may be for one thread only.

The user of a credential is looked up every few seconds, not at each request. A write
with a cookie must come from our own pages: browsers send the origin, and any other
is refused.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from flask import Flask, Request, Response, g, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from itsdangerous import BadSignature, SignatureExpired, TimestampSigner, URLSafeTimedSerializer

from runtime import logs
from runtime.errors import Forbidden, Unauthenticated
from runtime.model import User
from runtime.settings import Settings
from runtime.tokens import CLOCK_SKEW, read_agent_token, read_session_token, read_thread_token
from web.core import core
from web.security import scope
from web.security.credentials import Credential

_SESSION = "sid"
_PORTS = {"http": 80, "https": 443}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class _Signer(TimestampSigner):
    """Signs with a time, and accepts what a process whose clock is up to a minute ahead has signed.

    itsdangerous refuses whatever was signed later than now, by however little. Then a user who signed
    in at one web process would be signed out at the next.
    """

    def unsign(  # type: ignore[override]  # without its overloads
        self, signed_value: str | bytes, max_age: int | None = None, return_timestamp: bool = False
    ) -> tuple[bytes, datetime] | bytes:
        """What was signed, and when. Raises BadSignature; SignatureExpired where its age is impossible."""
        value, moment = super().unsign(signed_value, return_timestamp=True)
        age = self.get_timestamp() - int(moment.timestamp())
        if max_age is not None and not -CLOCK_SKEW <= age <= max_age + CLOCK_SKEW:
            raise SignatureExpired(f"It was signed {age} seconds ago.", payload=value, date_signed=moment)
        return (value, moment) if return_timestamp else value


class _Cookies(SecureCookieSessionInterface):
    """Flask's signed cookies, at no cost for a request without one."""

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """Flask's serializer, with our signer."""
        serializer = super().get_signing_serializer(app)
        if serializer is not None:
            serializer.signer = _Signer
        return serializer

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """The session in the cookie; one that the other key has signed is signed anew in the response."""
        serializer = self.get_signing_serializer(app) if "Cookie" in request.headers else None
        if serializer is None:
            return self.session_class()
        longest = int(app.permanent_session_lifetime.total_seconds())
        for name in _names(app):
            try:
                found = self.session_class(serializer.loads(request.cookies.get(name, ""), max_age=longest))
            except BadSignature:
                continue
            found.modified = name != self.get_cookie_name(app)
            return found
        return self.session_class()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Set the cookie where it changed, or delete it under each of its names."""
        if session.accessed or session.modified:
            super().save_session(app, session, response)
        if session.modified and not session:
            path, secure = self.get_cookie_path(app), self.get_cookie_secure(app)
            for name in _names(app)[1:]:
                response.delete_cookie(name, path, secure=secure, httponly=True, samesite="Lax")


def _names(app: Flask) -> list[str]:
    """What the cookie is called under each key."""
    return [_cookie_name(key) for key in (app.config["SECRET_KEY"], *app.config["SECRET_KEY_FALLBACKS"])]


def _cookie_name(key: str) -> str:
    """It contains a digest of the key.

    Browsers do not separate cookies by port, so two copies on one host would overwrite each
    other's; processes of one deployment share the key.
    """
    return f"branchline_{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def init_app(app: Flask, settings: Settings) -> None:
    """Let the app keep a session's id in a signed cookie."""
    app.session_interface = _Cookies()
    key, *others = settings.accepted_keys
    app.config.update(
        SECRET_KEY=key,
        SECRET_KEY_FALLBACKS=others,
        SESSION_COOKIE_NAME=_cookie_name(key),
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.security.cookie_secure,
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=timedelta(days=settings.security.session_days),
    )


def sign_in_required() -> None:
    """For ``before_request`` of a blueprint: authenticate. Raises Unauthenticated, Forbidden, NotFound."""
    credential = request_credential()
    user = core.credentials.resolve(credential) if credential else None
    if credential is None or user is None:
        raise Unauthenticated
    g.user, g.credential = user, credential
    logs.add(user_id=user.id)
    if credential.grant is not None:
        scope.check(credential.grant)


def current_user() -> User:
    """The user who sent the request."""
    user: User = g.user
    return user


def current_credential() -> Credential:
    """The credential that the request was authenticated by."""
    credential: Credential = g.credential
    return credential


def request_credential() -> Credential | None:
    """The request's credential, if any; a header is preferred to a cookie. Raises Forbidden."""
    header = request.headers.get("Authorization")
    if header is not None:
        return _bearer(header)
    session_id = session_of_cookie()
    if session_id is None:
        return None
    same_origin()
    return Credential("session", session_id)


def socket_credential(token: str | None) -> Credential | None:
    """That of a socket: its token, a header, or a cookie, which only our own pages may use."""
    if token is not None:
        return _bearer(f"Bearer {token}")
    origin = request.headers.get("Origin")
    if "Authorization" not in request.headers and origin is not None and not is_own_origin(origin):
        raise Forbidden
    return request_credential()


def session_of_cookie() -> str | None:
    """The id of the session in the request's cookie, whatever else the request shows."""
    return session.get(_SESSION)


def same_origin() -> None:
    """Raise Forbidden if a browser says that another site caused this write (CSRF)."""
    if request.method in _SAFE_METHODS:
        return
    origin = request.headers.get("Origin")
    if origin is not None:
        if not is_own_origin(origin):
            raise Forbidden
    elif request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise Forbidden


def remember(session_id: str) -> None:
    """Set the session cookie."""
    session.clear()
    session.permanent = True
    session[_SESSION] = session_id


def forget() -> None:
    """Delete the session cookie, if the request has one.

    A form that another site submits brings no cookie (SameSite), and must not sign anybody out.
    """
    if session:
        session.clear()


def _bearer(header: str) -> Credential | None:
    scheme, _, text = header.partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text:
        return None
    if "." not in text:  # a JSON Web Token has two dots, an API token none
        return Credential("token", text)
    session_id = read_session_token(core.settings, text)
    if session_id:
        return Credential("session", session_id)
    of_thread = read_thread_token(core.settings, text)
    if of_thread is not None:
        return Credential("thread", of_thread.holder, of_thread)
    of_agents = read_agent_token(core.settings, text)
    return Credential("agent", of_agents.holder, of_agents) if of_agents else None


def is_own_origin(origin: str) -> bool:
    """Whether host and port are ours; not the scheme, for TLS may end before us."""
    try:
        theirs = urlsplit(origin)
        ours = urlsplit(f"{theirs.scheme}://{request.host}")
        default = _PORTS.get(theirs.scheme)
        if default is None or theirs.hostname is None:
            return False
        return (theirs.hostname, theirs.port or default) == (ours.hostname, ours.port or default)
    except ValueError:
        return False
