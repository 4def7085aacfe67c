"""The Gradio page: `branchline gradio`, in Chromium, beside a web process that it knows by its address."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from runtime.settings import CHECKOUT
from runtime.testing.client import PASSWORD, Client
from runtime.testing.ports import free_port
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until
from tests.support.browser import opened

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8"
    "cfc0f01f00050001ff56c7d1f20000000049454e44ae426082"
)

_OF_LEAVING = ("AbortError: signal is aborted", "Unexpected error Connection errored out.")
"""What Gradio says of a page that is left, for the answers that it still waits for."""


@pytest.fixture(scope="module")
def address(stack: Stack) -> Iterator[str]:
    """Where the page is."""
    if find_spec("gradio") is None:
        text = "Gradio is not installed: make gradio installs it and runs these tests."
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    port = free_port()
    process = stack.start(
        "gradio", BRANCHLINE_GRADIO_PORT=str(port), GRADIO_ALLOWED_PATHS="/", GRADIO_SERVER_NAME="0.0.0.0"
    )
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        assert process.poll() is None, stack.log("gradio")
        with suppress(httpx.TransportError):
            return httpx.get(f"{url}/healthz").status_code == 204
        return False

    until(ready, READY_WITHIN, "the page answers")
    yield url
    stack.kill("gradio", signal.SIGTERM)
    assert "Traceback" not in stack.log("gradio"), stack.log("gradio")


def signed_in(address: str, email: str) -> httpx.Client:
    """A program that has signed in to the page as a browser does."""
    program = httpx.Client(base_url=address, headers={"X-Email": email})
    answer = program.post("/login", data={"email": email, "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    return program


@pytest.fixture(scope="module")
def program(address: str, stack: Stack) -> Iterator[httpx.Client]:
    """A program that has signed in to the page."""
    with closing(stack.client()) as client:
        email = client.get("/api/me").json()["user"]["email"]
    with closing(signed_in(address, email)) as program:
        yield program


class Guest:
    """Signed in, in a browser of their own; ``client`` is the same user's, by the API."""

    def __init__(self, browser: Browser, stack: Stack, address: str, client: Client | None = None) -> None:
        self.address = address
        self.client = client or stack.client()
        self.email = self.client.get("/api/me").json()["user"]["email"]
        self.context = browser.new_context()
        self.troubles: list[str] = []
        self.outside: list[str] = []
        self.page = self.tab()

    def tab(self) -> Page:
        """Another tab of the same browser."""
        page = self.context.new_page()
        page.on("console", lambda told: told.type == "error" and self.troubles.append(told.text))
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on(
            "request",
            lambda request: (
                request.url.startswith((f"{self.address}/", "data:", "blob:"))
                or self.outside.append(request.url)
            ),
        )
        return page

    def sign_in(self, password: str = PASSWORD) -> None:
        self.page.goto(self.address)
        self.page.get_by_label("Email").fill(self.email)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()

    def open(self, thread: dict[str, Any] | None = None) -> Page:
        """Show the page, or a thread on it, to somebody who has signed in."""
        if not self.context.cookies():
            with closing(signed_in(self.address, self.email)) as program:
                cookies = program.cookies.items()
                self.context.add_cookies(
                    [{"name": name, "value": value, "url": self.address} for name, value in cookies]
                )
        self.page.goto(self.address if thread is None else f"{self.address}/?thread={thread['id']}")
        expect(self.page.get_by_placeholder("Message")).to_be_enabled()
        return self.page

    def token(self) -> str:
        """The cookie of the browser's login, as a header."""
        return "; ".join(f"{one['name']}={one['value']}" for one in self.context.cookies())

    def leave(self) -> None:
        self.context.close()
        self.client.close()
        assert self.outside == []
        troubles = [one for one in self.troubles if not one.startswith(_OF_LEAVING)]
        assert not troubles, "\n".join(troubles)


@pytest.fixture
def guest(chromium: Browser, stack: Stack, address: str) -> Iterator[Guest]:
    """Somebody whose page asks nothing of other hosts, and whose console is free of errors at the end."""
    guest = Guest(chromium, stack, address)
    yield guest
    guest.leave()


def write(page: Page, text: str) -> None:
    box = page.get_by_placeholder("Message")
    box.fill(text)
    box.press("Enter")


def field(page: Page | Locator, name: str) -> Locator:
    """By its label, in which what it is for may follow its name."""
    return page.get_by_label(re.compile(rf"^\s*{re.escape(name)}(\s|$)"))


