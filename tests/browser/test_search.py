"""The search of the threads: what was found is shown with its words marked, and is where the thread opens."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Visitor, turn

PARAGRAPHS = "\n\n".join(f"This is paragraph {number}, as long as a line." for number in range(60))


def marked_words(page: Page) -> list[str]:
    """The words that are marked in the chat and in sight."""
    return page.evaluate(  # type: ignore[no-any-return]
        """() => {
            const box = document.querySelector('.conversation').getBoundingClientRect();
            const seen = ({top, bottom}) => top >= box.top && bottom <= box.bottom;
            return [...CSS.highlights.get('found') ?? []]
                .filter(range => seen(range.getBoundingClientRect())).map(String);
        }"""
    )


def test_a_thread_opens_where_the_words_were_found(visitor: Visitor) -> None:
    thread = visitor.client.thread(title="Of birds")
    found = visitor.answered(thread, "Tell me", text=f"{PARAGRAPHS}\n\nA Kākāpō eats rimu.\n\n{PARAGRAPHS}")
    later = visitor.answered(thread, "And then?", found["states"][0]["id"], text=PARAGRAPHS)
    other = visitor.answered(thread, "On another branch", text="Nothing")
    page = visitor.page
    page.goto(visitor.url)
    page.get_by_label("Search titles and messages").fill("birds kakapo")
    row = page.get_by_role("link", name="Of birds")
    expect(row.locator(".snippet mark")).to_have_text("Kākāpō")
    expect(row.locator(".thread-title mark")).to_have_text("birds")
    row.click()
    expect(page).to_have_url(re.compile(found["states"][0]["id"]))
    page.wait_for_function("() => CSS.highlights.get('found')?.size === 1")
    assert marked_words(page) == ["Kākāpō"]
    expect(turn(page, found["states"][0])).to_be_focused()
    expect(page.get_by_role("navigation", name="Branches from here")).to_contain_text("And then?")
    expect(turn(page, later["states"][0])).to_have_count(0)
    expect(turn(page, other["states"][0])).to_have_count(0)

    page.get_by_role("treeitem", name=re.compile("On another branch")).click()
    expect(turn(page, other["states"][0])).to_be_visible()
    row.click()
    expect(turn(page, found["states"][0])).to_be_focused()
    page.wait_for_function("() => CSS.highlights.get('found')?.size === 1")
    assert marked_words(page) == ["Kākāpō"]


def test_the_palette_lists_no_thread_of_the_search_before(visitor: Visitor) -> None:
    visitor.client.thread(title="Of trees")
    page = visitor.page
    page.route(re.compile("query=nowhere"), lambda route: None)
    page.goto(visitor.url)
    page.get_by_role("button", name="Open command palette").click()
    expect(page.get_by_role("option", name="Of trees")).to_be_visible()
    page.get_by_role("combobox").fill("nowhere")
    expect(page.get_by_text("Searching …")).to_be_visible()
    expect(page.get_by_role("option")).to_have_count(0)


@pytest.mark.slow
def test_the_palette_opens_a_thread_where_the_words_were_found(visitor: Visitor) -> None:
    thread = visitor.client.thread(title="Of trees")
    found = visitor.answered(thread, "Which?", text="A rimu of the forest")
    visitor.answered(thread, "And?", found["states"][0]["id"], text="No other")
    page = visitor.page
    page.goto(visitor.url)
    page.get_by_role("button", name="Open command palette").click()
    page.get_by_role("combobox").fill("forest RIMU")
    page.get_by_role("option", name=re.compile("Of trees")).click()
    expect(turn(page, found["states"][0])).to_be_focused()
    page.wait_for_function("() => CSS.highlights.get('found')?.size === 2")
