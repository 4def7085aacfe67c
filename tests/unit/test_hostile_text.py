"""Whatever somebody writes where we read, it is understood or refused in words: nothing else is raised."""

from __future__ import annotations

import io
import json
import logging
import math
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import BadRequest

from runtime import settings as settings_module
from runtime.child.protocol import Decoder, WorkerEvent
from runtime.errors import ConfigurationError, Invalid, WorkerInvalid
from runtime.events import Cursor, one_line
from runtime.logs import OneLine
from runtime.registry import discover
from runtime.registry.config_schema import ConfigSchema
from runtime.settings import Settings
from runtime.store.page import decode_cursor, encode_cursor, id_of, number_of, time_of
from runtime.stream import Entry
from runtime.tokens import read_run_token, read_session_token
from web.http.parsing import load_json
from web.streaming.replay import ReplayCursor
from web.streaming.sse import encode_sse

SETTINGS = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
CURSORS = st.one_of(
    st.text(max_size=60),
    JSON.map(lambda value: encode_cursor(value) if _packs(value) else "x"),
    st.lists(st.one_of(st.datetimes().map(str), st.uuids().map(str), st.integers(), st.text(max_size=5)))
    .filter(lambda values: _packs(values))
    .map(lambda values: encode_cursor(*values)),
    st.from_regex(r"[0-9a-z]{1,70}:[0-9]{1,20}"),
    st.from_regex(r"db-[0-9a-f-]{30,40}-[0-9]{1,12}:[0-9]{1,12}"),
)


def _packs(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


@SETTINGS
@given(CURSORS)
def test_a_cursor_is_a_position_or_refused(text: str) -> None:
    for kinds in ((id_of, number_of), (time_of, id_of), (id_of,), ()):
        try:
            values = decode_cursor(text, *kinds)
        except Invalid:
            continue
        assert len(values) == len(kinds) or not kinds


@SETTINGS
@given(CURSORS)
def test_a_last_event_id_is_a_position_or_ignored(text: str) -> None:
    if (cursor := Cursor.decode(text)) is not None:
        assert Cursor.decode(str(cursor)) == cursor
        assert 0 <= cursor.seq < 2**53
    if (replayed := ReplayCursor.decode(text)) is not None:
        assert 0 <= replayed.n < 2**31


@SETTINGS
@given(JSON, st.text(max_size=20))
def test_an_event_keeps_its_data_on_one_line(value: Any, text: str) -> None:
    try:
        data = one_line({"a": value, "b": text, text: "\n\r\u0085\u2028\u2029"})
    except TypeError:  # what JSON cannot hold does not come this far
        return
    sent = encode_sse(Entry("e", 1, "message.delta", "", data)).decode()

    assert len(sent.splitlines()) == 4
    assert sent.splitlines()[3] == ""


BODIES = st.one_of(
    st.binary(max_size=60),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.integers(0, 3000).map(lambda depth: b"[" * depth + b"]" * depth),
    st.text(max_size=20).map(lambda text: json.dumps({text: [text]}).encode()),
)


@SETTINGS
@given(BODIES)
def test_a_body_is_json_that_can_be_stored_or_refused(raw: bytes) -> None:
    try:
        value = load_json(raw)
    except (Invalid, BadRequest):
        return
    assert b"\\u0000" not in orjson.dumps(value)


FIELDS = (
    "ref", "text", "role", "message_type", "channel", "author", "content", "data", "description", "id",
    "prompt", "options", "message", "retryable",
)  # fmt: skip
LINES = st.one_of(
    st.binary(max_size=40),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["delta", "start", "end", "message", "step", "usage", "confirm", "error"])},
        optional={name: JSON | st.sampled_from(["a", "\ud83d", "\0"]) for name in FIELDS},
    ).map(lambda one: json.dumps(one).encode()),
)


@settings(SETTINGS, max_examples=100)
@given(st.lists(LINES, max_size=6))
def test_output_of_a_child_can_be_stored_whatever_it_is(written: list[bytes]) -> None:
    decoder = Decoder()
    for one in [*decoder.feed(b"\n".join(written)), *decoder.end()]:
        assert_storable(one)


