"""Requests that schemathesis makes of the OpenAPI document: none breaks the server, and it keeps its word."""

from __future__ import annotations

import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import orjson
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from runtime.services import Services
from runtime.testing.client import Client
from runtime.testing.stack import Stack
from tests.support.contract import closed
from tests.support.world import Call, World, bearer
from web.app import create_app

ABOUT_WHAT_IS_THERE = {
    "worker_id", "config", "cursor", "password", "new_password", "current_password",
    "thread", "states", "runs", "file", "entities", "channels", "to", "reply_to",
}  # fmt: skip
"""Fields whose value may fit the document and not what is there: another worker's config, parts that
lead nowhere, a password that is guessed first, a file that is no text, an entity that a system has not."""
UNTELLABLE = (
    "may not contain the NUL character",
    "has a name that may not contain",
    "nests deeper than",
)
"""What no schema can say of the inside of any JSON value; the document says it in words."""


OF_ANOTHER_FORM = ("application/x-ndjson", "application/zip")
"""Bodies of which a schema says nothing but that they are there."""


@schemathesis.serializer("application/zip")
def as_it_is(_: Any, value: Any) -> Any:
    """Bytes that are no archive, as a body that is sent as one."""
    return value if isinstance(value, bytes) else orjson.dumps(value)


def positive_data_acceptance(ctx: Any, response: Any, case: Any) -> None:
    """What fits the document is refused only for what is there, and never for its form."""
    generated = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if not generated or response.status_code not in (400, 422) or case.media_type in OF_ANOTHER_FORM:
        return
    for error in response.json().get("errors", [{"path": "", "message": response.text}]):
        told = error["path"].split(".")[0] in ABOUT_WHAT_IS_THERE or error["message"].startswith(UNTELLABLE)
        if not told:
            raise AssertionError(f"{case.method} {case.path} fits the document, and is refused: {error}")


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    missing_required_header,
    unsupported_method,
    allow_header_conformance,
]
EXAMPLES = 4
"""Of each operation each time."""
MANY_EXAMPLES = 640
"""Of each operation where there is time: more than twenty thousand requests in all."""
IDS = ("input_state_id", "parent_id", "worker_id", "config")
STREAMS = ("/events", "/commands")
STREAMED_FOR = 0.3
"""Seconds; what a stream sends is looked at elsewhere."""

pytestmark = pytest.mark.parametrize("stack_database_url", ["postgresql"], indirect=True)


@pytest.fixture(scope="module")
def document(services: Services) -> dict[str, Any]:
    """The OpenAPI document, where what an answer does not name is forbidden in it."""
    document: dict[str, Any] = orjson.loads(
        create_app(services.settings).test_client().get("/api/openapi.json").data
    )
    document["components"]["schemas"] = closed(document["components"]["schemas"])
    return document


@pytest.fixture(scope="module")
def operations(stack: Stack, document: dict[str, Any]) -> dict[str, Any]:
    """What the document offers, by method and path."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.base_url = stack.url
    schema.config.max_stream_events = 1
    schema.config.generation.with_security_parameters = False
    found = [result.ok() for result in schema.get_all_operations()]
    return {f"{one.method.upper()} {one.path}": one for one in found}


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A connection that keeps no cookies."""
    with requests.Session() as session:
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield session


@pytest.mark.parametrize(
    "examples",
    [EXAMPLES, pytest.param(MANY_EXAMPLES, marks=[pytest.mark.soak, pytest.mark.timeout(3000)])],
)
def test_no_generated_request_causes_an_internal_error_with_an_account(
    examples: int,
    operations: Mapping[str, Any],
    ada: Client,
    services: Services,
    session: requests.Session,
    record_property: Callable[[str, object], None],
) -> None:
    world = World(ada, services)
    secret = ada.post("/api/tokens").json()["token"]["secret"]
    answered: dict[str, Counter[int]] = defaultdict(Counter)

    broken = {}
    for operation, call in world.calls().items():
        shown = world.secret_for(operation) or secret
        statuses: list[int] = []
        try:
            answers(operations[operation], call, session, bearer(shown), examples, statuses)
        except (Exception, BaseExceptionGroup) as error:  # the other operations are tried all the same
            broken[operation] = "".join(traceback.format_exception(error, limit=0))
        answered[operation].update(statuses)

    total = sum((seen for seen in answered.values()), Counter())
    record_property("requests", total.total())
    print(f"{len(operations)} operations, {total.total()} requests: {dict(sorted(total.items()))}")
    assert not broken, "\n\n".join(f"{operation}:\n{why}" for operation, why in broken.items())
    assert set(answered) == set(operations)
    served = {one: sum(n for status, n in seen.items() if status < 300) for one, seen in answered.items()}
    assert [one for one, count in served.items() if not count] == []
    refused = {one: seen for one, seen in answered.items() if seen[401] and one != "POST /api/auth/login"}
    assert refused == {}


