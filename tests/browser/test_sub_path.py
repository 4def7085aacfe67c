"""An installation below a path of its host: whatever the browser asks for is below it."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect

from runtime.testing.client import PASSWORD
from runtime.testing.ports import free_port
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until
from tests.support.browser import Visitor, opened, turn, write

BASE = "/branchline"
TEXT = 'A formula $x^2$ and a program:\n\n```python\nprint("hello")\n```\n\n'


@pytest.fixture(scope="module")
def below(stack: Stack) -> Iterator[Stack]:
    """The stack by a web process and a Flower of its own, which serve below a path."""
    mounted = copy(stack)
    mounted.port = free_port()
    mounted.url = f"http://127.0.0.1:{mounted.port}{BASE}"
    mounted.environ = {
        **stack.environ,
        "PORT": str(mounted.port),
        "BASE_PATH": BASE,
        "FLOWER_PORT": str(free_port()),
        "BRANCHLINE_FLOWER_USER": "watcher",
        "BRANCHLINE_FLOWER_PASSWORD": PASSWORD,
    }
    mounted.start("web", "web below")
    mounted.start("flower", "flower below")
    until(lambda: _answers(f"{mounted.url}/readyz"), READY_WITHIN, "the web process is ready")
    yield mounted
    for name in ("web below", "flower below"):
        mounted.kill(name, signal.SIGTERM)


@pytest.fixture
def visitor(chromium: Browser, below: Stack) -> Iterator[Visitor]:
    """Somebody whose browser may ask for nothing outside of the path."""
    visitor, asked = Visitor(chromium, below), []
    visitor.context.on("request", lambda request: asked.append(urlsplit(request.url)))
    yield visitor
    visitor.leave(forgive="401 (UNAUTHORIZED)")
    assert outside(asked, BASE) == []


def outside(asked: list[SplitResult], path: str) -> list[str]:
    """What was asked of the host, but not below the path."""
    assert len(asked) > 10
    return [url.geturl() for url in asked if url.scheme == "http" and not url.path.startswith(f"{path}/")]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_somebody_signs_in_asks_and_comes_back(visitor: Visitor, tmp_path: Path) -> None:
    page, gate = visitor.page, tmp_path / "gate"
    config = {"mode": "gate", "text": TEXT, "path": str(gate)}
    thread = visitor.client.thread(worker_id="fake", config=config)
    visitor.context.clear_cookies()

    visitor.open(thread)
    page.get_by_role("link", name="Create account").click()
    expect(page).to_have_url(f"{visitor.url}/register")
    page.go_back()
    page.get_by_label("Email").fill(visitor.client.get("/api/me").json()["user"]["email"])
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    assert [cookie["path"] for cookie in visitor.context.cookies()] == [BASE]

    write(page, "Go")
    answer = page.locator(".turn-answer")
    expect(answer.locator("pre")).to_have_count(1)
    expect(answer).to_have_attribute("data-status", "running")
    page.reload()
    expect(answer.locator("pre")).to_have_count(1)
    opened(gate)
    expect(answer).to_have_attribute("data-status", "success")
    expect(answer.locator("pre")).to_have_count(2)
    expect(page).to_have_url(re.compile(f"{re.escape(visitor.url)}/t/{thread['id']}/s/"))
    kept = page.evaluate("[...Object.keys(localStorage), ...Object.keys(sessionStorage)]")
    assert kept and all(name.startswith(f"branchline:{BASE}:") for name in kept), kept


@pytest.mark.slow
def test_pages_links_and_exports_are_below_the_path(visitor: Visitor) -> None:
    thread = visitor.client.thread(title="Below")
    state = visitor.answered(thread, "Say it", text=TEXT)["states"][0]
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visitor.open(thread, state)
    link = f"{visitor.url}/t/{thread['id']}/s/{state['id']}"

    turn(page, state).get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Copy link").click()
    expect(page.get_by_text("Copied")).to_be_visible()
    assert page.evaluate("() => navigator.clipboard.readText()") == link
    turn(page, state).get_by_role("button", name="More actions").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Export up to here").click()
    assert "Say it" in Path(download.value.path()).read_text()
    page.get_by_role("button", name="Map").click()
    expect(page).to_have_url(link.replace("/s/", "/map/"))
    expect(page.locator(".react-flow__node").first).to_be_visible()

    page.get_by_role("button", name="Account:").click()
    page.get_by_role("menuitem", name="Trash").click()
    expect(page.get_by_text("The trash is empty.")).to_be_visible()
    expect(page).to_have_url(f"{visitor.url}/trash")
    page.reload()
    page.get_by_role("link", name="Below").click()
    expect(turn(page, state)).to_be_visible()
    page.goto(f"{visitor.url}/settings")
    page.get_by_role("link", name="API documentation").click()
    expect(page).to_have_url(f"{visitor.url}/api/docs")
    expect(page.locator(".servers select")).to_have_value(BASE)
    page.click("#operations-tag-account")
    page.click("#operations-account-get_api_me .opblock-summary-control")
    page.click("#operations-account-get_api_me .execute")
    answered = page.locator("#operations-account-get_api_me .live-responses-table")
    expect(answered).to_contain_text(visitor.client.get("/api/me").json()["user"]["email"])


@pytest.mark.slow
def test_flower_is_below_the_path(chromium: Browser, below: Stack) -> None:
    url, asked = f"http://127.0.0.1:{below.environ['FLOWER_PORT']}{BASE}/flower", []
    until(lambda: _answers(f"{url}/healthcheck"), READY_WITHIN, "Flower is ready")
    assert httpx.get(f"{url}/").status_code == 401
    assert httpx.get(url.removesuffix(f"{BASE}/flower")).status_code == 404

    credentials = {"username": "watcher", "password": PASSWORD}
    with chromium.new_context(http_credentials=credentials) as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(urlsplit(request.url)))
        page.goto(f"{url}/")
        expect(page.get_by_role("link", name="python@")).to_be_visible()
        page.get_by_role("link", name="Tasks").click()
        expect(page).to_have_url(f"{url}/tasks")
        expect(page.locator("#tasks-table_info")).to_contain_text("tasks")
        page.get_by_role("link", name="Broker").click()
        expect(page).to_have_url(f"{url}/broker")
        # Flower knows the queue once the pool process has answered, and shows what it knows when asked.
        until(lambda: page.reload() and page.get_by_text("runs.python").count(), what="the queue is shown")
        assert {cookie["path"] for cookie in context.cookies()} == {f"{BASE}/flower"}
    assert outside(asked, f"{BASE}/flower") == []
