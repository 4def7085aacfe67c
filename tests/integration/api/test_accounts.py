"""Accounts: registering, signing in and out, sessions, API tokens, and whose is what."""

from __future__ import annotations

import jwt
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.web import PASSWORD, Client

UNKNOWN = "01928d2e-0000-7000-8000-000000000001"
"""An id that nothing has."""

ADA = {"email": "ada@example.com", "password": PASSWORD}


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_registering_signs_in(nobody: Client) -> None:
    answer = nobody.post("/api/auth/register", json={**ADA, "name": "Ada"})

    assert answer.status_code == 201
    assert answer.json["user"]["email"] == "ada@example.com"
    assert "token" not in answer.json
    assert nobody.get("/api/me").json == {"user": answer.json["user"]}


OWN = {"email": "grace.hopper@example.com"}
WEAK = [
    "12345678", "password1", "PASSWORD1", "qwertyuiop", "letmein123", "Passw0rd!", "aaaaaaaaaaaaaaaaaaaa",
    "abababababababababab", "grace.hopper@example.com", "GRACE.HOPPER@example.com", "grace.hopper",
    " grace.hopper ", "grace.hopper1", " " * 8, "\t\u2003\u200b\u2060    ", "\u00ad" * 9,
]  # fmt: skip


@pytest.mark.parametrize("password", WEAK)
def test_a_password_that_is_guessed_first_is_refused(nobody: Client, ada: Client, password: str) -> None:
    answer = nobody.post("/api/auth/register", json={**OWN, "password": password})

    assert answer.status_code == 422
    assert [error["path"] for error in answer.json["errors"]] == ["password"]
    assert password.strip() == "" or password not in answer.text

    if "grace" not in password.lower():
        answer = change(ada, PASSWORD, password)
        assert answer.status_code == 422
        assert [error["path"] for error in answer.json["errors"]] == ["new_password"]


@pytest.mark.parametrize(
    "password", ["correct horse battery", "x7Gk2pQ9vT", "längere Wörter", "日本語のパスワード"]
)
def test_a_password_that_is_hard_to_guess_is_accepted(nobody: Client, password: str) -> None:
    assert nobody.post("/api/auth/register", json={**OWN, "password": password}).status_code == 201


@pytest.mark.parametrize("how", ["login", "register"])
def test_signing_in_again_ends_the_session_that_the_browser_had(
    ada: Client, bob: Client, app: Flask, how: str
) -> None:
    thief, elsewhere = app.test_client(), app.test_client()
    thief.set_cookie(*cookie_of(ada))
    assert thief.get("/api/me").status_code == 200
    assert elsewhere.post("/api/auth/login", json=ADA).status_code == 200

    account = ADA if how == "login" else {**OWN, "password": PASSWORD}
    assert ada.post(f"/api/auth/{how}", json=account).status_code in (200, 201)

    assert thief.get("/api/me").status_code == 401
    for still in (ada, bob, elsewhere):
        assert still.get("/api/me").status_code == 200


def test_a_failed_sign_in_ends_no_session(ada: Client) -> None:
    assert ada.post("/api/auth/login", json={**ADA, "password": "wrong password"}).status_code == 401
    assert ada.get("/api/me").status_code == 200


def cookie_of(client: Client) -> tuple[str, str]:
    """Name and value of a client's session cookie."""
    [cookie] = client._cookies.values()
    return cookie.key, cookie.value


def test_the_cookie_is_http_only_and_same_site(nobody: Client) -> None:
    cookie = nobody.post("/api/auth/register", json=ADA).headers["Set-Cookie"]

    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_an_address_has_one_account(ada: Client, nobody: Client) -> None:
    answer = nobody.post("/api/auth/register", json={**ADA, "email": "ADA@example.com"})

    assert answer.status_code == 409


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"password": PASSWORD}, "email"),
        ({"email": "ada", "password": PASSWORD}, "email"),
        ({"email": "ada@example.com", "password": "short"}, "password"),
        ({"email": "ada@example.com", "password": None}, "password"),
        ({**ADA, "admin": True}, "admin"),
        ({**ADA, "token": "yes"}, "token"),
    ],
)
def test_an_invalid_account_is_refused_with_the_field(
    nobody: Client, body: dict[str, object], path: str
) -> None:
    answer = nobody.post("/api/auth/register", json=body)

    assert answer.status_code == 422
    assert [error["path"] for error in answer.json["errors"]] == [path]


