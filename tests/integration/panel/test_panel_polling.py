"""Agent chats by long polling first: clients of Socket.IO, and two web processes on one port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any

import httpx
import pytest

from runtime import settings as settings_module
from runtime.services import Services
from runtime.settings import CHECKOUT
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.attempt import Attempt
from tests.support.panel_client import PanelClient
from tests.support.web_process import stack_on_sqlite, web_only

APP, ELSEWHERE = "https://app.example.com", "https://evil.example.com"
HANDSHAKE = "/socket.io/?EIO=4&transport=polling"
Told = dict[str, Any]

pytestmark = [
    pytest.mark.usefixtures("collect_sockets"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, stack_redis: RedisServer
) -> Iterator[Stack]:
    environ = {"PANEL_AGENTS": "rag=echo", "PANEL_ORIGINS": APP, "BRANCHLINE_WEB_WORKERS": "2"}
    folder = tmp_path_factory.mktemp("web")
    with web_only(stack_on_sqlite(folder, sqlite_template, stack_redis, **environ)) as stack:
        yield stack


@pytest.fixture
def ada(stack: Stack) -> Iterator[Client]:
    with closing(stack.client()) as client:
        yield client


@pytest.fixture
def services(stack: Stack) -> Iterator[Services]:
    services = Services(settings_module.load(stack.environ))
    yield services
    services.database.close()
    services.link.close()


class Page:
    """A client of one chat that joins again, with the last id that it has, whenever it has connected."""

    def __init__(self, session_id: str, **options: Any) -> None:
        self.session_id = session_id
        self.told: list[tuple[str, Told]] = []
        self.joined: list[str] = []
        """The id of each connection by which the chat was joined."""
        options = {"reconnection_delay": 0.1, "reconnection_delay_max": 0.5, **options}
        self.socket = PanelClient(handle_sigint=False, **options)
        self.socket.on("connect", lambda: threading.Thread(target=self._join, daemon=True).start())
        for name in ("message", "stream_chunk", "stream_complete", "reset"):
            self.socket.on(name, lambda data, name=name: self.told.append((name, data)))

    def _join(self) -> None:
        ids = [data["id"] for _, data in self.told if "id" in data]
        after = {"after": ids[-1]} if ids else {}
        connection = self.socket.eio.sid
        self.socket.call("join_chat", {"session_id": self.session_id, **after}, timeout=20)
        self.joined.append(connection)

    def text(self) -> str:
        return "".join(data["content"] for name, data in list(self.told) if name == "stream_chunk")

    def was_told(self, name: str) -> bool:
        return any(told == name for told, _ in list(self.told))

    def wait(self, condition: Any, what: str) -> None:
        until(condition, 40, f"{what}; told: {str(self.told)[-600:]}")


@contextmanager
def page(stack: Stack, token: str, session_id: str, **options: Any) -> Iterator[Page]:
    made = Page(session_id)
    made.socket.connect(stack.url, auth={"token": token}, wait_timeout=20, **options)
    try:
        made.wait(lambda: made.joined, "the chat is joined")
        yield made
    finally:
        made.socket.disconnect()


class PageInJavascript:
    """The same, by the official client, in Node.js."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.told: list[tuple[str, Told]] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.told.extend((name, data) for name, data in map(json.loads, self._process.stdout))

    def send(self, message: str) -> Told:
        """The acknowledgement."""
        assert self._process.stdin is not None
        print(message, file=self._process.stdin, flush=True)
        self.wait(lambda: self.of("sent"), "the message is acknowledged")
        answer: Told = self.of("sent")[-1]
        return answer

    def of(self, name: str) -> list[Any]:
        return [data for told, data in list(self.told) if told == name]

    def text(self) -> str:
        return "".join(data["content"] for data in self.of("stream_chunk"))

    def wait(self, condition: Any, what: str) -> None:
        until(condition, 40, f"{what}; told: {str(self.told)[-600:]}")


