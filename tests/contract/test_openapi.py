"""The OpenAPI document is valid, is true to the records, and names every call."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from flask import Flask

from runtime import settings as settings_module
from runtime.model import (
    ApiToken,
    Message,
    MessageType,
    Role,
    Run,
    RunError,
    RunStatus,
    State,
    Thread,
    ThreadStatus,
    User,
    new_id,
)
from runtime.sdk.protocol.message_types import DATA
from tests.support.contract import check_safe
from web.app import create_app

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)

CALLS = """
POST /api/threads/{}/session · GET /api/threads/{}/session · PATCH /api/threads/{}/session
POST /api/threads/{}/session/messages · POST /api/threads/{}/session/pause · POST /api/threads/{}/session/stop
POST /api/threads/{}/session/step · POST /api/threads/{}/session/resume · POST /api/threads/{}/session/close
GET /api/threads/{}/session/transitions · GET /api/threads/{}/session/summary
POST /api/threads/{}/session/token · DELETE /api/threads/{}/session/token
POST /api/agent-chat/sessions · GET /api/agent-chat/sessions · GET /api/agent-chat/sessions/{}
POST /api/agent-chat/token · DELETE /api/agent-chat/token
POST /api/agent-chat/sessions/{}/messages · DELETE /api/agent-chat/sessions/{}
POST /api/auth/register · POST /api/auth/login · POST /api/auth/logout · POST /api/auth/password · GET /api/me
GET /api/tokens · POST /api/tokens · DELETE /api/tokens/{}
GET /api/workers · GET /api/workers/{} · GET /api/events
GET /api/threads · POST /api/threads · GET /api/threads/{} · PATCH /api/threads/{} · DELETE /api/threads/{}
POST /api/threads/{}/restore · GET /api/threads/{}/export · POST /api/threads/import
POST /api/threads/import/archive
GET /api/trash · DELETE /api/trash · DELETE /api/trash/{}
GET /api/threads/{}/states · POST /api/threads/{}/states · GET /api/states/{} · PATCH /api/states/{}
GET /api/states/{}/messages · GET /api/threads/{}/snapshot · GET /api/threads/{}/events
POST /api/threads/{}/runs · POST /api/runs · GET /api/runs · GET /api/runs/{} · GET /api/runs/{}/events
GET /api/runs/{}/wait · GET /api/runs/{}/log · GET /api/runs/{}/attempts · GET /api/runs/{}/children
POST /api/runs/{}/cancel
POST /api/runs/{}/answer · POST /api/runs/{}/messages
GET /api/runs/{}/messages · DELETE /api/runs/{}/messages/{}
GET /worker/runs/{} · GET /worker/runs/{}/messages · POST /worker/runs/{}/events
GET /worker/runs/{}/commands · POST /worker/runs/{}/files · GET /worker/runs/{}/files/{}
GET /api/files · POST /api/files · GET /api/files/{} · GET /api/files/{}/content · DELETE /api/files/{}
GET /api/knowledge/sources · POST /api/knowledge/sources · GET /api/knowledge/sources/{}
DELETE /api/knowledge/sources/{} · GET /api/knowledge/sources/{}/documents
GET /api/knowledge/sources/{}/documents/{} · GET /api/knowledge/sources/{}/documents/{}/passages
POST /api/knowledge/sources/{}/documents · DELETE /api/knowledge/sources/{}/documents/{}
GET /api/knowledge/search · GET /worker/runs/{}/search · POST /worker/runs/{}/documents
POST /api/systems/check · POST /api/systems/{}/stop
POST /api/systems · GET /api/systems · GET /api/systems/{} · DELETE /api/systems/{}
POST /api/systems/{}/messages · GET /api/systems/{}/messages/{} · GET /api/systems/{}/dead-letters
GET /worker/runs/{}/documents · POST /api/knowledge/sources/{}/ingestions
GET /api/knowledge/sources/{}/ingestions
POST /worker/runs/{}/requests · POST /worker/pools/{}/claims
GET /worker/runs/{}/calls/{} · GET /worker/runs/{}/calls/{}/events
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """An app that has nothing to connect to, and needs nothing."""
    home = tmp_path_factory.mktemp("home")
    environ = {"BRANCHLINE_HOME": str(home), "REDIS_URL": "redis://127.0.0.1:1/0"}
    return create_app(settings_module.load(environ))


@pytest.fixture(scope="module")
def document(app: Flask) -> dict[str, Any]:
    return orjson.loads(app.test_client().get("/api/openapi.json").data)


def message() -> Message:
    return Message(new_id(), new_id(), 0, Role.USER, "Hello", created_at=NOW)


def run() -> Run:
    return Run(
        id=new_id(), thread_id=new_id(), workspace_id=new_id(), user_id=new_id(), parent_run_id=None,
        input_state_id=new_id(), output_state_id=new_id(), worker_id="echo", worker_digest="", pool="python",
        config={}, args=None, status=RunStatus.ERROR, attempt=1, failures=1, max_attempts=3,
        timeout_seconds=5, priority=0, created_at=NOW, finished_at=NOW,
        error=RunError("lost", "It was lost."), usage={"a": 1},
    )  # fmt: skip


