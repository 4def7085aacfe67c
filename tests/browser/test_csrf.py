"""Pages of other origins can do nothing to a user who is signed in here, in a real browser."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runtime.testing.client import PASSWORD, Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until

ADA = {"email": "ada@example.com", "password": PASSWORD}
EVE = {"email": "eve@example.com", "password": "battery horse correct"}

CALL = """async ([method, url, body]) => {
    const answer = await fetch(url, {method, body, credentials: "include"});
    return [answer.status, answer.status === 204 ? null : await answer.json()];
}"""
READ = """url => fetch(url, {credentials: "include"}).then(answer => answer.text(), error => error.name)"""
WRITE = """([url, body]) =>
    fetch(url, {method: "POST", mode: "no-cors", credentials: "include", body}).catch(() => null)"""
LISTEN = """url => new Promise(resolve => {
    const source = new EventSource(url, {withCredentials: true});
    source.onopen = () => resolve("open");
    source.onmessage = () => resolve("message");
    source.onerror = () => resolve("error");
})"""
EMBED = """([tag, url]) => new Promise(resolve => {
    const element = document.createElement(tag);
    element.onload = () => resolve("loaded");
    element.onerror = () => resolve("error");
    element.src = url;
    document.body.append(element);
})"""
FORM = """([url, body]) => {
    const [name, value] = body.split("=");
    const form = document.createElement("form");
    Object.assign(form, {method: "POST", action: url, enctype: "text/plain"});
    const field = document.createElement("input");
    Object.assign(field, {type: "hidden", name, value});
    form.append(field);
    document.body.append(form);
    form.submit();
}"""


class _EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>Elsewhere</title><body></body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, stack_redis: RedisServer
) -> Iterator[str]:
    """The address of a web process, where Ada and Eve have accounts."""
    home = tmp_path_factory.mktemp("stack")
    stack = Stack(home, f"sqlite:///{home}/branchline.db", stack_redis.url, pools=())
    (home / "branchline.db").write_bytes(sqlite_template.read_bytes())
    stack.start("web")
    try:
        until(stack.ready, READY_WITHIN, "the web process is ready")
        for account in (ADA, EVE):
            with Client(stack.url) as client:
                client.post("/api/auth/register", json=account).raise_for_status()
        yield stack.url
    finally:
        stack.__exit__()


@pytest.fixture(scope="module")
def ada(chromium: Any, url: str) -> Iterator[Any]:
    """Ada's page, signed in."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(url)
    status, _ = call(page, "POST", "/api/auth/login", ADA)
    assert status == 200
    yield page
    context.close()


@pytest.fixture(params=["127.0.0.1", "localhost"], ids=["same-site", "cross-site"])
def elsewhere(request: pytest.FixtureRequest, ada: Any) -> Iterator[Any]:
    """A page of another origin in Ada's browser; from the same site her cookie goes along."""
    with serving() as port:
        page = ada.context.new_page()
        page.goto(f"http://{request.param}:{port}/")
        yield page
        page.close()


@contextmanager
def serving() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _EmptyPage)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def call(page: Any, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Ask the API from one of its own pages."""
    status, answer = page.evaluate(CALL, [method, path, None if body is None else json.dumps(body)])
    return status, answer


def titles(page: Any) -> list[str | None]:
    _, answer = call(page, "GET", "/api/threads")
    return [thread["title"] for thread in answer["items"]]


def test_our_own_pages_may_read_and_write(ada: Any) -> None:
    status, answer = call(ada, "POST", "/api/threads", {"title": "mine"})
    assert (status, answer["thread"]["title"]) == (201, "mine")
    assert ada.evaluate(LISTEN, "/api/events") == "open"


def test_another_origin_reads_nothing(ada: Any, elsewhere: Any, url: str) -> None:
    assert elsewhere.evaluate(READ, f"{url}/api/me") == "TypeError"
    assert elsewhere.evaluate(LISTEN, f"{url}/api/events") == "error"
    assert elsewhere.evaluate(EMBED, ["script", f"{url}/api/me"]) == "error"
    assert elsewhere.evaluate(EMBED, ["img", f"{url}/static/mark.svg"]) == "error"
    elsewhere.evaluate(EMBED, ["iframe", url])
    refused = ["chrome-error://chromewebdata/"]
    until(lambda: elsewhere.evaluate("1") and [frame.url for frame in elsewhere.frames[1:]] == refused)


def test_another_origin_writes_nothing_by_scripts(ada: Any, elsewhere: Any, url: str) -> None:
    before = titles(ada)

    elsewhere.evaluate(WRITE, [f"{url}/api/threads", '{"title": "forged"}'])
    elsewhere.evaluate(WRITE, [f"{url}/api/auth/logout", ""])

    assert titles(ada) == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/threads", '{"title": "forged", "metadata": {"a": "=b"}}'),
        ("/api/auth/login", f'{{"email": "{EVE["email"]}", "name": "=", "password": "{EVE["password"]}"}}'),
        ("/api/auth/logout", "a=b"),
    ],
)
def test_another_origin_writes_nothing_by_forms(
    ada: Any, elsewhere: Any, url: str, path: str, body: str
) -> None:
    before = titles(ada)

    with elsewhere.expect_response(f"{url}{path}"):
        elsewhere.evaluate(FORM, [f"{url}{path}", body])

    assert titles(ada) == before
    assert call(ada, "GET", "/api/me")[1]["user"]["email"] == ADA["email"]


def test_pages_work_under_their_content_security_policy(ada: Any, url: str) -> None:
    page = ada.context.new_page()
    violations: list[str] = []
    errors: list[object] = []
    page.expose_function("violated", lambda directive: violations.append(directive))
    page.add_init_script(
        "addEventListener('securitypolicyviolation', event => violated(event.violatedDirective))"
    )
    page.on("pageerror", lambda error: errors.append(error))

    page.goto(url)
    page.goto(f"{url}/api/docs")
    page.click("#operations-tag-account")
    page.click("#operations-account-get_api_me .opblock-summary-control")
    page.click("#operations-account-get_api_me .execute")
    page.wait_for_selector("#operations-account-get_api_me .live-responses-table >> text=ada@example.com")
    assert (violations, errors) == ([], [])

    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: '1'}))")
    until(lambda: page.evaluate("1") and violations == ["script-src-elem"])