def test_generated_requests_reach_only_public_operations_without_an_account(
    operations: Mapping[str, Any], ada: Client, services: Services, session: requests.Session
) -> None:
    for operation, call in World(ada, services).calls().items():
        seen = set(answers(operations[operation], call, session, {}, EXAMPLES // 2, []))
        assert seen == {401} or operation.startswith("POST /api/auth/"), (operation, seen)


def test_every_field_of_every_body_refuses_other_types(
    document: Mapping[str, Any], ada: Client, services: Services
) -> None:
    tried = 0
    world = World(ada, services)
    for operation, call in world.calls().items():
        method, _, path = operation.partition(" ")
        secret = world.secret_for(operation)
        shown = bearer(secret) if secret else {}
        asked = document["paths"][path][method.lower()].get("requestBody", {}).get("content", {})
        schema = asked.get("application/json", {}).get("schema", {})
        for name, field in fields(document, schema).items():
            for value in [one for kind in kinds(field) for one in WRONG.get(kind, ())]:
                body = {**(call.body or {}), name: value}
                answer = ada.request(method, path.format_map(call.path), json=body, headers=shown)
                tried += 1
                assert answer.status_code == 422, (operation, name, value, answer.text)
                named = [error["path"].split(".")[0] for error in answer.json()["errors"]]
                assert named == [name], (operation, name, value, answer.text)
    assert tried > 100


NUL = "may\0not"
WRONG = {
    "string": (5, True, [], {}, 10**30, NUL),
    "integer": ("5", 1.5, True, [], {}, 10**30, -(10**18)),
    "number": ("5", True, [], {}, 10**30),
    "boolean": ("true", 1, [], {}),
    "array": (5, "x", {}, [NUL]),
    "object": (5, "x", [], {NUL: 1}, {"a": [NUL]}),
}


def fields(document: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a body's schema."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema.get("properties", {})  # type: ignore[no-any-return]


def kinds(field: Mapping[str, Any]) -> list[str]:
    """The kind of a field's values, null aside; none where several kinds will do."""
    given = field.get("type", [])
    found = [kind for kind in ([given] if isinstance(given, str) else given) if kind != "null"]
    return found if len(found) == 1 else []


def answers(
    operation: Any,
    call: Call,
    session: requests.Session,
    headers: Mapping[str, str],
    count: int,
    statuses: list[int],
) -> list[int]:
    """The statuses of what the operation answers, added to ``statuses``; each is held to the document."""
    streams = operation.path.endswith(STREAMS) and operation.method.upper() == "GET"

    def ask(case: Any) -> None:
        case.headers.update({**call.headers, **headers})
        try:
            answer = case.call(session=session, timeout=STREAMED_FOR if streams else 30)
        except requests.exceptions.Timeout:  # its head came later than a stream is read for
            if not streams:
                raise
            answer = case.call(session=session, timeout=5)
        statuses.append(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    body = {} if call.body is None else {"body": call.body, "media_type": "application/json"}
    taken = operation.definition.raw.get("requestBody", {}).get("content", {})
    if call.content is not None:
        [media_type] = taken
        body = {"body": call.content, "media_type": media_type}
    elif call.file is not None and "multipart/form-data" in taken:
        body = {"body": {"file": call.file}, "media_type": "multipart/form-data"}
    ask(operation.Case(path_parameters=dict(call.path), query=dict(call.query), **body))
    bounds = settings(
        max_examples=max(2, count // 4) if streams else count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    bounds(given(cases(operation, call))(ask))()
    return statuses


def cases(operation: Any, call: Call) -> st.SearchStrategy[Any]:
    """Requests that fit the document, and some that do not; most are about what is there."""
    path = {"path_parameters": dict(call.path)} if call.path else {}
    fitting = operation.as_strategy(**path)
    kinds = [fitting, fitting.map(lambda case: on_what_is_there(case, call)), operation.as_strategy()]
    if operation.body or operation.query:
        kinds.append(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE, **path))
    return st.one_of(kinds)


def on_what_is_there(case: Any, call: Call) -> Any:
    """The case, with the ids of the example."""
    if isinstance(case.body, dict) and isinstance(call.body, dict):
        case.body = {**case.body, **{name: call.body[name] for name in IDS if name in call.body}}
    return case
