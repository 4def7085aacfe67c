"""Bodies of requests: which are parsed in a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.exceptions import BadRequest

from runtime.errors import Invalid
from runtime.system.greenlets import ThreadPool
from web.http import parsing


@pytest.fixture
def in_thread(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was parsed in a thread."""
    parsed: list[bytes] = []

    def noted(_: ThreadPool, function: Callable[[bytes], Any], raw: bytes) -> Any:
        parsed.append(raw)
        return function(raw)

    monkeypatch.setattr(ThreadPool, "call", noted)
    return parsed


def test_a_large_body_is_parsed_in_a_thread_and_a_small_one_at_once(in_thread: list[bytes]) -> None:
    large = b"[" + b",".join([b"{}"] * 100_000) + b"]"

    assert parsing.load_json(b'{"n": 1}') == {"n": 1}
    assert in_thread == []
    assert parsing.load_json(large) == [{}] * 100_000
    assert in_thread == [large]


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"[" + b"{}," * 100_000, BadRequest), (b'["\\u0000"' + b",1" * 200_000 + b"]", Invalid)],
    ids=["malformed", "NUL"],
)
def test_a_large_body_is_refused_as_a_small_one_is(
    in_thread: list[bytes], body: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        parsing.load_json(body)

    assert in_thread == [body]
