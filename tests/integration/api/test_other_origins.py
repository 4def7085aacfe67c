"""Pages of other origins call the API with a bearer token, where PANEL_ORIGINS names them."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.web import Client
from web.core import Core

APP, ELSEWHERE = "https://app.example.com", "https://evil.example.com"
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
ALLOWED = "Access-Control-Allow-Origin"


@pytest.fixture
def web_environ(web_environ: dict[str, str]) -> dict[str, str]:
    """The environment of the web process under test."""
    return {**web_environ, "PANEL_ORIGINS": f"{APP}/, http://localhost:3000"}


@pytest.fixture
def page(app: Flask) -> FlaskClient:
    """A browser's requests for a page, which has no cookie."""
    return FlaskClient(app, app.response_class)


def bearer(ada: Client) -> dict[str, str]:
    secret = ada.post("/api/tokens").json["token"]["secret"]
    return {"Authorization": f"Bearer {secret}"}


def cors(response: Any) -> dict[str, str]:
    return {name: value for name, value in response.headers if name.startswith("Access-Control-")}


@pytest.mark.parametrize("origin", [APP, "http://localhost:3000"], ids=["app", "localhost"])
@pytest.mark.parametrize("path", ["/api/agent-chat/sessions", "/api/threads", "/api/runs/x/events"])
def test_a_preflight_of_a_named_origin_says_what_may_be_sent(
    page: FlaskClient, path: str, origin: str
) -> None:
    answer = page.options(path, headers={**ASKED, "Origin": origin})

    assert answer.status_code == 204
    assert answer.headers[ALLOWED] == origin
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/threads", {**ASKED, "Origin": ELSEWHERE}),
        ("/api/threads", {**ASKED, "Origin": "null"}),
        ("/api/threads", {**ASKED, "Origin": f"{APP}.evil.example.com"}),
        ("/api/threads", {**ASKED, "Origin": "http://app.example.com"}),
        ("/api/threads", ASKED),
        ("/api/threads", {"Origin": APP}),
        ("/api/auth/login", {**ASKED, "Origin": APP}),
        ("/worker/runs/x", {**ASKED, "Origin": APP}),
        ("/", {**ASKED, "Origin": APP}),
    ],
    ids=[
        "another site", "no origin of its own", "a longer name", "another scheme", "no origin",
        "no preflight", "signing in", "Worker API", "pages",
    ],
)  # fmt: skip
def test_no_other_preflight_is_answered(page: FlaskClient, path: str, headers: dict[str, str]) -> None:
    answer = page.options(path, headers=headers)

    assert answer.status_code in (404, 405)
    assert "Access-Control-Allow-Methods" not in answer.headers


def test_answers_and_errors_are_shown_to_a_named_origin(ada: Client, page: FlaskClient) -> None:
    token = bearer(ada)
    made = page.post("/api/threads", json={"title": "x"}, headers={**token, "Origin": APP})
    assert made.status_code == 201
    assert cors(made)[ALLOWED] == APP
    assert "Location" in cors(made)["Access-Control-Expose-Headers"]

    for answer in (
        page.get("/api/threads", headers={"Origin": APP}),
        page.post("/api/threads", json={"title": 1}, headers={**token, "Origin": APP}),
        page.get("/api/nowhere", headers={"Origin": APP}),
    ):
        assert answer.status_code in (401, 404, 422)
        assert cors(answer)[ALLOWED] == APP
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_stream_is_shown_to_a_named_origin(ada: Client, page: FlaskClient, core: Core) -> None:
    path = f"/api/threads/{ada.thread()['id']}/events"
    token = bearer(ada)
    core.stopping = True  # else the stream would not end

    stream = page.get(path, headers={**token, "Origin": APP})

    assert (stream.status_code, stream.mimetype) == (200, "text/event-stream"), stream.text
    assert cors(stream)[ALLOWED] == APP


def test_nothing_is_shown_to_another_origin(ada: Client, page: FlaskClient) -> None:
    answer = page.get("/api/threads", headers={**bearer(ada), "Origin": ELSEWHERE})

    assert answer.status_code == 200
    assert cors(answer) == {}
    assert "Origin" in answer.headers["Vary"], "else a cache would give it to the other one"


def test_a_cookie_writes_nothing_for_a_named_origin(ada: Client) -> None:
    refused = ada.post("/api/threads", json={}, headers={"Origin": APP})

    assert refused.status_code == 403
    assert ada.get("/api/threads").json["items"] == []
