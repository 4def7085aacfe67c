"""A page that cannot be shown says so, and keeps what was typed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from runtime.testing.stack import Stack
from tests.support.browser import Visitor, axe, turn

STOPPED = "This page has stopped working"


@pytest.fixture
def visitor(chromium: Browser, stack: Stack) -> Iterator[Visitor]:
    """A visitor whose console reports the crashes that the tests cause."""
    visitor = Visitor(chromium, stack)
    yield visitor
    visitor.troubles.clear()
    visitor.leave()


def typing(visitor: Visitor) -> tuple[Page, dict[str, Any]]:
    """A page with a draft, and with a message that is being edited."""
    thread = visitor.client.thread()
    asked = visitor.answered(thread, "Before")
    page = visitor.open(thread, asked["states"][0])
    page.get_by_label("Message", exact=True).fill("What I had begun to write")
    question = turn(page, asked["input_state"])
    question.hover()
    question.get_by_role("button", name="Edit").click()
    question.get_by_label("Edited message").fill("Before, but better")
    return page, asked


def expect_typed(page: Page) -> None:
    expect(page.get_by_label("Message", exact=True)).to_have_value("What I had begun to write")
    expect(page.get_by_label("Edited message")).to_have_value("Before, but better")


def no_thread(route: Route) -> None:
    route.fulfill(json={"items": [None], "next": None})


def test_a_crash_of_the_page_is_shown_and_what_was_typed_is_kept(visitor: Visitor) -> None:
    page, asked = typing(visitor)
    page.route(re.compile("/api/threads\\?"), no_thread)
    page.get_by_label("Search titles and messages").fill("anything")
    expect(page.get_by_role("alert")).to_contain_text(STOPPED)
    expect(page.get_by_role("alert")).to_contain_text("null")
    assert axe(page) == []

    page.unroute_all()
    page.get_by_role("button", name="Reload").click()
    expect_typed(page)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Discard").click()
    page.reload()
    expect(turn(page, asked["input_state"])).to_contain_text("Before")
    expect(page.get_by_label("Edited message")).to_have_count(0)


@pytest.mark.slow
def test_the_threads_stay_where_a_part_of_the_page_could_not_be_loaded(visitor: Visitor) -> None:
    other = visitor.client.thread(title="The other thread")
    page, _ = typing(visitor)
    page.route("**/MapView*.js", lambda route: route.abort())
    page.get_by_role("button", name="Map", exact=True).click()
    main = page.get_by_role("main")
    expect(main).to_contain_text(STOPPED)
    expect(main.get_by_role("textbox", name="Details of the error")).to_have_value(re.compile("MapView"))
    page.evaluate("navigator.clipboard.writeText = async text => { window.copied = text }")
    main.get_by_role("button", name="Copy details").click()
    expect(main.get_by_role("button", name="Copied")).to_be_visible()
    assert "/map/" in page.evaluate("copied")

    page.get_by_role("link", name="The other thread").click()
    expect(page).to_have_url(re.compile(other["id"]))
    expect(page.get_by_role("log", name="Messages")).to_be_visible()
    expect(main).not_to_contain_text(STOPPED)

    page.go_back()
    expect(main).to_contain_text(STOPPED)
    page.unroute_all()
    main.get_by_role("button", name="Reload").click()
    expect(page.get_by_role("application", name="Map")).to_be_visible()
    page.get_by_role("button", name="Chat", exact=True).click()
    expect_typed(page)