def assert_storable(said: WorkerEvent) -> None:
    assert is_dataclass(said)
    for text in _texts([getattr(said, field.name) for field in fields(said)]):
        assert "\0" not in text
        text.encode()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


TOML = st.one_of(
    st.text(max_size=20).map(json.dumps),
    st.sampled_from(
        ['"../../etc/passwd"', '"/etc/passwd"', '"w.py"', '"loop"', '"a\\u0000b"', '"\\u0000/x"', '"."', '""',
         '"' + "x" * 300 + '"', '"./' + "x" * 300 + '"', "nan", "inf", "-1", "1" + "0" * 400, "2.5", "true",
         "1979-05-27", '["w.py"]', '["./loop"]', '["./\\u0000"]', '[""]', "[]", "{a = 1}",
         "[" * 3000 + "]" * 3000,
         '["A", "A?"]', '"python"', '"exec"', '"http"', '"http://[x"', '"s.json"']
    ),
)  # fmt: skip
MANIFESTS = st.dictionaries(
    st.sampled_from(
        ["id", "name", "description", "type", "entrypoint_path", "command", "url", "config_schema_path",
         "pool", "timeout_seconds", "max_attempts", "env", "history", "window", "enabled", "limits",
         "unknown"]
    ),
    TOML,
)  # fmt: skip
GOOD = {"id": '"w"', "name": '"W"', "type": '"python"', "entrypoint_path": '"w.py"'}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A worker's folder, with a link that leads to itself."""
    folder = tmp_path / "workers" / "w"
    folder.mkdir(parents=True)
    (folder / "w.py").write_text("def run(run): ...")
    (folder / "loop").symlink_to("loop")
    return folder


@SETTINGS
@given(manifest=MANIFESTS, raw=st.none() | st.binary(max_size=30))
def test_a_manifest_makes_a_worker_or_a_broken_folder(
    folder: Path, manifest: dict[str, str], raw: bytes | None
) -> None:
    lines = "\n".join(f"{name} = {value}" for name, value in {**GOOD, **manifest}.items())
    (folder / "worker.toml").write_bytes(lines.encode() if raw is None else raw)

    found = discover([folder.parent])

    assert len(found.workers) + len(found.broken) == 1
    for worker in found.workers.values():
        assert worker.entrypoint is None or worker.entrypoint.is_relative_to(folder)


@pytest.mark.parametrize(
    "path", ["../w.py", "/etc/hostname", "loop", "a\0b", "x" * 400, "..", ".", "w.py/../../../etc/hostname"]
)
@pytest.mark.parametrize("name", ["entrypoint_path", "config_schema_path"])
def test_a_path_that_is_no_file_of_the_folder_breaks_that_folder_only(
    folder: Path, name: str, path: str
) -> None:
    lines = {**GOOD, name: json.dumps(path)}
    (folder / "worker.toml").write_text("\n".join(f"{name} = {value}" for name, value in lines.items()))
    other = folder.parent / "other"
    other.mkdir()
    (other / "worker.toml").write_text('id = "other"\nname = "O"\ntype = "exec"\ncommand = ["cat"]\n')

    found = discover([folder.parent])

    assert list(found.workers) == ["other"]
    assert list(found.broken) == [str(folder)]


KEYWORDS = (
    "$schema", "$id", "$ref", "$defs", "$anchor", "$dynamicRef", "type", "properties", "items", "default",
    "pattern", "multipleOf", "enum", "allOf", "required", "minimum", "format", "additionalProperties",
)  # fmt: skip
SCHEMAS = st.recursive(
    JSON | st.sampled_from(["#", "#/x", "#/allOf/x", "#/$defs/a/b", "http://[", "object", "(", "(a+)+$"]),
    lambda inner: st.dictionaries(st.sampled_from([*KEYWORDS, "a"]), inner, max_size=4),
    max_leaves=10,
)


