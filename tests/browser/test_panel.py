"""The agent chat panel in a page of another origin, which has a strict policy and hands out tokens."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    FilePayload,
    Locator,
    Page,
    ViewportSize,
    WebSocketRoute,
    expect,
)

from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.browser import Visitor, axe, opened

HERE = Path(__file__).parent / "panel"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript"}


class Shop:
    """An application of somebody else's: its pages, tokens for its user, and a service of agents."""

    def __init__(self) -> None:
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shop.answer(self)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                shop.run_agent(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self.server = ""
        self.token: Any = None
        self.is_down = False
        """Whether its agents are."""
        Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """A page, or a token."""
        name = request.path.partition("?")[0].lstrip("/") or "index.html"
        if name == "token":
            body, kind = str(self.token()).encode(), "text/plain"
        elif (HERE / "pages" / name).is_file():
            body = (HERE / "pages" / name).read_text().replace("SERVER", self.server).encode()
            kind = TYPES[Path(name).suffix]
        else:
            body, kind = b"", "image/x-icon"
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.send_header("Content-Security-Policy", self._policy)
        request.end_headers()
        request.wfile.write(body)

    def run_agent(self, request: BaseHTTPRequestHandler) -> None:
        """Stream an answer."""
        request.send_response(503 if self.is_down else 200)
        request.send_header("Content-Type", "text/event-stream")
        request.end_headers()
        if not self.is_down:
            request.wfile.write(b'data: {"content": "Back again."}\n\ndata: [DONE]\n\n')

    @property
    def _policy(self) -> str:
        sockets = self.server.replace("http", "ws")
        return (
            f"default-src 'none'; script-src 'self' {self.server}; style-src 'self'; "
            f"connect-src 'self' {self.server} {sockets}"
        )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def _shop_and_stack(folder: Path, redis: RedisServer) -> Iterator[tuple[Shop, Stack]]:
    shop = Shop()
    with Stack(
        folder,
        f"sqlite:///{folder}/branchline.db",
        redis.url,
        WORKERS_PATH="tests/browser/panel/workers",
        PANEL_ORIGINS=shop.origin,
        PANEL_AGENTS="rag=guide,task=shop_service",
        SHOP_URL=shop.origin,
        BRANCHLINE_RUN_RETRY_BACKOFF="0",
    ) as stack:
        shop.server = stack.url
        yield shop, stack
    shop.close()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Stack]]:
    folder = tmp_path_factory.mktemp("panel")
    with RedisServer(folder) as redis, _shop_and_stack(folder, redis) as both:  # no other stack's
        yield both


class Customer(Visitor):
    """A user of the application, whose panel is open."""

    def __init__(self, browser: Browser, shop: Shop, stack: Stack, **context: Any) -> None:
        super().__init__(browser, stack, **context)
        self.context.clear_cookies()
        shop.token = self.new_token
        self.seconds = 3600
        self.forgiven = ""
        self.shop = shop

    def new_token(self) -> str:
        body = {"subject": "customer", "ttl_seconds": self.seconds}
        return str(self.client.post("/api/agent-chat/token", json=body).json()["token"])

    def visit(self) -> Page:
        """The page, with a chat that is connected."""
        self.page.goto(self.shop.origin)
        expect(self.page.locator(".dot")).to_have_attribute("data-status", "online")
        return self.page


@pytest.fixture
def customer(chromium: Browser, both: tuple[Shop, Stack]) -> Iterator[Customer]:
    customer = Customer(chromium, *both)
    yield customer
    customer.leave(customer.forgiven)


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_label("Message", exact=True).press("Enter")


def answer(page: Page) -> Locator:
    """The newest one."""
    return page.locator("agent-chat-panel .theirs").last


def mine(page: Page) -> Locator:
    """What the user has written."""
    return page.locator("agent-chat-panel .bubble")


def told(page: Page, name: str) -> list[Any]:
    """What the panel has told its page."""
    return list(page.evaluate("name => window.told.filter(([one]) => one === name).map(([, x]) => x)", name))


def shown(page: Page, name: str, viewport: ViewportSize, *, dark: bool) -> None:
    """Look at it in a window of this size, from either side: it is all within."""
    page.set_viewport_size(viewport)
    page.emulate_media(color_scheme="dark" if dark else "light")
    for direction in ("rtl", "ltr"):
        page.evaluate("direction => (document.documentElement.dir = direction)", direction)
        box = page.locator("agent-chat-panel .frame").bounding_box()
        assert box, name
        assert box["x"] >= 0, name
        assert box["y"] >= 0, name
        assert box["x"] + box["width"] <= viewport["width"], name
        assert box["y"] + box["height"] <= viewport["height"], name
        picture(page, f"{name}-{direction}")


def picture(page: Page, name: str) -> None:
    """Keep one, where somebody wants to look."""
    folder = os.environ.get("BRANCHLINE_TEST_PICTURES")
    if folder:
        page.screenshot(path=f"{folder}/panel-{name}.png")


