"""The page of the knowledge base: sources, their documents, and a search that opens passages."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any

from playwright.sync_api import Page, expect

from tests.support.browser import Visitor, axe
from tests.support.website import Answer, website

LEASES = (
    "# Leases\n\nA **claim**.\n\n## Renewal\n\nIt is renewed each second.\n\n## End\n\nIt ends by itself.\n"
)
SOURCES = "/api/knowledge/sources"


def make(visitor: Visitor, name: str, **more: str) -> dict[str, Any]:
    made: dict[str, Any] = visitor.client.post(SOURCES, json={"name": name, **more}).json()["source"]
    return made


def add(visitor: Visitor, source: dict[str, Any], name: str, text: str) -> None:
    files = {"file": (name, text.encode())}
    visitor.client.post(f"{SOURCES}/{source['id']}/documents", files=files).raise_for_status()


def highlighted(page: Page) -> list[str]:
    """The words that are marked in what is rendered."""
    found: list[str] = page.evaluate("() => [...(CSS.highlights.get('found') ?? [])].map(String)")
    return found


def test_a_source_is_made_and_what_is_searched_opens_at_its_passage(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(visitor.url)
    page.get_by_role("link", name="Knowledge").click()
    expect(page.get_by_text("branchline kb add ~/manuals")).to_be_visible()
    assert axe(page) == []
    page.keyboard.press("Tab")
    page.get_by_role("button", name="New source").press("Enter")
    dialog = page.get_by_role("dialog", name="New source")
    dialog.get_by_label("Name").fill("manuals")
    dialog.get_by_label("Project").fill("works")
    assert axe(page) == []
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="manuals")).to_be_visible()
    expect(page.get_by_text("English · Project works")).to_be_visible()
    assert axe(page) == []

    # What another device has changed is read when somebody looks again.
    [made] = visitor.client.get(SOURCES).json()["items"]
    add(visitor, made, "leases.md", LEASES)
    add(visitor, make(visitor, "animals"), "cats.txt", "Cats renew nothing.\n\n* They *sleep*.")
    page.evaluate("() => dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_role("link", name="leases.md")).to_contain_text("Leases3 passages")
    page.get_by_role("navigation", name="Way up").get_by_role("link", name="Knowledge").click()
    rows = page.get_by_role("list", name="Sources").get_by_role("listitem")
    expect(rows).to_have_text(
        [
            re.compile("animals.*1 document, 1 passage · changed"),
            re.compile("manuals.*works.*1 document, 3 pass"),
        ]
    )

    page.get_by_role("searchbox", name="Search all sources").fill("renews")
    found = page.get_by_role("region", name="Found passages")
    expect(found.locator("mark")).to_have_text(["renewed", "renew"])
    expect(page.get_by_role("status").filter(has_text="2 passages, the best first")).to_be_visible()
    assert axe(page) == []
    page.get_by_role("link", name="leases.md").click()
    marked = page.locator("[aria-current=true]")
    expect(marked).to_contain_text("Leases › Renewal")
    expect(marked).to_be_in_viewport()
    assert highlighted(page) == ["renewed"]
    assert axe(page) == []
    passages = page.get_by_role("list", name="Passages").get_by_role("listitem")
    expect(passages).to_have_count(3)
    expect(passages.first.locator("strong")).to_have_text("claim")

    page.go_back()
    expect(found.locator("mark")).to_have_count(2)
    page.get_by_role("link", name="cats.txt").click()
    expect(passages.first).to_contain_text("* They *sleep*.")
    page.get_by_role("link", name="animals").click()
    search = page.get_by_role("searchbox", name="Search this source")
    expect(search).to_have_value("renews")
    search.fill("second")
    expect(page.get_by_text("No passage of this source has a word of “second”.")).to_be_visible()
    search.press("Escape")
    expect(page.get_by_role("link", name="cats.txt")).to_be_visible()


def test_what_is_not_there_is_said(visitor: Visitor) -> None:
    page, made = visitor.page, make(visitor, "manuals")
    page.goto(f"{visitor.url}/knowledge/{made['id']}/{made['id']}")
    expect(page.get_by_role("heading", name="Document not found")).to_be_visible()
    page.get_by_role("button", name="Its source").click()
    expect(page.get_by_role("heading", name="manuals")).to_be_visible()
    page.get_by_role("link", name="Knowledge").last.click()
    page.get_by_role("button", name="New source").click()
    dialog = page.get_by_role("dialog", name="New source")
    dialog.get_by_label("Name").fill("manuals")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_role("alert")).to_have_text("You have a source of this name already.")
    visitor.troubles[:] = [one for one in visitor.troubles if "404" not in one and "409" not in one]


def packed(**members: bytes) -> dict[str, Any]:
    """A ZIP archive, as it is chosen in a browser."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return {"name": "all.zip", "mimeType": "application/zip", "buffer": target.getvalue()}


