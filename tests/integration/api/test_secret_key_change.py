"""The secret key is changed: what the other key has signed is accepted, until that is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from flask import Flask

from runtime import tokens
from runtime.settings import load
from tests.support.contract import Contract
from tests.support.web import Client
from web.app import create_app

OLD, NEW = "a key for tests that is long enough", "another key for tests, as long as that one"
Open = Callable[..., Client]


@contextmanager
def client_of(environ: dict[str, str]) -> Iterator[Client]:
    app: Flask = create_app(load(environ))
    app.test_client_class = Client
    Client.contract = Contract(app)
    yield app.test_client()
    core = app.extensions["branchline"]
    core.end_streams()
    core.database.close()
    core.link.close()


@pytest.fixture
def open_with(web_environ: dict[str, str]) -> Iterator[Open]:
    """A client of an installation that has these keys, with the cookies of another client."""
    with ExitStack() as opened:

        def open_with(key: str, previous: str = "", cookies: Client | None = None) -> Client:
            keys = {
                "BRANCHLINE_SECURITY_SECRET_KEY": key,
                "BRANCHLINE_SECURITY_SECRET_KEY_PREVIOUS": previous,
            }
            client = opened.enter_context(client_of({**web_environ, **keys}))
            for cookie in cookies._cookies.values() if cookies else ():
                client.set_cookie(cookie.key, cookie.value)
            return client

        yield open_with


def test_a_browser_stays_signed_in_and_gets_a_cookie_of_the_new_key(open_with: Open) -> None:
    before = open_with(OLD).sign_up("ada")
    assert open_with(NEW, cookies=before).get("/api/me").status_code == 401

    meanwhile = open_with(NEW, OLD, cookies=before)
    assert meanwhile.get("/api/me").status_code == 200
    assert open_with(OLD, NEW, cookies=meanwhile).get("/api/me").status_code == 200
    assert open_with(NEW, cookies=meanwhile).get("/api/me").status_code == 200

    assert len(meanwhile._cookies) == 2
    meanwhile.post("/api/auth/logout")
    assert not meanwhile._cookies


def test_processes_that_sign_with_either_key_accept_each_others_cookies(open_with: Open) -> None:
    first = open_with(NEW, OLD).sign_up("ada")

    assert open_with(OLD, NEW, cookies=first).get("/api/me").status_code == 200


def test_tokens_of_the_previous_key_are_accepted_while_it_is_set() -> None:
    old, new = ({"BRANCHLINE_SECURITY_SECRET_KEY": key} for key in (OLD, NEW))
    before, after = load(old), load(new)
    meanwhile = load({**new, "BRANCHLINE_SECURITY_SECRET_KEY_PREVIOUS": OLD})

    session, run = tokens.session_token(before, "s"), tokens.run_token(before, "r", 1)
    cursor = tokens.run_cursor(before, "r", "c")
    assert tokens.read_session_token(meanwhile, session) == "s"
    assert tokens.read_run_token(meanwhile, run) == tokens.RunGrant("r", 1)
    assert tokens.read_run_cursor(meanwhile, "r", cursor) == "c"
    assert tokens.read_run_token(meanwhile, session) is None
    assert tokens.read_session_token(after, session) is None
    assert tokens.read_session_token(after, tokens.session_token(meanwhile, "s")) == "s"