def test_a_chat_with_sources_a_question_and_files(customer: Customer) -> None:
    page = customer.visit()
    say(page, "sources please")
    expect(page.locator(".sources details")).to_have_count(2)
    answer(page).locator("a[data-source='2']").click()
    expect(page.get_by_text("results in every later attempt")).to_be_visible()
    assert page.get_by_label("Message", exact=True).evaluate(
        "field => [getComputedStyle(field).textTransform, getComputedStyle(field).borderStyle]"
    ) == ["none", "none"], "the page's styles stay outside"
    assert page.locator("p.frame").evaluate(
        "text => [getComputedStyle(text).borderStyle, document.styleSheets.length]"
    ) == ["none", 1], "and the panel's within"

    say(page, "ask me")
    page.get_by_role("group", name="Question").get_by_role("button", name="Keep both").click()
    expect(answer(page)).to_contain_text("You said Keep both.")

    page.get_by_label("Attach files").set_input_files(
        FilePayload(name="order.txt", mimeType="text/plain", buffer=b"7 pens")
    )
    expect(page.get_by_text("uploading")).to_have_count(0)
    say(page, "Look")
    expect(answer(page)).to_contain_text("Look (order.txt)")
    say(page, "file please")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download: plan.md").click()
    assert download.value.path().read_text() == "# Plan"

    page.reload()
    expect(mine(page)).to_have_text(["sources please", "ask me", "Look", "file please"])
    assert told(page, "chat-error") == []


def test_a_source_opens_at_its_passage_with_the_token_of_the_applications_user(customer: Customer) -> None:
    path = "/api/knowledge/sources"
    source = customer.client.post(path, json={"name": "animals"}).json()["source"]["id"]

    def add(text: str) -> None:
        part = {"file": ("cats.md", text.encode())}
        customer.client.post(f"{path}/{source}/documents", files=part).raise_for_status()  # type: ignore[arg-type]

    add("# Cats\n\nThey purr.\n\n## Food\n\nThey eat mice.\n\n## Sleep\n\nThey sleep at noon.\n")
    page = customer.visit()
    for number, query in enumerate(("purr", "mice"), 1):
        say(page, f"find {query}")
        expect(page.locator(".sources")).to_have_count(number)
    answer(page).locator("summary").click()

    expect(answer(page).locator(".passages blockquote")).to_have_text(["They purr.", "They eat mice."])
    expect(answer(page).get_by_label("The cited passage")).to_have_text("They eat mice.")
    picture(page, "source")
    add("# Cats\n\nThey purr.\n\n## Food\n\nThey eat birds.\n")
    page.reload()
    answer(page).locator("summary").click()
    expect(answer(page).locator(".passages")).to_have_text("They eat mice.")
    expect(answer(page).get_by_text("The document has changed since.")).to_be_visible()


@pytest.mark.slow
def test_without_websockets_it_chats_by_long_polling(customer: Customer) -> None:
    sockets: list[str] = []
    customer.context.route_web_socket(re.compile("/socket.io/"), lambda socket: closed(socket, sockets))
    page = customer.visit()

    say(page, "sources please")

    expect(page.locator(".sources details")).to_have_count(2)
    expect(page.locator(".dot")).to_have_attribute("data-status", "online")
    assert sockets, "they were tried"


def closed(socket: WebSocketRoute, sockets: list[str]) -> None:
    """As a proxy does that takes no WebSockets."""
    sockets.append(socket.url)
    socket.close()


def test_two_tabs_send_what_was_written_offline_once_and_in_order(customer: Customer) -> None:
    first = customer.visit()
    say(first, "begin")
    expect(answer(first)).to_contain_text("begin")
    second = customer.tab()
    second.goto(customer.shop.origin)
    expect(mine(second)).to_have_text(["begin"])
    expect(second.locator(".dot")).to_have_attribute("data-status", "online")

    customer.forgiven = "ERR_INTERNET_DISCONNECTED"  # a tab that is looked at tries again
    customer.context.set_offline(True)
    written = ["a1", "a2", "b1", "a3", "b2"]
    for text in written:
        page = first if text.startswith("a") else second
        say(page, text)
        expect(mine(page).last).to_have_text(text)
    customer.context.set_offline(False)

    for page in (first, second):
        expect(page.get_by_text("Waiting to be sent")).to_have_count(0)
        # What comes while the agent answers is in the tree, and told, once that answer has ended.
        expect(mine(page)).to_have_count(1 + len(written))
        expect(answer(page)).to_contain_text(written[-1])
        assert sorted(mine(page).all_text_contents()) == sorted(["begin", *written])
        page.reload()
        expect(mine(page)).to_have_text(["begin", *written])


