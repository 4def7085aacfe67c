"""Files in the browser: attached, pasted, dropped, removed, sent, and shown in the conversation."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Visitor, axe

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGP8z8DAwMDAxMDAwMDAAAANHQEDasKb6QAAAABJRU5ErkJggg=="
)
FILES: list[Any] = [
    {"name": "a tiny picture.png", "mimeType": "image/png", "buffer": PNG},
    {"name": "numbers of the last year.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n"},
]
BRING = """([kind, name, type, text]) => {
    const data = new DataTransfer();
    data.items.add(new File([text], name, { type }));
    const box = document.querySelector('.composer-box');
    const how = kind === 'drop' ? { dataTransfer: data } : { clipboardData: data };
    const make = kind === 'drop' ? DragEvent : ClipboardEvent;
    box.dispatchEvent(new make(kind, { ...how, bubbles: true, cancelable: true }));
}"""


def begin(visitor: Visitor, worker: str = "filer") -> Page:
    thread = visitor.client.thread(worker_id=worker)
    return visitor.open(thread)


def attached(page: Page) -> Any:
    return page.get_by_role("list", name="Attached files").get_by_role("listitem")


def picture(page: Page, name: str) -> None:
    """Keep a picture of the page, where pictures are wanted."""
    if folder := os.environ.get("BRANCHLINE_TEST_PICTURES"):
        page.screenshot(path=str(Path(folder) / f"attachments-{name}.png"))


@pytest.mark.parametrize(
    ("width", "height"),
    [(1280, 800), pytest.param(390, 780, marks=pytest.mark.slow)],
    ids=["desktop", "phone"],
)
def test_files_are_attached_sent_and_shown(visitor: Visitor, width: int, height: int) -> None:
    page = begin(visitor)
    page.set_viewport_size({"width": width, "height": height})
    page.get_by_label("Files to attach").set_input_files(FILES)
    expect(attached(page)).to_have_count(2)
    expect(attached(page).nth(1)).to_contain_text("8 bytes")
    expect(attached(page).first.locator("img")).to_be_visible()
    assert axe(page) == []
    picture(page, f"attached-{width}")

    page.get_by_label("Message", exact=True).fill("What is in these?")
    page.get_by_role("button", name="Send").click()

    answer = page.locator(".turn-answer").last
    expect(answer).to_have_attribute("data-status", "success")
    expect(answer).to_contain_text("numbers of the last year.csv text/csv 8 a,b 1,2")
    expect(attached(page)).to_have_count(0)
    shown = page.locator(".turn-user").last
    expect(shown.get_by_role("img", name="a tiny picture.png")).to_be_visible()
    card = shown.get_by_role("link", name="numbers of the last year.csv")
    with page.expect_download() as downloaded:
        card.click()
    assert Path(downloaded.value.path()).read_bytes() == b"a,b\n1,2\n"
    picture(page, f"shown-{width}")
    assert axe(page) == []


@pytest.mark.parametrize("kind", ["drop", pytest.param("paste", marks=pytest.mark.slow)])
def test_what_is_dropped_or_pasted_is_attached_and_removed_again(visitor: Visitor, kind: str) -> None:
    page = begin(visitor)
    expect(page.get_by_role("button", name="Attach files")).to_be_visible()
    page.evaluate(BRING, [kind, "note.txt", "text/plain", "Hello"])
    expect(attached(page)).to_contain_text(["note.txt"])
    expect(attached(page)).to_contain_text(["5 bytes"])

    page.get_by_role("button", name="Remove note.txt").click()

    expect(attached(page)).to_have_count(0)
    expect(page.get_by_role("button", name="Send")).to_be_disabled()


def test_a_sentence_says_where_a_worker_takes_none(visitor: Visitor) -> None:
    page = begin(visitor, "echo")
    page.get_by_label("Files to attach").set_input_files(FILES[1:])

    expect(page.get_by_role("alert")).to_contain_text("takes no files")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    picture(page, "refused")
    page.get_by_role("button", name="Remove numbers of the last year.csv").click()
    expect(page.get_by_role("alert")).to_have_count(0)
