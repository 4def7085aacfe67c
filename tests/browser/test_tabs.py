"""Many tabs of one browser, which makes at most six connections to a server over HTTP/1.1."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.browser import Visitor, opened, turn, write

NO_WORKER = "delete globalThis.SharedWorker"
TEXT = "This text is written twice. "
NOT_SECURE = "Cross-Origin-Opener-Policy header has been ignored"  # which Chromium says of every plain page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plain", "script"),
    [(True, ""), (False, NO_WORKER)],
    ids=["plain HTTP, by a shared worker", "a secure page, by a leading tab"],
)
def test_six_tabs_load_send_and_stream(
    chromium: Browser, stack: Stack, tmp_path: Path, plain: bool, script: str
) -> None:
    visitor = Visitor(chromium, stack, plain=plain)
    visitor.context.add_init_script(script)
    pages = [visitor.page, *(visitor.tab() for _ in range(5))]
    gate = tmp_path / "gate"
    pages[0].goto(visitor.url)
    assert pages[0].evaluate("isSecureContext") != plain
    visitor.configure(pages[0], mode="gate", text=TEXT, path=str(gate))
    for page in pages:
        page.goto(visitor.url)
        write(page, "Ask")
        expect(page.locator(".turn-answer .prose")).to_have_text(TEXT.strip())
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
    # The first tab has the connection where there is no worker: the others lose nothing with it.
    pages.pop(0).close()
    opened(gate)
    for page in pages:
        expect(page.locator(".turn-answer .prose")).to_have_text((TEXT * 2).strip())
        expect(page.locator(".turn-answer")).to_have_attribute("data-status", "success")
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
    visitor.leave(forgive=NOT_SECURE)


@pytest.mark.slow
def test_tabs_that_have_to_wait_for_a_connection_say_so(chromium: Browser, stack: Stack) -> None:
    visitor = Visitor(chromium, stack, plain=True)
    visitor.context.add_init_script(NO_WORKER)
    thread = visitor.client.thread()
    visitor.answered(thread, "A question")
    pages = [visitor.page, *(visitor.tab() for _ in range(5))]
    for page in pages[:5]:
        visitor.page = page
        visitor.open(thread)
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
    # The sixth connection is taken by this tab's stream.
    with pages[5].expect_response(lambda response: "/events" in response.url):
        pages[5].goto(f"{visitor.url}/t/{thread['id']}", wait_until="commit")
    write(pages[0], "Another question")
    expect(pages[0].get_by_text("Waiting", exact=True)).to_be_visible()
    expect(pages[0].get_by_text("close other tabs of Branchline")).to_be_visible()
    pages[5].close()
    expect(pages[0].get_by_text("Waiting", exact=True)).to_be_hidden()
    expect(pages[0].locator(".turn-answer").nth(1)).to_have_attribute("data-status", "success")
    visitor.leave(forgive=NOT_SECURE)


def test_two_tabs_share_a_stream_and_the_second_takes_over(
    chromium: Browser, stack: Stack, tmp_path: Path
) -> None:
    visitor = Visitor(chromium, stack)
    visitor.context.add_init_script(NO_WORKER)  # Playwright sees no requests of a shared worker
    thread = visitor.client.thread()
    gate = tmp_path / "gate"
    asked = visitor.fake(thread, "Wait", mode="gate", text="half ", path=str(gate))
    page = visitor.open(thread)
    expect(turn(page, asked["states"][0])).to_contain_text("half")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    other = visitor.tab()
    streams: list[str] = []
    other.on("request", lambda request: "/events" in request.url and streams.append(request.url))
    other.goto(page.url)
    expect(turn(other, asked["states"][0])).to_contain_text("half")
    expect(other.get_by_text("Live", exact=True)).to_be_visible()
    assert streams == []

    page.close()
    until(lambda: other.wait_for_timeout(20) or streams, what="the second tab leads")
    opened(gate)
    expect(turn(other, asked["states"][0])).to_contain_text("half half")
    visitor.leave()