def test_offline_and_back_loses_and_doubles_nothing(customer: Customer, tmp_path: Path) -> None:
    page = customer.visit()
    say(page, f"count {tmp_path / 'gate'}")
    expect(answer(page)).to_contain_text("19")

    customer.context.set_offline(True)
    for text in ("one", "two"):
        say(page, text)
    expect(page.get_by_text("Waiting to be sent")).to_have_count(2)
    expect(page.get_by_text("No connection.")).to_be_visible()
    opened(tmp_path / "gate")
    customer.context.set_offline(False)

    expect(page.get_by_text("Waiting to be sent")).to_have_count(0)
    expect(page.locator(".theirs")).to_have_count(3)
    expect(page.locator(".theirs .prose").first).to_have_text(
        re.compile(r"^\s*" + " ".join(map(str, range(40))) + r"\s*$")
    )
    expect(mine(page)).to_have_text([re.compile("count"), "one", "two"])


def test_an_expired_session_is_replaced_and_a_revoked_token_only_renewed(customer: Customer) -> None:
    page = customer.visit()
    say(page, "Hello")
    expect(answer(page)).to_contain_text("Hello")
    (begun,) = told(page, "session-change")

    customer.client.delete("/api/agent-chat/token", params={"subject": "customer"}).raise_for_status()
    say(page, "Still me")
    expect(answer(page)).to_contain_text("Still me")
    assert len(told(page, "session-change")) == 1, "it is the same chat"

    customer.client.delete(f"/api/agent-chat/sessions/{begun['sessionId']}").raise_for_status()
    expect(page.get_by_text("The earlier chat has expired.")).to_be_visible()
    say(page, "Once more")
    expect(answer(page)).to_contain_text("Once more")
    expect(mine(page)).to_have_text(["Once more"])
    assert told(page, "session-change")[-1]["expiredId"] == begun["sessionId"]


@pytest.mark.slow
def test_an_agent_service_that_is_down_is_named_and_asked_again(customer: Customer) -> None:
    page = customer.visit()
    page.locator("agent-chat-panel").evaluate("panel => (panel.agentType = 'task')")
    expect(page.locator(".dot")).to_have_attribute("data-status", "online")
    customer.shop.is_down = True
    say(page, "Plan it")
    expect(page.get_by_role("alert")).to_contain_text("Agent service error: 503")

    customer.shop.is_down = False
    page.get_by_role("button", name="Try again").click()

    expect(answer(page)).to_contain_text("Back again.")
    expect(mine(page)).to_have_text(["Plan it", "Plan it"])
    expect(page.get_by_role("alert")).to_have_count(0)


def test_it_is_closed_opened_and_resized_and_counts_what_was_missed(
    customer: Customer, tmp_path: Path
) -> None:
    page = customer.visit()
    say(page, f"count {tmp_path / 'gate'}")
    expect(answer(page)).to_contain_text("19")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Open chat")).to_be_focused()
    opened(tmp_path / "gate")
    page.get_by_role("button", name="Open chat (1 unread)").press("Enter")
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    expect(page.locator(".unread")).to_be_visible()

    width = page.get_by_role("separator", name="Width")
    before = int(width.get_attribute("aria-valuenow") or 0)
    width.press("ArrowLeft")
    expect(width).to_have_attribute("aria-valuenow", str(before + 24))
    handle = width.bounding_box()
    assert handle
    page.mouse.move(handle["x"] + 3, handle["y"] + 100)
    page.mouse.down()
    page.mouse.move(handle["x"] + 3 - 60, handle["y"] + 100, steps=3)
    page.mouse.up()
    expect(width).to_have_attribute("aria-valuenow", str(before + 84))


def test_it_fits_and_is_accessible_in_every_shape(customer: Customer) -> None:
    page = customer.visit()
    say(page, "sources please")
    expect(page.locator(".sources details")).to_have_count(2)
    say(page, "ask me")
    expect(page.get_by_role("group", name="Question")).to_be_visible()
    for name, width, height, dark in (
        ("light", 1280, 720, False),
        ("dark", 1280, 720, True),
        ("at 200 %", 640, 360, False),
        ("phone", 360, 740, True),
    ):
        shown(page, name, {"width": width, "height": height}, dark=dark)
        expect(page.get_by_role("button", name="Keep both")).to_be_in_viewport()
        assert axe(page) == [], name
    page.evaluate("panel => (document.querySelector(panel).mode = 'docked')", "agent-chat-panel")
    shown(page, "docked", {"width": 1280, "height": 720}, dark=False)
    assert axe(page) == []


@pytest.mark.slow
def test_the_examples_chat_behind_a_strict_policy(chromium: Browser, both: tuple[Shop, Stack]) -> None:
    visitor = Visitor(chromium, both[1])
    page = visitor.page
    written = []
    for name in ("plain", "react", "vue"):
        page.goto(f"{visitor.url}/static/panel/examples/{name}.html")
        if name == "plain":
            page.get_by_role("button", name="Open chat").click()
        say(page, f"Hello from {name}")
        written.append(f"Hello from {name}")
        expect(answer(page)).to_contain_text(written[-1])
        expect(mine(page)).to_have_text(written)
        picture(page, name)
    visitor.leave()
