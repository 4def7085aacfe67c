"""Every response has the id of its request, and so has every problem document."""

from __future__ import annotations

import logging

import pytest

from runtime import logs
from tests.support.web import Client
from web.ops import health


@pytest.mark.parametrize("given", ["0123456789abcdef", "a-b_c.d:e/f+g=@1"])
def test_the_id_that_a_proxy_gave_is_kept(nobody: Client, given: str) -> None:
    answer = nobody.get("/api/me", headers={"X-Request-ID": given})

    assert answer.headers["X-Request-ID"] == given
    assert answer.get_json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, 'a"b', "é"])
def test_any_other_is_replaced(nobody: Client, given: str) -> None:
    answers = [nobody.get("/api/nothing", headers={"X-Request-ID": given}) for _ in range(2)]

    ids = {answer.headers["X-Request-ID"] for answer in answers}
    assert len(ids) == 2
    assert given not in ids
    assert {answer.get_json()["request_id"] for answer in answers} == ids


def test_records_name_request_user_and_thread(ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    about: list[dict] = []
    monkeypatch.setattr(logging.Logger, "handle", lambda *_: about.append(dict(logs.fields())))
    thread = ada.post("/api/threads", json={}).get_json()["thread"]["id"]

    ada.application.after_request_funcs.setdefault(None, []).append(
        lambda response: (health.log.error("here"), response)[1]
    )
    ada.get(f"/api/threads/{thread}", headers={"X-Request-ID": "q1"})

    user = ada.get("/api/me").get_json()["user"]["id"]
    assert {"request_id": "q1", "thread_id": thread, "user_id": user} in about
