"""The comparison: what can be done with each branch, and with all of them."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.browser import Visitor


def asked(visitor: Visitor, **config: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A thread whose question two runs answer."""
    thread = visitor.client.thread(worker_id="fake", config=config)
    return thread, visitor.client.ask(thread, "Which?", worker_id="fake", config=config, n=2)


@pytest.mark.slow
def test_runs_are_stopped_one_by_one_or_all_at_once(visitor: Visitor) -> None:
    thread, first = asked(visitor, mode="hang", text="So far")
    page = visitor.open(thread, first["input_state"], "compare")
    columns = page.get_by_role("article", name="Branch")
    expect(columns.nth(1)).to_contain_text("So far")
    page.get_by_role("button", name="Stop all").click()
    for number in (0, 1):
        expect(columns.nth(number)).to_contain_text("Stopped.")

    thread, second = asked(visitor, mode="hang", text="So far")
    visitor.open(thread, second["input_state"], "compare")
    one, other = (page.locator(f'article[data-state="{state["id"]}"]') for state in second["states"])
    expect(one).to_contain_text("So far")
    one.get_by_role("button", name="Stop", exact=True).click()
    expect(one).to_contain_text("Stopped.")
    expect(other).not_to_contain_text("Stopped.")
    other.get_by_role("button", name="Stop", exact=True).click()
    expect(other).to_contain_text("Stopped.")


def test_branches_are_starred_copied_and_replied_to(visitor: Visitor) -> None:
    thread, first = asked(visitor, text="This one")
    for run in first["runs"]:
        visitor.client.wait(run)
    page = visitor.open(thread, first["input_state"], "compare")
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    columns = page.get_by_role("article", name="Branch")
    column = page.locator(f'article[data-state="{first["states"][0]["id"]}"]')
    column.get_by_role("button", name="Star").click()
    expect(column.get_by_role("button", name="Unstar")).to_be_visible()
    column.get_by_role("button", name="Copy").click()
    expect(column.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("() => navigator.clipboard.readText()").strip() == "This one"

    page.get_by_label("Reply to all branches").fill("And why?")
    page.reload()
    expect(page.get_by_label("Reply to all branches")).to_have_value("And why?")
    page.get_by_role("button", name="Send to all").click()
    for number in (0, 1):
        expect(columns.nth(number)).to_contain_text("And why?")
        expect(columns.nth(number).locator(".turn-answer")).to_contain_text("This one")
    expect(page.get_by_label("Reply to all branches")).to_have_value("")