@settings(SETTINGS, max_examples=100)
@given(SCHEMAS, st.dictionaries(st.sampled_from(["a", "$ref"]), JSON, max_size=2))
def test_a_config_schema_is_usable_or_refused(document: Any, config: dict[str, Any]) -> None:
    if not isinstance(document, dict):
        return
    try:
        schema = ConfigSchema(document)
        checked = schema.check(config)
    except (WorkerInvalid, Invalid):
        return
    assert isinstance(checked, dict)


@pytest.mark.parametrize(
    "document",
    [
        {"$schema": []}, {"$schema": {}}, {"$ref": "#/allOf/x", "allOf": [{}]},
        {"$ref": "#/$defs/a/b", "$defs": {"a": True}},
    ],
)  # fmt: skip
def test_an_odd_reference_in_a_schema_breaks_the_worker(document: dict[str, Any]) -> None:
    with pytest.raises(WorkerInvalid):
        ConfigSchema(document)


def test_a_config_with_a_million_errors_reports_some_of_them() -> None:
    schema = ConfigSchema({"properties": {"a": {"items": {"type": "string"}}}})

    with pytest.raises(Invalid) as refused:
        schema.check({"a": [0] * 100_000})

    assert 1 <= len(refused.value.errors) <= 100


VARIABLES = {
    settings_module.variable(section, field.name): kind
    for section, of in get_type_hints(Settings).items()
    for field, kind in zip(fields(of), get_type_hints(of).values(), strict=True)
}
TEXTS = st.one_of(
    st.text(max_size=10),
    st.sampled_from(
        ["nan", "inf", "-1", "1e400", "1" * 5000, "0x10", " 5 ", "yes", "\udcff", "1_0", "/\udcff"]
    ),
)


@SETTINGS
@given(st.dictionaries(st.sampled_from(sorted(VARIABLES)), TEXTS, max_size=3))
def test_an_environment_is_accepted_or_its_variable_named_in_the_error(environ: dict[str, str]) -> None:
    try:
        read = settings_module.load(environ)
    except ConfigurationError as refused:
        said = str(refused)
    else:
        said = ""
    if said:
        assert any(name in said for name in environ)
        return
    for section in fields(read):
        values = getattr(read, section.name)
        for value in (getattr(values, field.name) for field in fields(values)):
            assert not isinstance(value, int | float) or 0 <= value < math.inf
            str(value).encode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BRANCHLINE_POOL_LEASE", "nan"), ("BRANCHLINE_RUN_TIMEOUT", "inf"),
        ("BRANCHLINE_WEB_MAX_BODY", "-5"), ("BRANCHLINE_SECURITY_SECRET_KEY", "\udcff"),
    ],
)  # fmt: skip
def test_an_unusable_setting_is_named_in_the_error(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        settings_module.load({name: value})


@SETTINGS
@given(st.text(max_size=40), JSON, JSON)
def test_a_token_is_genuine_or_rejected(text: str, header: Any, claims: Any) -> None:
    known = settings_module.load({"BRANCHLINE_SECURITY_SECRET_KEY": "a key for tests that is long enough"})
    packed = [_base64(json.dumps(part)) for part in (header, claims)]

    for token in (text, f"{text}.{text}.{text}", ".".join([*packed, ""]), ".".join([*packed, "c2ln"])):
        assert read_run_token(known, token) is None
        assert read_session_token(known, token) is None


def _base64(text: str) -> str:
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@SETTINGS
@given(
    st.text(max_size=60)
    | st.sampled_from(["a\n12:00:00 INFO    web: forged", "\x1b[2J", "a\r\nb", "\u2028x", "\n"])
)
def test_a_text_in_the_log_stays_on_one_line(text: str) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(OneLine("%(levelname)s %(message)s"))
    try:
        raise ValueError(text)
    except ValueError as error:
        record = logging.LogRecord("a", logging.ERROR, "", 1, "%s failed", (text,), (ValueError, error, None))
    handler.handle(record)

    first, *rest = written.getvalue().splitlines()
    assert first.startswith("ERROR ")
    assert all(line.startswith("  ") for line in rest)
    assert "\x1b" not in written.getvalue()
