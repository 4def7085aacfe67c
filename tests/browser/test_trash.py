"""The trash: what was deleted is listed, restored, or deleted for good."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Visitor, axe


def delete(page: Page, title: str) -> None:
    """Delete a thread by its menu in the list."""
    page.get_by_role("link", name=title).hover()
    page.get_by_role("button", name=f"Actions for {title}").click()
    page.get_by_role("menuitem", name="Delete").click()


def open_trash(page: Page) -> None:
    page.get_by_role("button", name="Account:").click()
    page.get_by_role("menuitem", name="Trash").click()
    expect(page.get_by_role("heading", name="Trash")).to_be_visible()


def test_deleted_threads_are_restored_or_deleted_for_good(visitor: Visitor) -> None:
    for title in ("Apples", "Pears", "Plums"):
        visitor.client.thread(title=title)
    page, other = visitor.page, visitor.tab()
    for tab in (other, page):
        tab.goto(visitor.url)
    open_trash(other)
    expect(other.get_by_text("The trash is empty.")).to_be_visible()
    page.bring_to_front()
    for title in ("Apples", "Pears", "Plums"):
        delete(page, title)
    listed = other.get_by_role("list", name="Deleted threads").get_by_role("listitem")
    expect(listed).to_have_count(3)
    expect(listed.first).to_contain_text("Plums")

    open_trash(page)
    assert axe(page) == []
    page.get_by_role("button", name="Restore Apples").click()
    expect(page.get_by_role("link", name="Apples")).to_be_visible()
    expect(other.get_by_role("link", name="Apples")).to_be_visible()
    expect(listed).to_have_count(2)

    page.get_by_role("button", name="Delete Pears for good").click()
    dialog = page.get_by_role("dialog", name="Delete for good?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Delete Pears for good").click()
    dialog.get_by_role("button", name="Delete for good").click()
    expect(listed).to_have_count(1)
    page.get_by_role("button", name="Empty trash").click()
    page.get_by_role("button", name="Delete all for good").click()
    for tab in (page, other):
        expect(tab.get_by_text("The trash is empty.")).to_be_visible()
    assert visitor.client.get("/api/trash").json()["items"] == []


@pytest.mark.slow
def test_a_notification_does_not_cover_the_message_field(visitor: Visitor) -> None:
    thread = visitor.client.thread(title="Open")
    visitor.client.wait(visitor.client.ask(thread, "Hello")["runs"][0])
    page = visitor.page
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        visitor.client.thread(title="Gone")
        visitor.open(thread)
        expect(page.locator(".turn-answer")).to_be_visible()  # the address has settled
        if width < 1000:
            page.get_by_role("button", name="Show sidebar").click()
        delete(page, "Gone")
        note = page.get_by_role("region", name="Notifications").get_by_text("“Gone” deleted")
        expect(note).to_be_visible()
        box, field = note.bounding_box(), page.get_by_role("form", name="Your message").bounding_box()
        assert box is not None
        assert field is not None
        assert box["y"] + box["height"] <= field["y"]