@contextmanager
def page_in_javascript(stack: Stack, token: str, session_id: str) -> Iterator[PageInJavascript]:
    ui = CHECKOUT / "web" / "ui"
    if not (ui / "node_modules" / "socket.io-client").exists():
        pytest.skip("needs what the browser interface is built with")
    command = [str(ui / "with-node"), "node", str(CHECKOUT / "tests" / "support" / "panel_page.mjs")]
    process = subprocess.Popen([*command, stack.url, token, session_id], stdin=PIPE, stdout=PIPE, text=True)
    with process:
        made = PageInJavascript(process)
        try:
            made.wait(lambda: made.of("joined"), "the chat is joined")
            yield made
        finally:
            process.terminate()


def begin(client: Client) -> tuple[str, str]:
    """A new chat, and a token to it."""
    made = client.post("/api/agent-chat/sessions", json={"agent_type": "rag"})
    assert made.status_code == 200, made.text
    return made.json()["session_id"], client.post("/api/tokens").json()["token"]["secret"]


def handshake(client: httpx.Client) -> str:
    """The id of a new connection."""
    return str(httpx.Response(200, content=client.get(HANDSHAKE).content[1:]).json()["sid"])


def process_of(stack: Stack, sid: str) -> int:
    """The web process that has a connection, by the listening socket with its name."""
    name = sid.partition(".")[0]
    [inode] = {
        line.split()[6]
        for line in Path("/proc/net/unix").read_text().splitlines()
        if line.endswith(f".{name}")
    } & _listening()
    above = stack.processes["web"].pid
    for pid in Path(f"/proc/{above}/task/{above}/children").read_text().split():
        if f"socket:[{inode}]" in _open(pid):
            return int(pid)
    raise AssertionError(f"no web process has {sid}")


def _open(pid: str) -> Iterator[str]:
    """What the descriptors of a process lead to."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            yield os.readlink(link)


def _listening() -> set[str]:
    """The inodes of the Unix sockets that listen."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {line[6] for line in lines if line[3] == "00010000"}


def test_whoever_connects_as_by_default_is_connected_whichever_processes_answer(
    stack: Stack, ada: Client
) -> None:
    session_id, token = begin(ada)
    processes = set()
    for _ in range(20):
        with page(stack, token, session_id) as ours:
            processes.add(ours.joined[0].partition(".")[0])
            ours.wait(lambda ours=ours: ours.socket.transport() == "websocket", "it is upgraded")
            ours.socket.call("leave_chat", {"session_id": session_id}, timeout=20)
    assert len(processes) == 2


def test_a_whole_chat_by_polling_alone(stack: Stack, services: Services, ada: Client) -> None:
    session_id, token = begin(ada)
    with page(stack, token, session_id, transports=["polling"]) as ours:
        ours.socket.eio.http.headers["Connection"] = "close"  # so that each request finds another process
        sent = ours.socket.call("chat_message", {"session_id": session_id, "message": "Count"}, timeout=20)
        attempt = Attempt(services, sent["run_id"])
        message_id = attempt.begin_message()
        attempt.write(message_id, *(f"{number} " for number in range(100)))  # more than one answer may have
        attempt.end_message(message_id)
        attempt.finish()
        ours.wait(lambda: ours.was_told("stream_complete"), "the stream is complete")

        assert ours.socket.transport() == "polling" and len(ours.joined) == 1
    assert ours.text() == "".join(f"{number} " for number in range(100))


