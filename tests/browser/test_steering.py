"""What a user sends while an answer is being written: it waits, and can be sent now, edited or removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Visitor, axe, opened, turn


def begin(visitor: Visitor, **config: Any) -> tuple[Page, dict[str, Any]]:
    """An answer that is being written, and is shown; the run's state."""
    thread = visitor.client.thread()
    asked = visitor.fake(thread, "Tell me of cats", text="Cats purr. ", **config)
    state: dict[str, Any] = asked["states"][0]
    page = visitor.open(thread, state)
    expect(turn(page, state).locator(".prose").first).to_contain_text("Cats purr.")
    return page, state


def queue(page: Page, text: str) -> None:
    """Send a message while the answer is being written."""
    field = page.get_by_label("Message", exact=True)
    field.fill(text)
    expect(page.get_by_role("button", name="Queue message")).to_be_enabled()
    field.press("Enter")
    expect(queued(page)).to_contain_text(text)
    expect(field).to_have_value("")


def queued(page: Page) -> Any:
    return page.get_by_role("region", name="Queued messages")


def test_a_message_waits_for_the_answer_and_is_sent_next(visitor: Visitor, tmp_path: Path) -> None:
    page, state = begin(visitor, mode="gate", path=str(tmp_path / "gate"))
    queue(page, "And birds?")
    queue(page, "And fish?")
    assert axe(page) == []
    page.reload()
    expect(queued(page).get_by_role("listitem")).to_have_text(["And birds?", "And fish?"])

    opened(tmp_path / "gate")

    expect(page.locator(".turn-user").last.locator(".user-text")).to_have_text(["And birds?", "And fish?"])
    expect(page.locator(".turn-answer").last).to_have_attribute("data-status", "success")
    expect(turn(page, state)).to_have_attribute("data-status", "success")
    expect(page.locator(".turn-answer")).to_have_count(2)
    expect(queued(page)).to_have_count(0)


def test_a_message_that_the_worker_reads_is_shown_where_it_was_read(visitor: Visitor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    thread = visitor.client.thread()
    asked = visitor.fake(thread, "Tell me of cats", mode="listen", text="Cats purr.", path=str(gate))
    state = asked["states"][0]
    page = visitor.open(thread, state)
    expect(page.get_by_role("button", name="Stop generating")).to_be_visible()
    queue(page, "And birds?")

    opened(gate)

    answer = turn(page, state)
    expect(answer).to_have_attribute("data-status", "success")
    expect(answer.locator(".prose, .user-text")).to_have_text(
        ["Cats purr.", "And birds?", "I read And birds?."]
    )
    expect(queued(page)).to_have_count(0)
    expect(page.locator(".turn-answer")).to_have_count(1)


@pytest.mark.slow
def test_a_queued_message_is_edited_or_removed_in_any_tab(visitor: Visitor, tmp_path: Path) -> None:
    page, _ = begin(visitor, mode="gate", path=str(tmp_path / "gate"))
    queue(page, "And birds?")
    other = visitor.tab()
    other.goto(page.url)
    queue(other, "And fish?")
    expect(queued(page).get_by_role("listitem")).to_have_text(["And birds?", "And fish?"])

    first = queued(page).get_by_role("listitem").first
    first.get_by_role("button", name="Edit queued message").click()
    expect(page.get_by_label("Message", exact=True)).to_have_value("And birds?")
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    expect(queued(other).get_by_role("listitem")).to_have_text(["And fish?"])
    queued(other).get_by_role("button", name="Remove queued message").click()

    for tab in (page, other):
        expect(queued(tab)).to_have_count(0)
    opened(tmp_path / "gate")
    expect(page.locator(".turn-answer").last).to_have_attribute("data-status", "success")
    expect(page.locator(".turn-answer")).to_have_count(1)


@pytest.mark.slow
def test_a_queued_message_is_sent_now_by_stopping_the_answer(visitor: Visitor) -> None:
    page, state = begin(visitor, count=600, gap=0.1)
    queue(page, "And birds?")

    queued(page).get_by_role("button", name="Stop and send now").click()

    expect(page.locator(".turn-user").last).to_contain_text("And birds?")
    expect(turn(page, state)).to_have_attribute("data-status", "cancelled")
    expect(page.locator(".turn-answer")).to_have_count(2)
    expect(queued(page)).to_have_count(0)
    page.get_by_role("button", name="Stop generating").click()
    expect(page.locator(".turn-answer").last).to_have_attribute("data-status", "cancelled")


@pytest.mark.slow
def test_what_was_left_of_a_stopped_answer_can_be_sent(visitor: Visitor) -> None:
    page, state = begin(visitor, count=600, gap=0.1)
    queue(page, "And birds?")

    page.get_by_role("button", name="Stop generating").click()

    expect(queued(page)).to_contain_text("Not sent: the answer was not completed.")
    assert axe(page) == []
    page.reload()
    queued(page).get_by_role("button", name="Send now").click()
    expect(page.locator(".turn-user").last).to_contain_text("And birds?")
    expect(turn(page, state)).to_have_attribute("data-status", "cancelled")
    expect(queued(page)).to_have_count(0)
    page.get_by_role("button", name="Stop generating").click()