def test_registration_is_refused_when_it_is_turned_off(
    web_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    web_environ["BRANCHLINE_SECURITY_REGISTRATION"] = "false"
    nobody: Client = request.getfixturevalue("nobody")

    assert nobody.post("/api/auth/register", json=ADA).status_code == 403


def test_signing_in_needs_the_password(ada: Client, nobody: Client) -> None:
    wrong = nobody.post("/api/auth/login", json={**ADA, "password": "wrong password"})
    unknown = nobody.post("/api/auth/login", json={**ADA, "email": "eve@example.com"})
    right = nobody.post("/api/auth/login", json=ADA)

    assert (wrong.status_code, unknown.status_code, right.status_code) == (401, 401, 200)
    assert {**wrong.json, "request_id": ""} == {**unknown.json, "request_id": ""}
    assert right.json == {"user": ada.user}


def test_signing_in_is_limited_after_too_many_attempts(
    web_environ: dict[str, str], request: pytest.FixtureRequest
) -> None:
    web_environ["BRANCHLINE_LIMITS_LOGINS_PER_MINUTE"] = "2"
    nobody: Client = request.getfixturevalue("nobody")

    answers = [nobody.post("/api/auth/login", json=ADA) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60


def test_registering_is_limited_after_too_many_attempts(
    web_environ: dict[str, str], request: pytest.FixtureRequest
) -> None:
    web_environ["BRANCHLINE_LIMITS_LOGINS_PER_MINUTE"] = "2"
    nobody: Client = request.getfixturevalue("nobody")

    accounts = [{**ADA, "email": f"ada{number}@example.com"} for number in range(3)]
    answers = [nobody.post("/api/auth/register", json=account).status_code for account in accounts]

    assert answers == [201, 201, 429]


def change(client: Client, current: str, new: str, **more: object) -> TestResponse:
    return client.post("/api/auth/password", json={"current_password": current, "new_password": new, **more})


def test_a_new_password_ends_every_session_but_the_one_that_set_it(ada: Client, app: Flask) -> None:
    elsewhere, program = app.test_client(), app.test_client()
    token = elsewhere.post("/api/auth/login", json={**ADA, "token": True}).json["token"]
    secret = ada.post("/api/tokens").json["token"]["secret"]

    changed = change(ada, PASSWORD, "another password", token=True)

    assert changed.status_code == 200
    assert changed.json["user"] == ada.user
    assert ada.get("/api/me").status_code == 200
    assert elsewhere.get("/api/me").status_code == 401
    assert program.get("/api/me", headers=bearer(token)).status_code == 401
    assert program.get("/api/me", headers=bearer(changed.json["token"])).status_code == 200
    assert program.get("/api/me", headers=bearer(secret)).status_code == 200
    assert elsewhere.post("/api/auth/login", json=ADA).status_code == 401
    assert elsewhere.post("/api/auth/login", json={**ADA, "password": "another password"}).status_code == 200


@pytest.mark.parametrize(
    ("current", "new", "path"),
    [("wrong password", "another password", "current_password"), (PASSWORD, "short", "new_password")],
)
def test_a_password_stays_when_its_change_is_refused(ada: Client, current: str, new: str, path: str) -> None:
    answer = change(ada, current, new)

    assert answer.status_code == 422
    assert [error["path"] for error in answer.json["errors"]] == [path]
    assert ada.get("/api/me").status_code == 200
    assert ada.post("/api/auth/login", json=ADA).status_code == 200


def test_changing_the_password_is_limited_after_too_many_attempts(
    web_environ: dict[str, str], request: pytest.FixtureRequest
) -> None:
    web_environ["BRANCHLINE_LIMITS_LOGINS_PER_MINUTE"] = "3"
    ada: Client = request.getfixturevalue("ada")  # that is one

    answers = [change(ada, "wrong password", "another password").status_code for _ in range(3)]

    assert answers == [422, 422, 429]


def test_signing_out_ends_the_session_and_its_tokens(ada: Client, app: Flask) -> None:
    token = ada.post("/api/auth/login", json={**ADA, "token": True}).json["token"]
    program = app.test_client()
    assert program.get("/api/me", headers=bearer(token)).status_code == 200

    answer = ada.post("/api/auth/logout")

    assert (answer.status_code, answer.data) == (204, b"")
    assert ada.get("/api/me").status_code == 401
    assert program.get("/api/me", headers=bearer(token)).status_code == 401
    assert ada.post("/api/auth/logout").status_code == 204


def test_a_signed_token_is_hs256_and_short_lived(ada: Client) -> None:
    token = ada.post("/api/auth/login", json={**ADA, "token": True}).json["token"]

    claims = jwt.decode(token, options={"verify_signature": False})

    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    assert "exp" in claims


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer bl_none", "Bearer a.b.c", "Basic YTpi", "Bearer \u00e9"]
)
def test_a_bad_bearer_token_is_refused_despite_a_good_cookie(ada: Client, header: str) -> None:
    answer = ada.get("/api/me", headers={"Authorization": header})

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_an_api_token_shows_its_secret_once_and_works_until_it_is_revoked(
    ada: Client, nobody: Client
) -> None:
    made = ada.post("/api/tokens", json={"name": "laptop"})
    secret = made.json["token"]["secret"]
    assert made.status_code == 201
    assert nobody.get("/api/me", headers=bearer(secret)).json == {"user": ada.user}

    [listed] = ada.get("/api/tokens").json["items"]
    assert listed["name"] == "laptop"
    assert "secret" not in listed

    assert ada.delete(f"/api/tokens/{listed['id']}").status_code == 204
    assert nobody.get("/api/me", headers=bearer(secret)).status_code == 401
    assert ada.delete(f"/api/tokens/{listed['id']}").status_code == 404


def test_a_write_with_a_bearer_token_is_allowed_from_any_origin(ada: Client, nobody: Client) -> None:
    secret = ada.post("/api/tokens").json["token"]["secret"]
    headers = {**bearer(secret), "Origin": "https://elsewhere.example"}

    assert nobody.post("/api/threads", json={}, headers=headers).status_code == 201


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Origin": "http://localhost"}, 201),
        ({"Origin": "https://localhost"}, 201),
        ({"Origin": "http://localhost:81"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[broken"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
    ],
)
def test_a_write_with_a_cookie_is_refused_from_another_origin(
    ada: Client, headers: dict[str, str], status: int
) -> None:
    assert ada.post("/api/threads", json={}, headers=headers).status_code == status


def test_signing_out_deletes_no_cookie_when_none_was_sent(nobody: Client) -> None:
    answer = nobody.post("/api/auth/logout", headers={"Origin": "https://elsewhere.example"})

    assert "Set-Cookie" not in answer.headers


def test_reading_with_a_cookie_is_allowed_from_any_origin(ada: Client) -> None:
    assert ada.get("/api/me", headers={"Origin": "https://elsewhere.example"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/me"), ("POST", "/api/auth/password"),
        ("GET", "/api/tokens"), ("POST", "/api/tokens"), ("GET", "/api/workers"),
        ("GET", "/api/threads"), ("POST", "/api/threads"), ("GET", "/api/events"), ("GET", "/api/runs"),
        ("POST", "/api/runs"), ("POST", "/api/threads/import"),
        ("GET", f"/api/threads/{UNKNOWN}"), ("GET", f"/api/runs/{UNKNOWN}/events"),
        ("GET", f"/worker/runs/{UNKNOWN}"),
    ],
)  # fmt: skip
def test_every_route_is_refused_without_credentials(nobody: Client, method: str, path: str) -> None:
    assert nobody.open(path, method=method).status_code == 401


def test_an_object_of_another_user_is_not_found(ada: Client, bob: Client) -> None:
    thread = ada.thread()
    state = ada.say(thread, "mine")
    run = ada.ask(thread).json["runs"][0]
    token = ada.post("/api/tokens").json["token"]
    at, in_state, in_run = (
        f"/api/threads/{thread['id']}",
        f"/api/states/{state['id']}",
        f"/api/runs/{run['id']}",
    )
    new_state = {"parent_id": thread["root_state_id"], "messages": [{"role": "user", "content": "x"}]}
    calls = [
        ("GET", at, None), ("PATCH", at, {"title": "x"}), ("DELETE", at, None),
        ("POST", f"{at}/restore", None), ("GET", f"{at}/export", None), ("GET", f"{at}/states", None),
        ("GET", f"{at}/states?structure=1", None),
        ("POST", f"{at}/states", new_state), ("GET", f"{at}/snapshot", None), ("GET", f"{at}/events", None),
        ("POST", f"{at}/runs", {"input_state_id": thread["root_state_id"], "worker_id": "parrot"}),
        ("GET", in_state, None), ("PATCH", in_state, {"label": "x"}), ("GET", f"{in_state}/messages", None),
        ("GET", in_run, None), ("GET", f"{in_run}/events", None), ("GET", f"{in_run}/wait", None),
        ("GET", f"{in_run}/log", None), ("GET", f"{in_run}/attempts", None),
        ("POST", f"{in_run}/cancel", None), ("POST", f"{in_run}/answer", {"answer": 1}),
        ("DELETE", f"/api/tokens/{token['id']}", None),
    ]  # fmt: skip

    answers = {
        f"{method} {path}": bob.open(path, method=method, json=body).status_code
        for method, path, body in calls
    }

    assert set(answers.values()) == {404}, answers
    assert bob.get("/api/threads").json["items"] == []
    assert bob.get("/api/runs").json["items"] == []
    assert ada.get(at).json["thread"]["title"] is None