def test_the_death_of_the_process_that_has_the_connection_loses_and_doubles_nothing(
    stack: Stack, services: Services, ada: Client
) -> None:
    session_id, token = begin(ada)
    with page(stack, token, session_id, transports=["polling"]) as ours:
        ours.socket.eio.http.headers["Connection"] = "close"
        sent = ours.socket.call("chat_message", {"session_id": session_id, "message": "Count"}, timeout=20)
        attempt = Attempt(services, sent["run_id"])
        message_id = attempt.begin_message()
        attempt.write(message_id, "one ", "two ")
        ours.wait(lambda: ours.text() == "one two ", "the beginning is told")

        os.kill(process_of(stack, ours.joined[0]), signal.SIGKILL)
        attempt.write(message_id, "three ")
        ours.wait(lambda: len(ours.joined) == 2, "it has joined again")
        attempt.write(message_id, "four")
        attempt.end_message(message_id)
        attempt.finish()
        ours.wait(lambda: ours.was_told("stream_complete"), "the stream is complete")

    assert ours.text() == "one two three four"
    assert not ours.was_told("reset")


def test_the_official_client_upgrades_and_outlives_the_process_that_has_its_connection(
    stack: Stack, services: Services, ada: Client
) -> None:
    session_id, token = begin(ada)
    with page_in_javascript(stack, token, session_id) as ours:
        ours.wait(lambda: ours.of("upgraded") == ["websocket"], "it is upgraded")
        attempt = Attempt(services, ours.send("Count")["run_id"])
        message_id = attempt.begin_message()
        attempt.write(message_id, *(f"{number} " for number in range(50)))
        ours.wait(lambda: ours.text().endswith("49 "), "the beginning is told")

        os.kill(process_of(stack, ours.of("joined")[0]), signal.SIGKILL)
        attempt.write(message_id, *(f"{number} " for number in range(50, 100)))
        ours.wait(lambda: len(ours.of("joined")) == 2, "it has joined again")
        attempt.write(message_id, "end")
        attempt.end_message(message_id)
        attempt.finish()
        ours.wait(lambda: ours.of("stream_complete"), "the stream is complete")

        assert ours.text() == "".join(f"{number} " for number in range(100)) + "end"
        assert [data["data"]["content"] for data in ours.of("message")] == ["Count", ours.text()]
        assert ours.of("reset") == []


def test_an_invented_id_is_one_that_engine_io_does_not_know(stack: Stack, ada: Client) -> None:
    other = handshake(ada)
    for sid in ("x", "0" * 16 + ".x", other[:-1] + "~", "..%2F..%2Fetc%2Fpasswd.x"):
        polled = ada.get(f"{HANDSHAKE}&sid={sid}")
        assert (polled.status_code, polled.text[:16]) == (400, '"Invalid session')
        assert ada.post(f"{HANDSHAKE}&sid={sid}", content="40").status_code == 400


def test_a_connection_by_polling_has_to_show_who_it_is(stack: Stack) -> None:
    with httpx.Client(base_url=stack.url, timeout=30) as stranger:
        sid = handshake(stranger)
        assert stranger.post(f"{HANDSHAKE}&sid={sid}", content='40{"token":"nobody"}').status_code == 200
        assert stranger.get(f"{HANDSHAKE}&sid={sid}").text.startswith("44")  # an error in place of 40


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe", b"4" + b"[" * 100_000, b"x", b"9", b"\x1e".join([b"3"] * 101), b"4" + b"x" * (1 << 20)],
    ids=["bytes", "deep", "no packet", "another packet", "many packets", "large"],
)
def test_what_cannot_be_read_is_refused_and_not_logged(stack: Stack, ada: Client, body: bytes) -> None:
    sid = handshake(ada)

    assert ada.post(f"{HANDSHAKE}&sid={sid}", content=body).status_code == 400

    assert "Traceback" not in stack.log("web")


def test_pages_of_other_origins_poll_as_they_connect(stack: Stack, ada: Client) -> None:
    allowed = ada.get(HANDSHAKE, headers={"Origin": APP})
    assert allowed.headers["Access-Control-Allow-Origin"] == APP
    assert "Access-Control-Allow-Credentials" not in allowed.headers
    assert ada.get(HANDSHAKE, headers={"Origin": ELSEWHERE}).status_code == 400
    assert ada.get(f"{HANDSHAKE}&j=0").status_code == 400  # a script, which any page may include
