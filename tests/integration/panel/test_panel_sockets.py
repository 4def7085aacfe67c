"""Agent chats over Socket.IO, by the unmodified client: a real web process, whose pool the test plays."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import socketio
import websocket

from runtime import settings as settings_module
from runtime.model import MessageType
from runtime.services import Services
from runtime.store import attempts
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until
from tests.support.attempt import Attempt
from tests.support.metrics import samples
from tests.support.panel_client import PanelClient
from tests.support.web_process import stack_on_sqlite, web_only

EVENTS = (
    "connection_confirmed", "message", "stream_chunk", "stream_complete", "typing", "error", "reset",
)  # fmt: skip
APP, ELSEWHERE = "https://app.example.com", "https://evil.example.com"
READS = "branchline_log_reads_total"
"""A figure that each web process has of its own."""
Told = dict[str, Any]

pytestmark = [
    pytest.mark.usefixtures("collect_sockets"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, stack_redis: RedisServer
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("web")
    environ = {
        "PANEL_AGENTS": "rag=echo",
        "PANEL_ORIGINS": APP,
        "BRANCHLINE_STREAM_HEARTBEAT": "0.5",
        "BRANCHLINE_WEB_WORKERS": "2",
    }
    stack = stack_on_sqlite(folder, sqlite_template, stack_redis, from_python=True, **environ)
    with web_only(stack):
        yield stack


@pytest.fixture
def services(stack: Stack) -> Iterator[Services]:
    services = Services(settings_module.load(stack.environ))
    yield services
    services.database.close()
    services.link.close()


@pytest.fixture
def ada(stack: Stack) -> Iterator[Client]:
    with closing(stack.client()) as client:
        yield client


class Panel:
    """A client of the panel, and what it was told."""

    def __init__(self, stack: Stack, client: Client, origin: str | None = None) -> None:
        self.stack = stack
        self.token = client.post("/api/tokens").json()["token"]["secret"]
        self.told: list[tuple[str, Told]] = []
        extra = {"origin": origin} if origin else {}
        self.socket = PanelClient(reconnection=False, handle_sigint=False, websocket_extra_options=extra)
        for name in EVENTS:
            self.socket.on(name, lambda data, name=name: self.told.append((name, data)))
        self.closed = threading.Event()
        self.socket.on("disconnect", lambda *_: self.closed.set())

    def connect(self, **options: Any) -> Panel:
        options = {"auth": {"token": self.token}, "transports": ["websocket"], "wait_timeout": 20, **options}
        self.socket.connect(self.stack.url, **options)
        return self

    def call(self, event: str, **data: Any) -> Told:
        answer: Told = self.socket.call(event, data, timeout=20)
        return answer

    def join(self, session_id: str, **more: Any) -> None:
        assert self.call("join_chat", session_id=session_id, **more) == {}

    def is_told_anew(self) -> bool:
        """Whether messages were told behind a reset."""
        names = [name for name, _ in list(self.told)]
        return "reset" in names and "message" in names[names.index("reset") :]

    def of(self, name: str) -> list[Told]:
        return [data for told, data in list(self.told) if told == name]

    def text(self) -> str:
        return "".join(data["content"] for data in self.of("stream_chunk"))

    def last_id(self) -> str:
        return next(data["id"] for _, data in reversed(self.told) if "id" in data)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        until(condition, what=f"{what}; told: {str(self.told)[-600:]}")


@contextmanager
def panel(stack: Stack, client: Client, origin: str | None = None, **options: Any) -> Iterator[Panel]:
    made = Panel(stack, client, origin).connect(**options)
    try:
        yield made
    finally:
        made.socket.disconnect()


def begin(client: Client) -> str:
    made = client.post("/api/agent-chat/sessions", json={"agent_type": "rag"})
    assert made.status_code == 200, made.text
    return str(made.json()["session_id"])


def test_a_whole_chat(stack: Stack, services: Services, ada: Client) -> None:
    session_id = begin(ada)
    with panel(stack, ada) as ours:
        ours.join(session_id)
        assert ours.of("connection_confirmed") == [{"session_id": session_id}]

        sent = ours.call("chat_message", session_id=session_id, message="Hello", context={"k": 5})

        assert sent["status"] == "sent"
        attempt = Attempt(services, sent["run_id"])
        assert attempt.run.args == {"k": 5}
        message_id = attempt.say("Good ", "morning")
        attempt.finish()
        ours.wait(lambda: ours.of("stream_complete"), "the stream is complete")

    assert ours.text() == "Good morning"
    assert {(c["message_id"], c["run_id"]) for c in ours.of("stream_chunk")} == {(message_id, sent["run_id"])}
    said = [(data["data"]["sender"], data["data"]["content"]) for data in ours.of("message")]
    assert said == [("user", "Hello"), ("agent", "Good morning")]
    assert [data["is_typing"] for data in ours.of("typing")] == [True, False]
    assert ours.of("stream_complete")[0]["status"] == "success"
    assert ours.of("error") == []


def test_after_a_cut_in_mid_stream_no_chunk_is_lost_or_doubled(
    stack: Stack, services: Services, ada: Client
) -> None:
    session_id = begin(ada)
    with panel(stack, ada) as first:
        first.join(session_id)
        run_id = first.call("chat_message", session_id=session_id, message="Count")["run_id"]
        attempt = Attempt(services, run_id)
        message_id = attempt.begin_message()
        attempt.write(message_id, *(f"{number} " for number in range(20)))
        first.wait(lambda: first.text().endswith("9 "), "some is told")
    attempt.write(message_id, *(f"{number} " for number in range(20, 40)))

    with panel(stack, ada) as second:
        second.join(session_id, after=first.last_id())
        attempt.write(message_id, *(f"{number} " for number in range(40, 60)))
        attempt.end_message(message_id)
        attempt.finish()
        second.wait(lambda: second.of("stream_complete"), "the stream is complete")

    assert first.text() + second.text() == "".join(f"{number} " for number in range(60))
    assert second.of("reset") == []


def test_the_death_of_the_web_processes_loses_and_doubles_nothing(
    stack: Stack, services: Services, ada: Client
) -> None:
    session_id = begin(ada)
    with panel(stack, ada) as first:
        first.join(session_id)
        run_id = first.call("chat_message", session_id=session_id, message="Count")["run_id"]
        attempt = Attempt(services, run_id)
        message_id = attempt.begin_message()
        attempt.write(message_id, "one ", "two ")
        first.wait(lambda: first.text() == "one two ", "the beginning is told")
        kill_web_processes(stack)
        assert first.closed.wait(20)
    attempt.write(message_id, "three ")
    until(stack.ready, READY_WITHIN, "another web process is there")

    with panel(stack, ada) as second:
        second.join(session_id, after=first.last_id())
        attempt.write(message_id, "four")
        attempt.end_message(message_id)
        attempt.finish()
        second.wait(lambda: second.of("stream_complete"), "the stream is complete")

    assert second.text() == "three four"
    assert second.of("reset") == []


def web_processes(stack: Stack) -> list[int]:
    """Those that answer; the one above them starts others."""
    above = stack.processes["web"].pid
    return [int(pid) for pid in Path(f"/proc/{above}/task/{above}/children").read_text().split()]


def kill_web_processes(stack: Stack) -> None:
    for pid in web_processes(stack):
        os.kill(pid, signal.SIGKILL)


def both_have_begun(stack: Stack) -> None:
    """Wait until each web process answers: one that begins takes more and more memory."""
    begun: set[str] = set()

    def look() -> bool:
        with httpx.Client(base_url=stack.url) as anew:  # so that the kernel chooses a process again
            begun.update(dict(labels)["web"] for name, labels in samples(anew) if name == READS)
        return len(begun) == 2

    until(look, READY_WITHIN, "both web processes answer")


def memory(stack: Stack) -> int:
    """Bytes that the web processes have in memory."""
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in web_processes(stack)]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def test_a_socket_that_reads_nothing_holds_a_position_and_no_queue(
    stack: Stack, services: Services, ada: Client
) -> None:
    both_have_begun(stack)
    session_id, piece, pieces = begin(ada), "x" * (64 << 10), 250
    token = ada.post("/api/tokens").json()["token"]["secret"]
    address = f"ws://127.0.0.1:{stack.port}/socket.io/?EIO=4&transport=websocket"
    little = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)]
    slow = websocket.create_connection(address, timeout=20, sockopt=little)
    with panel(stack, ada) as fast, closing(slow):
        slow.recv()
        slow.send("40" + json.dumps({"token": token}))
        slow.recv()
        slow.send("42" + json.dumps(["join_chat", {"session_id": session_id}]))
        assert "connection_confirmed" in slow.recv()
        fast.join(session_id)
        attempt = Attempt(services, fast.call("chat_message", session_id=session_id, message="Go")["run_id"])
        message_id = attempt.begin_message()
        attempt.write(message_id, piece)
        fast.wait(lambda: fast.text() == piece, "the first piece is told")
        before = memory(stack)

        attempt.write(message_id, *[piece] * (pieces - 1))
        fast.wait(lambda: len(fast.of("stream_chunk")) == pieces, "all is told to who reads")

        assert memory(stack) - before < pieces * len(piece) // 2
        attempt.write(message_id, "the end")
        told = [slow.recv()]
        while "the end" not in told[-1]:
            told.append(slow.recv())
        assert sum(text.count(piece) for text in told if isinstance(text, str)) == pieces


def test_who_joins_in_mid_stream_is_told_the_text_so_far(
    stack: Stack, services: Services, ada: Client
) -> None:
    session_id = begin(ada)
    run_id = ada.post(f"/api/agent-chat/sessions/{session_id}/messages", json={"message": "Go"}).json()[
        "run_id"
    ]
    attempt = Attempt(services, run_id)
    message_id = attempt.begin_message()
    attempt.write(message_id, "one ", "two ")
    with panel(stack, ada) as late, panel(stack, ada) as other:
        late.join(session_id)
        other.join(session_id, after="nothing of this kind")
        for one in (late, other):
            one.wait(lambda one=one: one.text() == "one two ", "what is open is told")
        attempt.write(message_id, "three")
        attempt.end_message(message_id)
        attempt.finish()
        for one in (late, other):
            one.wait(lambda one=one: one.of("stream_complete"), "the stream is complete")
            assert one.text() == "one two three"
        assert [data["reason"] for data in other.of("reset")] == ["malformed"]
        assert other.of("message")[0]["data"]["content"] == "Go"


def test_code_that_is_being_written_is_not_told_as_an_answer_to_who_comes_back(
    stack: Stack, services: Services, ada: Client
) -> None:
    session_id = begin(ada)
    with panel(stack, ada) as first:
        first.join(session_id)
        run_id = first.call("chat_message", session_id=session_id, message="Think")["run_id"]
        attempt = Attempt(services, run_id)
        program = attempt.begin_message(MessageType.CODE)
        answer = attempt.begin_message()
        attempt.write(answer, "So ")
        first.wait(lambda: first.text() == "So ", "the answer has begun")
    attempt.write(program, "1 + ", "1")
    attempt.end_message(program)
    attempt.write(answer, "be it.")

    with panel(stack, ada) as second, panel(stack, ada) as late:
        second.join(session_id, after=first.last_id())
        second.wait(lambda: second.text(), "the answer goes on")
        late.join(session_id)
        late.wait(lambda: late.of("typing"), "it is told that the agent is at work")
        attempt.end_message(answer)
        attempt.finish()
        for one in (second, late):
            one.wait(lambda one=one: one.of("stream_complete"), "the stream is complete")

    assert second.text() == "be it."
    assert late.text() == "So be it."
    assert [data["is_typing"] for data in late.of("typing")] == [True, False]


def test_frames_are_not_compressed(stack: Stack) -> None:
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    address = f"ws://127.0.0.1:{stack.port}/socket.io/?EIO=4&transport=websocket"
    with closing(websocket.create_connection(address, timeout=20, header=offer)) as client:
        assert "sec-websocket-extensions" not in client.getheaders()
        assert client.recv().startswith("0{")


def test_a_foreign_room_is_refused(stack: Stack, ada: Client) -> None:
    session_id = begin(ada)
    with closing(stack.client()) as bob, panel(stack, bob) as theirs:
        for event, data in (
            ("join_chat", {}),
            ("chat_message", {"message": "Hello"}),
            ("stop", {}),
            ("answer", {"answer": "yes"}),
        ):
            assert theirs.call(event, session_id=session_id, **data)["code"] == "session_expired"
        assert theirs.of("connection_confirmed") == []
        assert {error["code"] for error in theirs.of("error")} == {"session_expired"}
        assert theirs.call("join_chat", session_id="x")["code"] == "invalid"


def test_a_question_is_answered_and_a_run_is_stopped(stack: Stack, services: Services, ada: Client) -> None:
    session_id = begin(ada)
    with panel(stack, ada) as ours:
        ours.join(session_id)
        run_id = ours.call("chat_message", session_id=session_id, message="Ask")["run_id"]
        Attempt(services, run_id).ask("Sure?", id="1")
        other = ours.call("answer", session_id=session_id, confirmation_id="2", answer="yes")
        assert other["code"] == "conflict"
        assert ours.call("answer", session_id=session_id, confirmation_id="1", answer="yes") == {}
        assert ours.call("answer", session_id=session_id, answer="yes")["code"] == "conflict"
        assert ours.call("stop", session_id=session_id) == {}
        ours.wait(lambda: ours.of("stream_complete"), "the run has ended")
    assert ours.of("stream_complete")[0]["status"] == "cancelled"


@pytest.mark.parametrize("token", ["nobody's", None], ids=["unknown", "none"])
def test_without_a_credential_there_is_no_socket(stack: Stack, ada: Client, token: str | None) -> None:
    made = Panel(stack, ada)
    with pytest.raises(socketio.exceptions.ConnectionError):
        made.connect(auth={"token": token} if token else None)


def test_the_token_of_an_applications_user_joins_that_users_chats_only(stack: Stack, ada: Client) -> None:
    token = ada.post("/api/agent-chat/token", json={"subject": "grace"}).json()["token"]
    with Client(stack.url) as grace:
        body = {"agent_type": "rag"}
        made = grace.post("/api/agent-chat/sessions", json=body, headers={"Authorization": f"Bearer {token}"})
    mine, accounts = made.json()["session_id"], begin(ada)

    with panel(stack, ada, auth={"token": token}) as ours:
        ours.join(mine)
        assert ours.call("chat_message", session_id=mine, message="Hello")["status"] == "sent"
        for event, more in (("join_chat", {}), ("chat_message", {"message": "Hello"}), ("stop", {})):
            assert ours.call(event, session_id=accounts, **more)["code"] == "session_expired"


@pytest.mark.parametrize(
    "packet",
    [
        '459999999999-["stop",{"_placeholder":true,"num":0}]',
        "40/elsewhere,",
        '461-1[{"_placeholder":true,"num":0}]',
        "40",
        "41",
    ],
    ids=[
        "attachments",
        "another namespace",
        "an acknowledgement with attachments",
        "connects twice",
        "disconnects, and stays",
    ],
)
def test_what_no_client_of_the_panel_sends_closes_its_socket(stack: Stack, ada: Client, packet: str) -> None:
    token = ada.post("/api/tokens").json()["token"]["secret"]
    address = f"{stack.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
    with closing(websocket.create_connection(address, timeout=20)) as client:
        client.recv()
        client.send("40" + json.dumps({"token": token}))
        assert client.recv().startswith("40")

        client.send(packet)

        with pytest.raises(websocket.WebSocketConnectionClosedException):
            deque(iter(client.recv, None))


def test_a_cookie_serves_our_own_pages_only(stack: Stack, ada: Client) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in ada.cookies.items())
    with panel(stack, ada, auth=None, headers={"Cookie": cookie}) as ours:
        ours.join(begin(ada))
    for origin in (APP, ELSEWHERE):
        with pytest.raises(socketio.exceptions.ConnectionError):
            Panel(stack, ada, origin).connect(auth=None, headers={"Cookie": cookie})


def test_pages_of_named_origins_connect_with_a_token(stack: Stack, ada: Client) -> None:
    with panel(stack, ada, APP) as theirs:
        theirs.join(begin(ada))
    with pytest.raises(socketio.exceptions.ConnectionError):
        Panel(stack, ada, ELSEWHERE).connect()


def test_a_foreign_host_name_is_refused(stack: Stack, ada: Client) -> None:
    answer = ada.get("/socket.io/?EIO=4&transport=websocket", headers={"Host": "evil.example.com"})
    assert answer.status_code == 421


def test_an_event_that_is_too_large_closes_its_socket(stack: Stack, ada: Client) -> None:
    session_id = begin(ada)
    with panel(stack, ada) as ours:
        ours.socket.emit("chat_message", {"session_id": session_id, "message": "x" * (2 << 20)})
        assert ours.closed.wait(20)
    assert ada.get(f"/api/agent-chat/sessions/{session_id}").json()["messages"] == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"message": "a\0b"}, "invalid"),
        ({"message": "\ud800"}, "bad_request"),
        ({"message": "a", "context": {"k": float("nan")}}, "bad_request"),
        ({"message": "a", "context": json.loads('{"k":' * 100 + "1" + "}" * 100)}, "invalid"),
    ],
    ids=["NUL", "half a character", "NaN", "deep"],
)
def test_an_event_obeys_the_rules_of_a_body(stack: Stack, ada: Client, data: Told, code: str) -> None:
    with panel(stack, ada) as ours:
        refused = ours.call("chat_message", session_id=begin(ada), **data)
        assert (refused["code"], ours.of("error")[0]["code"]) == (code, code)
    assert "Traceback" not in stack.log("web")


def test_too_many_events_are_refused(stack: Stack, ada: Client) -> None:
    session_id = begin(ada)
    with panel(stack, ada) as ours:
        answers: list[Told] = []
        for _ in range(200):  # without waiting for an answer, in which time some more would be allowed
            ours.socket.emit("leave_chat", {"session_id": session_id}, callback=answers.append)
        ours.wait(lambda: len(answers) == 200, "all are answered")
    assert answers.count({}) >= 30
    assert "too_many" in {answer.get("code") for answer in answers}


def test_two_tabs_in_one_room_are_told_the_same(stack: Stack, services: Services, ada: Client) -> None:
    session_id = begin(ada)
    with panel(stack, ada) as one, panel(stack, ada) as two:
        for tab in (one, two):
            tab.join(session_id)
        attempt = Attempt(services, one.call("chat_message", session_id=session_id, message="Go")["run_id"])
        attempt.say("Gone")
        attempt.finish()
        for tab in (one, two):
            tab.wait(lambda tab=tab: tab.of("stream_complete"), "the stream is complete")
        assert one.told[1:] == two.told[1:]


def test_of_an_attempt_that_is_lost_nothing_stays(stack: Stack, services: Services, ada: Client) -> None:
    session_id = begin(ada)
    with panel(stack, ada) as ours:
        ours.join(session_id)
        run_id = ours.call("chat_message", session_id=session_id, message="Go")["run_id"]
        lost = Attempt(services, run_id)
        lost.write(lost.begin_message(), "Lost ")
        ours.wait(lambda: ours.text() == "Lost ", "the first attempt is told")
        retried = services.database.write(attempts.hand_back, lost.run, attempts.AttemptResult())
        services.announcer.retried(retried)
        # A message that ends before the socket is told anew would be told whole, without chunks.
        ours.wait(ours.is_told_anew, "all is told anew")
        again = Attempt(services, run_id)
        again.say("Kept")
        again.finish()
        ours.wait(lambda: ours.of("stream_complete"), "the stream is complete")
    names = [name for name, _ in ours.told]
    assert [data["reason"] for data in ours.of("reset")] == ["retried"]
    after = [data for name, data in ours.told[names.index("reset") :] if name == "stream_chunk"]
    assert "".join(data["content"] for data in after) == "Kept"


def test_a_log_that_is_lost_in_mid_stream_is_told_anew(stack: Stack, services: Services, ada: Client) -> None:
    session_id = begin(ada)
    with panel(stack, ada) as ours:
        ours.join(session_id)
        attempt = Attempt(services, ours.call("chat_message", session_id=session_id, message="Go")["run_id"])
        message_id = attempt.begin_message()
        attempt.write(message_id, "one ", "two ")
        ours.wait(lambda: ours.text() == "one two ", "the beginning is told")

        services.link.client.delete(*services.log._keys(attempt.run.thread_id, attempt.run.id))
        attempt.reopen()
        attempt.write(message_id, "three")
        ours.wait(ours.is_told_anew, "all is told anew")
        attempt.end_message(message_id)
        attempt.finish()
        ours.wait(lambda: ours.of("stream_complete"), "the stream is complete")

    anew = ours.told[[name for name, _ in ours.told].index("reset") :]
    chunks = [data["content"] for name, data in anew if name == "stream_chunk"]
    assert "".join(chunks) == "one two three" and chunks[0].startswith("one two ")
    assert [name for name, _ in anew][:3] == ["reset", "message", "stream_chunk"]


def test_who_connects_and_says_nothing_is_hung_up_on(stack: Stack) -> None:
    address = f"ws://127.0.0.1:{stack.port}/socket.io/?EIO=4&transport=websocket"
    stranger = websocket.create_connection(address, timeout=20)
    with closing(stranger), pytest.raises(websocket.WebSocketConnectionClosedException):
        deque(iter(stranger.recv, None))


@pytest.mark.parametrize("in_a_chat", [True, False])
def test_a_revoked_token_closes_its_socket(stack: Stack, ada: Client, in_a_chat: bool) -> None:
    with panel(stack, ada) as ours:
        if in_a_chat:
            ours.join(begin(ada))
        for token in ada.get("/api/tokens").json()["items"]:
            ada.delete(f"/api/tokens/{token['id']}")
        assert ours.closed.wait(20)
