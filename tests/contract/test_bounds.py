"""The OpenAPI document says each bound that is enforced, and each bound that it says is enforced.

The requests are made of the document: a value that just fits is not refused for that
bound, one that just does not is, and the answer names the field. The other way round,
every validator of the schemas that check requests is to be found in the document.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import marshmallow as ma
import orjson
import pytest
from marshmallow import fields, validate

from runtime.services import Services
from runtime.testing.client import Client
from runtime.transfer import format as transfer_format
from tests.support.world import Call, World, bearer
from web.api.schemas import inputs, queries
from web.api.schemas.inputs import _EMAIL_PART
from web.app import create_app

pytestmark = pytest.mark.parametrize("stack_database_url", ["postgresql"], indirect=True)

AFTER_DATA = {"POST /api/threads/import"}
"""What is checked part by part elsewhere: its example does not fit into a changed part."""
NEVER = "a\0b"
EMAIL = f"^{_EMAIL_PART}{{1,64}}@{_EMAIL_PART}{{1,189}}$"


@dataclass(frozen=True)
class Try:
    """One bound of one place, with values on both sides of it."""

    path: tuple[str | int, ...]
    bound: str
    inside: tuple[Any, ...]
    outside: tuple[Any, ...]


@pytest.fixture(scope="module")
def document(services: Services) -> dict[str, Any]:
    return orjson.loads(create_app(services.settings).test_client().get("/api/openapi.json").data)


def text(length: int) -> str:
    """A text of that many characters that nobody would guess."""
    digests = (hashlib.sha256(str(number).encode()).hexdigest() for number in range(length // 64 + 1))
    return "".join(digests)[:length]


def resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def bounds_of(schema: Mapping[str, Any], path: tuple[str | int, ...], example: Any) -> Iterator[Try]:
    """The bounds of a field."""
    step = 1 if "integer" in schema.get("type", ()) else 0.001
    inside: tuple[Any, ...]
    for bound, limit in schema.items():
        match bound:
            case "maxLength" if schema.get("pattern") != EMAIL:
                inside, outside = (text(limit),), (text(limit + 1),)
            case "minLength" if limit > 0:
                inside, outside = (text(limit),), (text(limit - 1),)
            case "minimum":
                inside, outside = (limit,), (limit - step,)
            case "maximum":
                inside, outside = (limit,), (limit + step,)
            case "exclusiveMinimum":
                inside, outside = (limit + step,), (limit,)
            case "minItems" if limit > 0:
                inside, outside = ([example] * limit,), ([example] * (limit - 1),)
            case "maxItems":
                inside, outside = ([example] * limit,), ([example] * (limit + 1),)
            case "enum":
                inside = tuple(value for value in limit if value is not None)
                outside = ("nonesuch", "")
            case "pattern" if limit == r"^[^\u0000]*$":
                inside, outside = (), (NEVER,)
            case "pattern" if limit == r"^[a-z0-9][a-z0-9_-]{0,63}$":
                inside, outside = (text(64),), (text(65), "", "A", "-a", "a b", "a\n", NEVER)
            case "pattern" if limit == EMAIL:
                inside = (f"{text(64)}@{text(100)}.org",)
                outside = (
                    "ada",
                    "@b.org",
                    "a@",
                    "a b@c.org",
                    "a@b@c.org",
                    "a\x1c@c.org",
                    "a\u00a0@c.org",
                    f"{text(65)}@c.org",
                    "a@c.org\n",
                )
            case "format" if limit == "uuid":
                inside, outside = (), ("x", "{01900000-0000-7000-8000-000000000000}", "0190000000007000" * 2)
            case _:
                continue
        yield Try(path, bound, inside, outside)


def tries_of_body(document: Mapping[str, Any], schema: Mapping[str, Any], body: Any) -> Iterator[Try]:
    """The bounds of all fields of a body, those of the objects in its lists too."""
    for name, field in resolved(document, schema).get("properties", {}).items():
        known = resolved(document, field)
        item = known.get("items")
        example = (body or {}).get(name)
        first = example[0] if isinstance(example, list) and example else {}
        yield from bounds_of(known, (name,), first)
        if item and "$ref" in item and first:
            for inner, below in resolved(document, item)["properties"].items():
                yield from bounds_of(resolved(document, below), (name, 0, inner), {})


def changed(body: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """The body with another value there."""
    made = place = copy.deepcopy(body) if body is not None else {}
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return made


def problem(answer: Any, path: tuple[str | int, ...]) -> str | None:
    """What the answer says against the field; None if nothing."""
    if answer.status_code not in (400, 422):
        return None
    at = ".".join(map(str, path))
    found = [one["message"] for one in answer.json().get("errors", []) if one["path"].startswith(at)]
    return found[0] if found else None


def operations(document: Mapping[str, Any], world: World) -> Iterator[tuple[str, Mapping[str, Any], Call]]:
    for operation, call in world.calls().items():
        method, _, path = operation.partition(" ")
        yield operation, document["paths"][path][method.lower()], call


def send(world: World, operation: str, call: Call, **changes: Any) -> Any:
    method, _, path = operation.partition(" ")
    arguments = {**call.arguments(), **changes}
    if (secret := world.secret_for(operation)) is not None:
        arguments["headers"] = {**arguments["headers"], **bearer(secret)}
    return world.client.request(method, path.format_map(call.path), **arguments)


@pytest.fixture
def world(ada: Client, services: Services) -> World:
    return World(ada, services)


def test_every_bound_of_a_body_is_enforced_where_the_document_says(
    document: Mapping[str, Any], world: World
) -> None:
    tried, wrong = 0, []
    for operation, told, call in operations(document, world):
        content = told.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None or operation in AFTER_DATA:
            continue
        for one in tries_of_body(document, content["schema"], call.body):
            messages = set()
            for value in one.outside:
                answer = send(world, operation, call, json=changed(call.body, one.path, value))
                messages.add(problem(answer, one.path))
                if answer.status_code != 422 or problem(answer, one.path) is None:
                    wrong.append(f"{operation} {one}: {value!r:.60} is answered {answer.status_code}")
            for value in one.inside:
                answer = send(world, operation, call, json=changed(call.body, one.path, value))
                if answer.status_code >= 500 or problem(answer, one.path) in messages - {None}:
                    wrong.append(f"{operation} {one.path} {one.bound}: {value!r:.60}: {answer.text:.200}")
            tried += len(one.outside) + len(one.inside)
    assert not wrong, "\n".join(wrong)
    assert tried > 150


def test_every_bound_of_a_query_is_enforced_where_the_document_says(
    document: Mapping[str, Any], world: World
) -> None:
    tried, wrong = 0, []
    for operation, told, call in operations(document, world):
        for parameter in told.get("parameters", []):
            if parameter["in"] != "query" or operation.endswith("/events"):
                continue
            name, schema = parameter["name"], parameter["schema"]
            for one in bounds_of(schema, (name,), None):
                for value in one.outside:
                    answer = send(world, operation, call, params={name: value})
                    if answer.status_code != 422 or problem(answer, (name,)) is None:
                        wrong.append(f"{operation} {one}: {value!r:.60} is answered {answer.status_code}")
                for value in one.inside:
                    answer = send(world, operation, call, params={name: value})
                    if problem(answer, (name,)):
                        wrong.append(f"{operation} {name} {one.bound}: {value!r:.60}: {answer.text:.200}")
                tried += len(one.outside) + len(one.inside)
            if schema.get("type") in ("integer", "number"):
                for value in ("", " 5", "1_0", "٥", "0x5", "nan", "inf", "five", "+5"):
                    answer = send(world, operation, call, params={name: value})
                    if problem(answer, (name,)) is None:
                        wrong.append(f"{operation} {name}: {value!r} is answered {answer.status_code}")
            twice = send(world, operation, call, params=[(name, "1"), (name, "1")])
            if twice.status_code != 422:
                wrong.append(f"{operation} {name}: twice is answered {twice.status_code}")
    assert not wrong, "\n".join(wrong)
    assert tried > 60


def test_a_body_is_needed_where_the_document_says_so(document: Mapping[str, Any], world: World) -> None:
    wrong = []
    for operation, told, call in operations(document, world):
        if "requestBody" not in told or "/worker/" in operation:
            continue
        needed = told["requestBody"].get("required", False)
        status = send(world, operation, Call(call.path, call.query, None, call.headers)).status_code
        if (status in (400, 422)) != needed:
            wrong.append(f"{operation}: required {needed}, without one {status}")
        content = told["requestBody"]["content"].get("application/json")
        if content is None or operation in AFTER_DATA:
            continue
        schema = resolved(document, content["schema"])
        for name in schema.get("required", ()):
            answer = send(world, operation, call, json={k: v for k, v in call.body.items() if k != name})
            if problem(answer, (name,)) is None:
                wrong.append(f"{operation}: without {name}: {answer.status_code}")
        unknown = send(world, operation, call, json={**(call.body or {}), "nonesuch": 1})
        if schema.get("additionalProperties") is False and problem(unknown, ("nonesuch",)) is None:
            wrong.append(f"{operation}: an unknown field: {unknown.status_code}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("key", "fits"),
    [
        ("a", True),
        ("a" * 255, True),
        ("a b", True),
        ("é", True),
        ("a" * 256, False),
        ("", False),
        ("a\tb", False),
    ],
)
def test_an_idempotency_key_is_bounded_as_the_document_says(
    document: Mapping[str, Any], world: World, key: str, fits: bool
) -> None:
    body = {"worker_id": "echo", "messages": [{"role": "user", "content": "Hello"}]}
    [told] = [one for one in document["paths"]["/api/runs"]["post"]["parameters"] if one["in"] == "header"]
    assert not document["paths"]["/api/runs"].get("parameters")
    answer = world.client.post("/api/runs", json=body, headers={"Idempotency-Key": key.encode("latin-1")})

    assert (answer.status_code == 202) == fits, answer.text
    import jsonschema

    assert jsonschema.Draft202012Validator(told["schema"]).is_valid(key) == fits


def schemas(module: ModuleType) -> list[type[ma.Schema]]:
    return [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, ma.Schema) and kind.__module__ == module.__name__
    ]


@pytest.mark.parametrize(
    "schema",
    [kind for module in (inputs, queries, transfer_format) for kind in schemas(module)],
    ids=lambda kind: kind.__name__,
)
def test_the_document_tells_every_validator(services: Services, schema: type[ma.Schema]) -> None:
    app = create_app(services.settings)
    converter = app.extensions["flask-smorest"]["apis"][""]["ext_obj"].ma_plugin.converter
    untold = []
    for name, field in schema().fields.items():
        told = converter.field2property(field)
        for validator in field.validators:
            if not tells(told, field, validator):
                untold.append(f"{name}: {validator}")
    # What a method of the schema checks is told in the metadata of its field.
    for name in checked_by_methods(schema):
        told = converter.field2property(schema().fields[name])
        if not {"minimum", "maximum", "pattern", "enum", "maxLength"} & told.keys():
            untold.append(f"{name}: checked by a method")
    assert not untold


def checked_by_methods(schema: type[ma.Schema]) -> list[str]:
    """The fields that methods of a schema check beside their own validators."""
    hooks = schema()._hooks.get("validates", [])
    return [name for _, _, arguments in hooks for name in arguments.get("field_names", ())]


def tells(told: Mapping[str, Any], field: fields.Field[Any], validator: Any) -> bool:
    """Whether a property of the document has the bound of a validator."""
    match validator:
        case validate.Length():
            kind = "Items" if isinstance(field, fields.List) else "Length"
            least, most = validator.equal or validator.min, validator.equal or validator.max
            return told.get(f"min{kind}", 0) == (least or 0) and told.get(f"max{kind}") == most
        case validate.Range():
            least = told.get("minimum" if validator.min_inclusive else "exclusiveMinimum")
            most = told.get("maximum" if validator.max_inclusive else "exclusiveMaximum")
            return (least, most) == (validator.min, validator.max)
        case validate.OneOf():
            return set(told.get("enum", ())) - {None} == set(validator.choices)
        case validate.Equal():
            return told.get("enum") == [validator.comparable]
        case validate.Regexp():
            return "pattern" in told
        case _:
            return bool(field.metadata.get("description"))
