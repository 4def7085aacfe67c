"""Bodies of requests: which are parsed aside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.exceptions import BadRequest

from runtime.errors import Invalid
from web.http import parsing


@pytest.fixture
def aside(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was parsed aside."""
    parsed: list[bytes] = []

    def noted(function: Callable[[bytes], Any], raw: bytes) -> Any:
        parsed.append(raw)
        return function(raw)

    monkeypatch.setattr(parsing, "_aside", noted)
    return parsed


def test_a_large_body_is_parsed_aside_and_a_small_one_at_once(aside: list[bytes]) -> None:
    large = b"[" + b",".join([b"{}"] * 100_000) + b"]"

    assert parsing.load_json(b'{"n": 1}') == {"n": 1}
    assert aside == []
    assert parsing.load_json(large) == [{}] * 100_000
    assert aside == [large]


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"[" + b"{}," * 100_000, BadRequest), (b'["\\u0000"' + b",1" * 200_000 + b"]", Invalid)],
    ids=["malformed", "NUL"],
)
def test_a_large_body_is_refused_as_a_small_one_is(
    aside: list[bytes], body: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        parsing.load_json(body)

    assert aside == [body]