def choose(page: Page, label: str, option: str) -> None:
    box = field(page, label)
    box.click()
    box.press("Control+a")
    box.press_sequentially(option)
    expect(page.get_by_role("option").first).to_have_text(re.compile(rf"{option}$"))
    box.press("Enter")
    expect(box).to_have_value(option)
    expect(box).not_to_be_focused()  # only then has Gradio taken the choice


def open_settings(page: Page, name: str) -> None:
    """Show the form of a worker's config, once it is there."""
    expect(field(page, name)).to_be_attached()
    page.get_by_role("button", name="Settings of the worker").click()


def configure(page: Page, **config: str) -> None:
    """Have the worker Fake answer, with these settings."""
    choose(page, "Worker", "Fake")
    open_settings(page, "mode")
    for name, value in config.items():
        if name == "mode":
            choose(page, name, value)
        else:
            field(page, name).fill(value)


def chat(page: Page) -> Locator:
    return page.locator("#chat")


# The first of all, for it counts the streams of all pages.
@pytest.mark.slow
def test_a_page_that_is_closed_follows_nothing_any_more(guest: Guest, stack: Stack) -> None:
    def streams() -> float:
        text = httpx.get(f"{stack.url}/metrics").text
        return sum(float(found) for found in re.findall(r"^branchline_open_streams\S* (\S+)$", text, re.M))

    page = guest.open(guest.client.thread())
    until(lambda: streams() == 1, 40, "the page follows its conversation, and no other test's page does")
    page.close()
    until(lambda: streams() == 0, 40, "nobody follows it any more")


def test_who_signs_in_gets_an_answer_and_signs_out(guest: Guest) -> None:
    guest.sign_in("not this one")
    page = guest.page
    expect(page.get_by_role("alert")).to_have_text("The email address or the password is wrong.")
    guest.troubles.clear()  # the browser notes the 401
    guest.sign_in()
    expect(page).to_have_url(f"{guest.address}/")
    expect(page.get_by_placeholder("Message")).to_be_enabled()
    choose(page, "Worker", "Echo")
    expect(field(page, "Delay")).to_be_attached()
    write(page, "Hello there, **Branchline**")
    expect(chat(page).locator("strong").filter(has_text="Branchline")).to_have_count(2)
    expect(chat(page).locator(".speaker")).to_have_text("echo")
    expect(page.get_by_placeholder("Message")).to_have_value("")
    expect(page.get_by_label("Conversation", exact=True)).to_have_value(re.compile("Hello there"))
    [thread] = guest.client.get("/api/threads").json()["items"]

    page.goto(f"{guest.address}/?thread={thread['id']}")
    expect(chat(page)).to_contain_text("Hello there, Branchline")
    token = guest.token()
    page.get_by_role("link", name="Sign out").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Email")).to_be_visible()
    page.goto(guest.address)
    expect(page.get_by_label("Email")).to_be_visible()
    refused = httpx.get(f"{guest.address}/config", headers={"Cookie": token})
    assert refused.status_code == 401


@pytest.mark.slow
def test_an_answer_is_shown_as_it_is_written_and_what_others_ask_as_well(
    guest: Guest, tmp_path: Path
) -> None:
    page = guest.open()
    gate = tmp_path / "gate"
    configure(page, mode="gate", text="piece ", path=str(gate))
    write(page, "Slowly")
    expect(chat(page)).to_contain_text("piece")
    expect(page.locator("#status")).to_contain_text("Works")
    opened(gate)
    expect(chat(page)).to_contain_text("piece piece")
    expect(page.locator("#status")).not_to_contain_text("Works")

    [thread] = guest.client.get("/api/threads").json()["items"]
    guest.client.ask(thread, "From elsewhere", thread["latest_state_id"])
    expect(chat(page).get_by_text("From elsewhere")).to_have_count(2)


@pytest.mark.slow
def test_the_settings_of_a_worker_are_a_form(guest: Guest) -> None:
    page = guest.open()
    choose(page, "Worker", "Form")
    open_settings(page, "Name")
    field(page, "Name").fill("A")
    write(page, "Tea, please")
    expect(page.get_by_test_id("toast-body").last).to_contain_text("config.name")
    expect(page.get_by_placeholder("Message")).to_have_value("Tea, please")
    field(page, "Name").fill("Ada")
    choose(page, "Tone", "terse")
    field(page, "Heat").fill("1.5")
    field(page, "Loud").uncheck()
    field(page, "Tags (JSON)").fill('["green"]')
    page.get_by_placeholder("Message").press("Enter")
    expect(page.get_by_placeholder("Message")).to_have_value("")
    [run] = guest.client.get("/api/runs").json()["items"]
    expected = {
        "kind": "tea", "name": "Ada", "tone": "terse", "heat": 1.5, "loud": False,
        "instructions": "Be brief.", "tags": ["green"],
    }  # fmt: skip
    assert run["config"] == expected


