"""What a user sees when a process or a server behind the page fails and returns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from playwright.sync_api import Browser, Route, expect

from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.browser import Visitor, opened, turn, write

TEXT = "This text is written twice. "


@pytest.fixture
def visitor(chromium: Browser, stack: Stack) -> Iterator[Visitor]:
    """A visitor whose console may report failed requests."""
    visitor = Visitor(chromium, stack)
    yield visitor
    visitor.leave(forgive="Failed to load resource")


def text_once(visitor: Visitor, gate: Path) -> dict[str, Any]:
    """Start an answer that has its text once, and again when the gate opens; the state, once it is shown."""
    thread = visitor.client.thread()
    asked = visitor.fake(thread, "Twice", mode="gate", text=TEXT, path=str(gate))
    state: dict[str, Any] = asked["states"][0]
    expect(turn(visitor.open(thread), state).locator(".prose")).to_have_text(TEXT.strip())
    return state


def test_the_text_is_complete_after_the_web_process_was_killed(
    visitor: Visitor, stack: Stack, tmp_path: Path
) -> None:
    state = text_once(visitor, tmp_path / "gate")
    page, answer = visitor.page, turn(visitor.page, state)
    page.get_by_label("Message", exact=True).fill("What I had begun to write")

    stack.kill("web")
    expect(page.get_by_text("Offline", exact=True)).to_be_visible()
    opened(tmp_path / "gate")
    stack.mend()
    expect(answer.locator(".prose")).to_have_text((TEXT * 2).strip())
    expect(answer).to_have_attribute("data-status", "success")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(page.get_by_label("Message", exact=True)).to_have_value("What I had begun to write")


def test_the_text_is_complete_after_redis_was_emptied(
    visitor: Visitor, room_redis: RedisServer, tmp_path: Path
) -> None:
    state = text_once(visitor, tmp_path / "gate")
    page, answer = visitor.page, turn(visitor.page, state)
    with redis.Redis.from_url(room_redis.url) as client:
        client.flushall()
    opened(tmp_path / "gate")
    expect(answer.locator(".prose")).to_have_text((TEXT * 2).strip())
    expect(answer).to_have_attribute("data-status", "success")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()


def test_a_message_sent_while_offline_waits_and_is_sent_later(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(visitor.url)
    expect(page.get_by_role("button", name="Worker: Echo")).to_be_visible()
    visitor.context.set_offline(True)
    write(page, "Sent from a tunnel")
    expect(page.get_by_text("Not sent yet")).to_be_visible()
    expect(page.get_by_label("Message", exact=True)).to_have_value("Sent from a tunnel")
    visitor.context.set_offline(False)
    expect(page.locator(".turn-answer .prose")).to_have_text("Sent from a tunnel")
    assert len(visitor.client.get("/api/threads").json()["items"]) == 1


@pytest.mark.slow
def test_an_edit_that_was_cancelled_is_not_sent_later(visitor: Visitor) -> None:
    thread, page = visitor.client.thread(), visitor.page
    asked = visitor.answered(thread, "Before")
    sent: list[str] = []

    def refuse(route: Route) -> None:
        sent.append(route.request.method)
        route.fulfill(status=503)

    page.route("**/runs", refuse)
    page.clock.install()
    visitor.open(thread, asked["states"][0])
    question = turn(page, asked["input_state"])
    question.hover()
    question.get_by_role("button", name="Edit").click()
    page.get_by_label("Edited message").fill("After")
    with page.expect_response("**/runs"):
        page.get_by_role("button", name="Save and run").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Discard").click()
    expect(question).to_contain_text("Before")
    page.evaluate("() => fetch('/api/me').then(() => null)")  # sent after all that was sent before
    before = len(sent)  # on a busy machine it was tried again before it was cancelled

    page.clock.fast_forward(60_000)
    page.evaluate("() => fetch('/api/me').then(() => null)")
    assert len(sent) == before


@pytest.mark.slow
def test_a_second_visitor_who_joins_during_an_answer_sees_the_same(
    visitor: Visitor, chromium: Browser, tmp_path: Path
) -> None:
    state = text_once(visitor, tmp_path / "gate")
    page = visitor.page
    phone = chromium.new_context(viewport={"width": 390, "height": 800})
    phone.add_cookies(visitor.context.cookies())  # type: ignore[arg-type]
    second = phone.new_page()
    second.goto(page.url)
    expect(turn(second, state).locator(".prose")).to_have_text(TEXT.strip())
    opened(tmp_path / "gate")
    for viewer in (page, second):
        expect(turn(viewer, state).locator(".prose")).to_have_text((TEXT * 2).strip())
    phone.close()