def test_files_are_added_with_an_error_for_each_that_fails_and_removed_again(visitor: Visitor) -> None:
    made = make(visitor, "manuals")
    page, other = visitor.page, visitor.tab()
    for tab in (other, page):
        tab.goto(f"{visitor.url}/knowledge/{made['id']}")
    page.bring_to_front()
    adding = page.get_by_role("region", name="Add documents")
    with page.expect_file_chooser() as chooser:
        adding.get_by_role("button", name="Choose files").click()
    picture = {"name": "a.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n" + bytes(99)}
    chooser.value.set_files([packed(leases_md=LEASES.encode(), old_pdf=b"%PDF-"), picture])
    uploads = adding.get_by_role("list", name="Uploads").get_by_role("listitem")
    expect(uploads).to_have_text([re.compile("^a.pngThis kind of file cannot be added")])
    for tab in (page, other):
        outcome = tab.get_by_role("region", name="Last additions")
        expect(outcome.get_by_text("1 document added, 1 could not be added.")).to_be_visible()
        problem = outcome.get_by_role("list", name="Documents that could not be added")
        expect(problem).to_have_text("old.pdf It is broken: Stream has ended unexpectedly.")
        expect(tab.get_by_role("link", name="leases.md")).to_be_visible()
    assert axe(page) == []
    search = page.get_by_role("searchbox", name="Search this source")
    search.fill("renews")
    expect(page.get_by_role("region", name="Found passages").locator("mark")).to_have_count(1)
    expect(adding).to_be_hidden()
    search.press("Escape")
    expect(uploads).to_have_count(1)  # a search takes away nothing that is being added
    uploads.get_by_role("button", name="Dismiss a.png").click()
    expect(uploads).to_have_count(0)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("1 document unchanged, 1 could not be added.")).to_be_visible()

    page.get_by_role("button", name="Remove leases.md").click()
    dialog = page.get_by_role("dialog", name="Remove this document?")
    expect(dialog).to_contain_text("“leases.md” is removed with its 3 passages.")
    assert axe(page) == []
    dialog.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("link", name="leases.md")).to_have_count(0)
    page.get_by_role("button", name="Remove manuals").click()
    page.get_by_role("dialog", name="Remove this source?").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("branchline kb add ~/manuals")).to_be_visible()
    assert visitor.client.get(SOURCES).json()["items"] == []


def test_what_is_being_added_is_shown_and_cancelled(visitor: Visitor) -> None:
    made, page = make(visitor, "manuals"), visitor.page
    page.goto(f"{visitor.url}/knowledge/{made['id']}")
    addresses = page.get_by_label("Addresses of web pages")
    addresses.fill("handbook")
    addresses.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("“handbook” is not the address of a web page.")
    with website() as site:
        site.pages["/first"] = Answer(b"<h1>First</h1>Walnuts.")
        site.pages["/second"] = Answer(b"<h1>Second</h1>", endless=True)
        addresses.fill(f"{site.url}/first {site.url}/second")
        addresses.press("Enter")
        going_on = page.get_by_role("region", name="Last additions")
        expect(going_on.get_by_text(f"Adding 2 of 2: {site.url}/second")).to_be_visible()
        progress = going_on.get_by_role("progressbar", name="Adding documents")
        assert progress.evaluate("bar => [bar.value, bar.max]") == [1, 2]
        assert axe(page) == []
        going_on.get_by_role("button", name="Cancel").click()
        expect(going_on.get_by_text("Cancelled. 1 document added.")).to_be_visible()
    expect(page.get_by_role("link", name="/first")).to_be_visible()
