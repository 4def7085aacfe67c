"""A page that the browser translates goes on working, and shows no text that is out of date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from runtime.testing.waiting import until
from tests.support.browser import Visitor, opened, turn

# As a browser does it: each text is replaced by an element with the translation, which here is the text in
# capital letters; so is what is added or changed later. "merged": texts in a row become one. `showOriginal`
# ends it.
TRANSLATE = """merged => {
    const isText = node => node?.nodeType === Node.TEXT_NODE;
    const isShown = text => text.isConnected && text.data.trim() && !text.parentElement.closest('textarea');
    const isNew = node => isText(node) && isShown(node) && !node.parentElement.closest('font');
    const originals = new Map();
    const translate = root => {
        const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        const texts = isText(root) ? [root] : [];
        while (walker.nextNode()) texts.push(walker.currentNode);
        for (const text of texts) {
            if (!isNew(text)) continue;
            const row = [text];
            while (merged && isNew(row.at(-1).nextSibling)) row.push(row.at(-1).nextSibling);
            const [outer, inner] = [document.createElement('font'), document.createElement('font')];
            inner.textContent = row.map(one => one.data).join('').toUpperCase();
            outer.append(inner);
            text.before(outer);
            originals.set(outer, row);
            for (const one of row) one.remove();
        }
    };
    translate(document.body);
    const observer = new MutationObserver(records => {
        for (const {type, target, addedNodes} of records)
            for (const node of type === 'characterData' ? [target] : addedNodes)
                if (node.isConnected) translate(node);
    });
    observer.observe(document.body, {childList: true, characterData: true, subtree: true});
    window.showOriginal = () => {
        observer.disconnect();
        for (const [outer, row] of originals) outer.replaceWith(...row);
    };
}"""


def same_texts(translated: Page, page: Page, *selectors: str) -> None:
    """Expect the parts of a translated page to say what those of another say, once both have loaded them."""

    def said(page: Page, selector: str) -> list[str]:
        return page.locator(selector).inner_text().upper().split()

    def same(selector: str) -> bool:
        words = said(page, selector)
        return bool(words) and said(translated, selector) == words

    until(lambda: all(map(same, selectors)), what=f"both pages say the same in {', '.join(selectors)}")


def test_a_translated_page_shows_an_answer_and_other_threads(visitor: Visitor, tmp_path: Path) -> None:
    other = visitor.client.thread(title="The other thread")
    visitor.answered(other, "Where?", text="Elsewhere")
    thread = visitor.client.thread(title="The translated thread")
    text = "Some **bold** text,\n\n- an item\n\nand `code`. "
    asked = visitor.fake(thread, "Twice", mode="gate", text=text, path=str(tmp_path / "gate"))
    state: dict[str, Any] = asked["states"][0]
    page = visitor.open(thread, state)
    answer = turn(page, state)
    expect(answer.locator(".prose")).to_contain_text("and code.")
    page.evaluate(TRANSLATE, False)
    expect(answer.locator(".prose")).to_contain_text("AND CODE.")

    opened(tmp_path / "gate")
    expect(answer).to_have_attribute("data-status", "success")
    untranslated = visitor.tab()
    untranslated.goto(page.url)
    expect(turn(untranslated, state)).to_have_attribute("data-status", "success")
    # The duration of a run that was watched is that of its events, a little more than the stored one.
    shown = f'[data-state="{state["id"]}"] .message-list'
    same_texts(page, untranslated, shown, ".outline", ".thread-head h1", ".composer")

    page.get_by_role("link", name="THE OTHER THREAD").click()
    expect(page.locator(".turn-answer .prose")).to_have_text("ELSEWHERE")
    untranslated.get_by_role("link", name="The other thread").click()
    expect(untranslated.locator(".turn-answer .prose")).to_have_text("Elsewhere")
    same_texts(page, untranslated, ".turns", ".outline", ".thread-head h1", ".composer")


@pytest.mark.slow
@pytest.mark.parametrize("merged", [False, True])
def test_a_translated_text_that_changes_is_shown_once(visitor: Visitor, merged: bool) -> None:
    thread = visitor.client.thread()
    asked = visitor.answered(thread, "Why?")
    page = visitor.open(thread, asked["input_state"])
    note = page.locator(".composer-note")
    expect(note).to_have_text("The thread already continues from here. Your message starts a new branch.")
    page.evaluate(TRANSLATE, merged)
    text = "The thread already continues from here in {} branches. Your message starts a new branch."
    for branches in (2, 3):
        visitor.answered(thread, None, asked["input_state"]["id"])
        expect(note).to_have_text(text.format(branches).upper())

    page.evaluate("showOriginal()")
    expect(note).to_have_text(text.format(3))
    visitor.answered(thread, None, asked["input_state"]["id"])
    expect(note).to_have_text(text.format(4))