RECORDS = {
    "Message": message(),
    "State": State(new_id(), new_id(), None, 0, 0, 0, None, None, False, NOW, (message(),)),
    "Thread": Thread(
        new_id(), new_id(), new_id(), None, None, {}, {}, ThreadStatus.ACTIVE, new_id(), new_id(), NOW, NOW
    ),
    "Run": run(),
    "User": User(new_id(), new_id(), "ada@example.com", None, NOW),
    "Token": ApiToken(new_id(), new_id(), "laptop", NOW),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_schema_has_the_very_fields_of_its_record(document: dict[str, Any], name: str) -> None:
    encoded = orjson.loads(orjson.dumps(RECORDS[name].encode()))

    assert set(document["components"]["schemas"][name]["properties"]) == set(encoded)
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(encoded)


def test_every_call_is_documented_and_no_other(document: dict[str, Any]) -> None:
    documented = {
        f"{method.upper()} {''.join('{}' if part.startswith('{') else part for part in split(path))}"
        for path, operations in document["paths"].items()
        for method in operations
        if method != "parameters"
    }

    assert documented == set(CALLS.strip().replace("\n", " · ").split(" · "))


def split(path: str) -> list[str]:
    parts = path.split("/")
    return [text for part in parts[1:] for text in ("/", part)]


def test_every_operation_says_what_it_does_and_how_it_fails(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "parameters":
                continue
            assert operation["summary"], path
            assert operation["responses"]["default"] == {"$ref": "#/components/responses/DEFAULT_ERROR"}


def test_errors_are_documented_as_problem_documents(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    for response in document["components"]["responses"].values():
        assert list(response["content"]) == ["application/problem+json"]


def test_the_cookie_is_documented_under_the_name_that_it_has(app: Flask, document: dict[str, Any]) -> None:
    scheme = document["components"]["securitySchemes"]["cookie"]

    assert (scheme["in"], scheme["name"]) == ("cookie", app.config["SESSION_COOKIE_NAME"])


def test_every_schema_is_valid_and_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for ref in references(document):
        place: Any = document
        for part in ref.removeprefix("#/").split("/"):
            place = place[part]


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        inner = [ref for item in value.values() for ref in references(item)]
        return [*inner, value["$ref"]] if "$ref" in value else inner
    return [ref for item in value for ref in references(item)] if isinstance(value, list) else []


def test_the_page_to_try_the_api_loads_nothing_from_elsewhere(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/api/docs")

    assert page.status_code == 200
    assert "https://" not in page.text
    for file in ("/api/docs/swagger-ui-bundle.js", "/api/docs/swagger-ui.css", "/static/docs.js"):
        assert file in page.text
        with client.get(file) as answer:
            assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/", "/api/docs", "/api/docs/swagger-ui.css", "/static/front.css", "/static/nowhere",
        "/api/openapi.json", "/api/me", "/worker/runs/x", "/healthz", "/metrics", "/nowhere",
    ],
)  # fmt: skip
def test_every_response_has_the_security_headers(app: Flask, path: str) -> None:
    with app.test_client().get(path) as answer:
        headers = answer.headers

    check_safe(headers)
    assert "Strict-Transport-Security" not in headers


def test_responses_demand_tls_when_cookies_need_it(tmp_path: Path) -> None:
    environ = {"BRANCHLINE_HOME": str(tmp_path), "BRANCHLINE_SECURITY_COOKIE_SECURE": "true"}
    headers = create_app(settings_module.load(environ)).test_client().get("/").headers

    assert headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("PUT", "/api/threads", 405),
        ("GET", "/api/threads/not-an-id", 404),
        ("GET", "/api/me", 401),
    ],
)
def test_every_error_is_a_problem_document(app: Flask, method: str, path: str, status: int) -> None:
    answer = app.test_client().open(path, method=method)

    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert answer.json is not None
    assert answer.json["status"] == status
    assert all(answer.json[field] for field in ("type", "title", "detail"))


def test_the_process_is_alive_but_not_ready_without_what_it_needs(app: Flask, tmp_path: Path) -> None:
    client = app.test_client()

    assert client.get("/healthz").status_code == 200
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json is not None
    assert {missing["what"] for missing in ready.json["missing"]} >= {"migrations", "redis", "broker"}


def test_a_wrong_method_is_answered_with_the_right_ones(app: Flask) -> None:
    allowed = app.test_client().put("/api/threads").headers["Allow"]

    assert {"GET", "POST"} <= set(allowed.split(", "))


def test_an_unavailable_database_is_reported_with_retry_after(tmp_path: Path) -> None:
    nowhere = {"BRANCHLINE_HOME": str(tmp_path), "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    client = create_app(settings_module.load(nowhere)).test_client()

    answer = client.get("/api/me", headers={"Authorization": "Bearer bl_token"})

    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("type", MessageType)
def test_the_document_says_what_the_data_of_a_message_is(document: dict[str, Any], type: MessageType) -> None:
    schemas = document["components"]["schemas"]
    assert schemas[f"{type.capitalize()}Data"] == {**DATA[type], "additionalProperties": True}
    message = {"role": "user", "content": "", "type": type}
    schema = {"components": document["components"], "$ref": "#/components/schemas/MessageInput"}
    said = jsonschema.Draft202012Validator(schema)
    assert said.is_valid({**message, "data": {"mine": 1}})
    for name, of_name in DATA[type]["properties"].items():
        assert said.is_valid({**message, "data": {name: 7}}) == ("type" not in of_name)