@pytest.mark.slow
def test_to_leave_a_list_without_a_choice_changes_nothing(guest: Guest) -> None:
    page = guest.open()
    choose(page, "Worker", "Form")
    open_settings(page, "Name")
    field(page, "Name").fill("Ada")
    for label in ("Worker", "Conversation"):
        field(page, label).click()
        field(page, label).press("Escape")
        field(page, label).blur()
    write(page, "Tea, please")
    expect(page.get_by_placeholder("Message")).to_have_value("")
    [run] = guest.client.get("/api/runs").json()["items"]
    assert (run["worker_id"], run["config"]["name"]) == ("form", "Ada")


@pytest.mark.slow
def test_a_run_is_stopped(guest: Guest) -> None:
    page = guest.open()
    configure(page, mode="hang", text="So far")
    write(page, "Go on for ever")
    expect(chat(page)).to_contain_text("So far")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#status")).to_have_text("Was stopped.")
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
    expect(chat(page)).to_contain_text("So far")


@pytest.mark.slow
def test_a_message_to_a_run_under_way_waits_for_it_to_be_read(guest: Guest, tmp_path: Path) -> None:
    page = guest.open()
    gate = tmp_path / "gate"
    configure(page, mode="listen", text="First. ", path=str(gate))
    write(page, "Listen")
    expect(page.locator("#status")).to_contain_text("Works")
    write(page, "One more thing")
    expect(page.get_by_test_id("toast-body").last).to_contain_text("waits")
    opened(gate)
    expect(chat(page)).to_contain_text("I read One more thing.")


@pytest.mark.slow
def test_questions_are_answered_by_buttons_and_by_forms(guest: Guest) -> None:
    page = guest.open()
    configure(page, mode="confirm", text="Well. ")
    write(page, "May I?")
    card = page.locator("#question")
    expect(card).to_contain_text("Shall I?")
    card.get_by_role("button", name="yes").click()
    expect(chat(page)).to_contain_text("You said yes.")
    expect(card).to_have_count(0)

    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
    choose(page, "mode", "question_form")
    write(page, "Order")
    expect(card).to_contain_text("What shall I order?")
    field(card, "Name").fill("A")
    card.get_by_role("button", name="Answer").click()
    expect(page.get_by_test_id("toast-body").last).to_contain_text("is too short")
    field(card, "Name").fill("Ada")
    card.get_by_role("button", name="Answer").click()
    expect(chat(page)).to_contain_text('{"count": 3, "name": "Ada"}')


def test_a_worker_goes_on_by_itself_within_its_limits(guest: Guest) -> None:
    page = guest.open()
    configure(page, text="Once more. ")
    page.get_by_role("button", name="Auto-continue").click()
    field(page, "Most turns").fill("2")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#session")).to_contain_text("Session: init")
    write(page, "Begin")
    expect(page.locator("#session")).to_contain_text("Session: stop")
    expect(page.locator("#session")).to_contain_text("turns 2 of 2")
    expect(chat(page).get_by_text("Once more.")).to_have_count(2)
    [thread] = guest.client.get("/api/threads").json()["items"]
    session = guest.client.get(f"/api/threads/{thread['id']}/session").json()["session"]
    expect(page.locator("#session")).to_contain_text(session["stop_reason"]["message"])

    field(page, "Most turns").fill("3")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#session")).to_contain_text("turns 2 of 3")
    page.get_by_role("button", name="Resume session").click()
    expect(page.locator("#session")).to_contain_text("turns 3 of 3")
    guest.client.patch(f"/api/threads/{thread['id']}/session", json={"limits": {"max_turns": 9}})
    expect(page.locator("#session")).to_contain_text("turns 3 of 9")


@pytest.mark.slow
def test_this_page_and_the_browser_interface_follow_one_session(
    guest: Guest, chromium: Browser, stack: Stack
) -> None:
    thread = guest.client.thread(worker_id="fake", config={"mode": "remember"})
    path = f"/api/threads/{thread['id']}/session"
    begun = {"auto": {"enabled": True}, "limits": {"max_turns": 3}}
    guest.client.post(path, json=begun).raise_for_status()
    page = guest.open(thread)
    with closing(chromium.new_context()) as context:
        cookies = guest.client.cookies.items()
        context.add_cookies([{"name": name, "value": value, "url": stack.url} for name, value in cookies])
        other = context.new_page()
        other.goto(f"{stack.url}/t/{thread['id']}")
        bar = other.get_by_role("region", name="Session")
        expect(bar).to_contain_text("Ready")
        write(page, "Begin")
        expect(bar).to_contain_text("3 of 3 turns")
        expect(bar).to_contain_text("Stopped")
        expect(other.locator(".turn-answer")).to_have_count(3)
        expect(page.locator("#session")).to_contain_text("turns 3 of 3")
        guest.client.patch(path, json={"limits": {"max_turns": 4}}).raise_for_status()
        expect(page.locator("#session")).to_contain_text("turns 3 of 4")
        bar.get_by_role("button", name="Resume", exact=True).click()
        expect(page.locator("#session")).to_contain_text("turns 4 of 4")
        expect(page.locator("#session")).to_contain_text("Session: stop")
        expect(bar).to_contain_text("4 of 4 turns")
        expect(other.locator(".turn-answer")).to_have_count(4)
        speakers = chat(page).locator(".speaker")
        expect(speakers).to_have_count(4 + 3)  # of the answers, and of the prompts that nobody has written


@pytest.mark.slow
def test_every_type_of_message_is_shown(guest: Guest) -> None:
    thread = guest.client.thread()
    asked = guest.client.ask(thread, "Show all", worker_id="fake", config={"mode": "messages"})
    guest.client.wait(asked["runs"][0])
    state = asked["states"][0]["id"]
    asked = guest.client.ask(thread, "And a picture", state, worker_id="fake", config={"mode": "images"})
    guest.client.wait(asked["runs"][0])
    output = "\x1b[31mred\x1b[0m\nloading 10 %\rloading 99 %"
    messages = [{"role": "assistant", "type": "console", "content": output, "author": "<b>shell</b>"}]
    body = {"parent_id": asked["states"][0]["id"], "messages": messages}
    guest.client.post(f"/api/threads/{thread['id']}/states", json=body).raise_for_status()
    page = guest.open(thread)
    expect(chat(page)).to_contain_text("The sum is 3.")
    expect(chat(page)).to_contain_text("Reasoning")
    expect(chat(page)).to_contain_text("Calls add")
    expect(chat(page).locator("code").filter(has_text="1 + 2")).to_be_visible()
    expect(chat(page).locator("img[alt='A red dot']")).to_be_visible()
    expect(chat(page)).to_contain_text("a picture that cannot be shown")
    expect(chat(page)).to_contain_text("<b>shell</b>")
    expect(chat(page)).to_contain_text("red")
    expect(chat(page)).to_contain_text("loading 99 %")
    expect(chat(page)).not_to_contain_text("loading 10 %")


@pytest.mark.slow
def test_files_are_sent_and_shown_to_their_owner_only(guest: Guest, stack: Stack) -> None:
    page = guest.open()
    choose(page, "Worker", "Filer")
    expect(page.get_by_text("This worker has no settings.")).to_be_attached()
    with page.expect_response("**/gradio_api/upload?**"):
        page.locator("#message input[type=file]").set_input_files(
            [
                {"name": "dot.png", "mimeType": "image/png", "buffer": PNG},
                {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"Some notes."},
            ]
        )
    expect(page.get_by_label("File thumbnail")).to_have_count(2)
    write(page, "What are these?")
    picture = chat(page).locator("img[alt='dot.png']")
    expect(picture).to_be_visible()
    until(lambda: picture.evaluate("picture => picture.naturalWidth") == 1, what="the picture is loaded")
    href = chat(page).get_by_role("link", name="notes.txt").first.get_attribute("href")
    url = f"{guest.address}/{href}"
    assert httpx.get(url, headers={"Cookie": guest.token()}).text == "Some notes."
    assert httpx.get(url).status_code == 401
    with closing(stack.client()) as other:
        theirs = other.post("/api/files", files={"file": ("secret.txt", b"secret")}).json()["file"]
        stolen = httpx.get(f"{guest.address}/files/{theirs['id']}", headers={"Cookie": guest.token()})
    assert stolen.status_code == 404


class Listener:
    """A server of somebody else, and how many have connected to it."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self._socket.close()

    def was_asked(self) -> bool:
        try:
            self._socket.accept()[0].close()
        except BlockingIOError:
            return False
        return True


def test_hostile_output_of_a_model_is_harmless_and_loads_nothing(guest: Guest) -> None:
    with closing(Listener()) as evil:
        text = (
            f"![beacon]({evil.url}/a.png) <img src='{evil.url}/b.png' onerror=\"window.hit = 1\">"
            '<script>window.hit = 2</script><svg onload="window.hit = 3"></svg>'
            f"<iframe src='{evil.url}/c'></iframe><link rel=stylesheet href='{evil.url}/d.css'>"
            f"<form action='{evil.url}'><input name=password></form>"
            "[a link](javascript:window.hit=4)\n\n$$\\href{javascript:window.hit=5}{x}$$\n\nThe end."
        )
        thread = guest.client.thread(title="<img src=x onerror='window.hit = 6'>")
        asked = guest.client.ask(thread, text, worker_id="fake", config={"text": text})
        guest.client.wait(asked["runs"][0])
        page = guest.open(thread)
        expect(chat(page).get_by_text("The end.")).to_have_count(2)
        assert page.evaluate("window.hit") is None
        assert chat(page).locator("iframe, script, [onerror], [onload], a[href^=javascript]").count() == 0
        assert not evil.was_asked()
    # Chromium names what the page's policy keeps it from loading as a request, and as an error.
    assert all(url.startswith(evil.url) for url in guest.outside)
    assert all("Content Security Policy" in trouble for trouble in guest.troubles)
    guest.outside.clear()
    guest.troubles.clear()


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=/etc/passwd",
        "gradio_api/file=setup.cfg",
        f"gradio_api/file={CHECKOUT}/setup.cfg",
        "gradio_api/file=%2Fetc%2Fpasswd",
        "gradio_api/file/etc/passwd",
        "gradio_api/file=http://127.0.0.1:1/",
        "gradio_api/proxy=http://127.0.0.1:1/",
        "file=/etc/passwd",
        "gradio_api/runs",
        "gradio_api/openapi.json",
        "static/../../../../../../etc/passwd",
        "static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "docs",
        "monitoring",
    ],
)
def test_no_file_of_the_machine_and_no_other_address_is_served(
    address: str, program: httpx.Client, path: str
) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in program.cookies.items())
    with socket.create_connection(("127.0.0.1", program.base_url.port or 80), 10) as connection:
        request = f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n"
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split()[1] in (b"403", b"404"), answer[:200]
    assert b"root:" not in answer


def test_a_forged_upload_is_no_way_to_a_file_of_the_machine(program: httpx.Client, stack: Stack) -> None:
    """Gradio would copy what an event names into the folder of uploads, and serve it from there."""
    functions = [one["id"] for one in program.get("/config").json()["dependencies"]]
    assert functions
    for path in ("/etc/passwd", f"{CHECKOUT}/setup.cfg", "setup.cfg", "http://127.0.0.1:1/x"):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        for function in functions:
            body = {"data": [{"text": "", "files": [file]}], "fn_index": function, "session_hash": "forged"}
            assert program.post("/gradio_api/queue/join", json=body).status_code == 403


@pytest.mark.slow
def test_gradio_itself_takes_no_other_file_for_an_upload(tmp_path: Path, address: str) -> None:
    program = f"""
import asyncio, gradio as gr, httpx, os
from pathlib import Path
from gradio import processing_utils
from gradio.context import LocalContext
from gradio.exceptions import InvalidPathError
from runtime.gradio_chat.page import Page
os.environ["GRADIO_TEMP_DIR"] = {str(tmp_path)!r}
blocks = Page(httpx.AsyncClient(), lambda request: "").blocks()
LocalContext.blocks.set(blocks)
try:
    processing_utils._check_allowed("/etc/passwd", True)
except InvalidPathError:
    print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=CHECKOUT, check=False
    )
    assert done.stdout == "refused\n", done.stderr


def test_the_page_is_reached_from_this_machine_only_and_by_its_own_pages(
    address: str, program: httpx.Client
) -> None:
    port = f"{program.base_url.port:04X}"
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert next(place for place in listening if place.endswith(f":{port}")) == f"0100007F:{port}"
    assert not any(place.startswith("00000000:") and place.endswith(port) for place in listening)
    other = {"Origin": "http://evil.example"}
    assert program.post("/logout", headers=other).status_code == 403
    assert program.post("/gradio_api/upload", headers=other).status_code == 403
    assert program.get("/").status_code == 200
    assert "frame-ancestors 'none'" in program.get("/").headers["Content-Security-Policy"]


def test_each_browser_has_a_login_of_its_own(
    chromium: Browser, stack: Stack, address: str, program: httpx.Client
) -> None:
    [mine] = program.cookies.values()
    again = signed_in(address, program.headers["X-Email"])
    with closing(again):
        [theirs] = again.cookies.values()
        assert mine != theirs
        again.post("/logout")
        assert program.get("/config").status_code == 200
    anew = httpx.get(f"{address}/config", headers={"Cookie": f"{next(iter(program.cookies))}={theirs}"})
    assert anew.status_code == 401
