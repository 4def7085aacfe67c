"""What a socket of the panel receives, and for how long it is followed: by itself, without a web process."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import gevent
import gevent.socket
import orjson
import pytest
from engineio.exceptions import SocketIsClosedError
from engineio.packet import CLOSE, NOOP, Packet
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection as WebSocketConnection
from wsproto.events import Request, TextMessage

from runtime.events import Cursor
from runtime.stream import Batch, Chunk, Entry, OpenMessage
from web.panel import engine
from web.panel.engine import Connection, WebSocket
from web.panel.frames import Discarded, Frames, FrameWriter
from web.panel.rooms import Room

MESSAGES, SIZE, RECEIVED = 500, 1000, 4096
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "localhost",
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
}


def test_what_a_client_sends_is_received_as_it_is_handled() -> None:
    ours, theirs = gevent.socket.socketpair()
    client = WSConnection(ConnectionType.CLIENT)
    asked = client.send(Request(host="localhost", target="/")).decode()
    key = next(line.partition(": ")[2] for line in asked.splitlines() if line.startswith("Sec-WebSocket-Key"))
    environ = {**ENVIRON, "HTTP_SEC_WEBSOCKET_KEY": key, "gunicorn.socket": Connection(ours)}
    waiting, taken = [], []

    def handle(connection: Any) -> None:
        while (message := connection.wait()) is not None:
            taken.append(message)
            for _ in range(5):
                gevent.sleep(0)  # what has come meanwhile would be received now
            waiting.append(len(connection.ws.input_buffer))

    with theirs:
        sending = gevent.spawn(send, theirs, client)
        with suppress(StopIteration):  # so the server learns that the connection is not HTTP any more
            WebSocket(Handler(handle).handle, None)(environ, lambda *_: None)
        sending.get(timeout=10)

    assert taken == [text(number) for number in range(MESSAGES)]
    assert max(waiting) <= 2 * RECEIVED // SIZE


class Handler:
    """Engine.IO's socket, whose method a WebSocket is given."""

    connection: Any = None
    upgraded = True

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def handle(self, connection: Any) -> None:
        self._handle(connection)


def send(connection: Any, client: WSConnection) -> None:
    client.receive_data(connection.recv(4096))
    list(client.events())
    for number in range(MESSAGES):
        connection.sendall(client.send(TextMessage(data=text(number))))
    connection.shutdown(gevent.socket.SHUT_WR)


def text(number: int) -> str:
    return str(number).ljust(SIZE)


def test_a_room_ends_once_its_socket_has_gone_though_nothing_happens_in_its_chat() -> None:
    frames = Frames()
    writer = FrameWriter(cast(Any, None), frames, lambda: None)
    socket: Any = SimpleNamespace(
        is_open=iter([True, False]).__next__, may_read=lambda: True, writer=lambda _: writer
    )
    log = SimpleNamespace(open_messages=lambda _: [], read=lambda *_: Chunk("1", 1, []))
    core: Any = SimpleNamespace(log=log, hub=SimpleNamespace(follow=lambda *_, **__: Quiet()))
    chat: Any = SimpleNamespace(thread_id="t", session_id="s")

    Room(core, cast(Any, None), chat, socket, frames).follow("1:1")


def test_frames_go_by_the_connection_whose_upgrade_has_succeeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.WebSocketWSGI, "__call__", lambda socket, *_: socket.app(socket))
    monkeypatch.setattr(engine.WebSocketWSGI, "wait", lambda _: "a message")
    first, second = Connection(None), Connection(None)

    def upgrade(connection: Any) -> None:
        connection.wait()
        assert served.connection is None, "it has only begun"
        served.upgraded = True
        connection.wait()
        second_socket(environ(second), cast(Any, None))

    def environ(connection: Connection) -> Any:
        return {"gunicorn.socket": connection}

    served = Handler(upgrade)
    served.upgraded = False
    first_socket, second_socket = (WebSocket(served.handle, None) for _ in range(2))
    second_socket.app = lambda connection: connection.wait()
    first_socket(environ(first), cast(Any, None))

    assert served.connection is first


MESSAGE = {"role": "assistant", "type": "text", "channel": "answer", "content": "", "created_at": "now"}


def completed(number: int) -> Entry:
    payload = orjson.dumps({"run_id": "r", "message": {**MESSAGE, "id": f"m{number}"}})
    return Entry("e", number, "message.completed", "r", payload)


def told_to(shown: str, entries: list[Entry], ends: list[int]) -> list[Any]:
    """What a socket is told that has seen ``shown``; ``ends``: where the log ends each time one looks."""
    told: list[Any] = []
    frames, cursors = Frames(), iter([Cursor("e", end) for end in ends])

    def read(_: str, after: Cursor, count: int, __: int) -> Chunk:
        later = [one for one in entries if one.seq > after.seq]
        return Chunk("e", entries[-1].seq, later[:count])

    log = SimpleNamespace(
        open_messages=lambda _: [OpenMessage("open", "r", 1, {**MESSAGE, "id": "open"}, "Hello", 1)],
        read=read,
        cursor=lambda _: next(cursors),
    )
    chats: Any = SimpleNamespace(history=lambda *_, **__: {"messages": []}, working=lambda *_: None)
    socket: Any = SimpleNamespace(
        caller=None,
        is_open=lambda: False,
        send=lambda sent: told.extend(sent) or True,
        writer=lambda _: FrameWriter(cast(Any, None), frames, lambda: None),
    )
    core: Any = SimpleNamespace(log=log, hub=SimpleNamespace(follow=lambda *_, **__: Quiet()))
    chat: Any = SimpleNamespace(thread_id="t", session_id="s")
    Room(core, chats, chat, socket, frames).follow(shown)
    return told


def test_who_has_missed_more_than_is_read_at_once_begins_anew() -> None:
    entries = [completed(number) for number in range(2, 1003)]

    assert told_to("e:2", entries, [1002, 1002]) == []
    assert told_to("e:1", entries, [1002, 1002])[0] == ("reset", {"reason": "behind", "session_id": "s"})


def test_a_reset_has_one_id_which_comes_after_the_text_so_far() -> None:
    told = told_to("no cursor", [completed(1), completed(2), completed(3)], [1, 3])

    assert [name for name, _ in told] == ["reset", "message", "message", "stream_chunk", "typing"]
    assert [data.get("id") for _, data in told] == [None, None, None, None, "e:3"]


class Quiet:
    """A log to which nothing is appended."""

    reset = None

    def __iter__(self) -> Iterator[None]:
        return itertools.repeat(None)

    def close(self) -> None:
        """Nothing is kept."""


class Counted:
    """What counts deliveries."""

    def delivered(self, batch: Batch) -> None:
        """A batch is sent."""


def served(connection: Connection, **more: Any) -> Any:
    """Engine.IO's socket of a WebSocket, in whose queue nothing waits."""
    queue = SimpleNamespace(qsize=lambda: 0)
    return SimpleNamespace(connection=connection, upgraded=True, closing=False, queue=queue, **more)


def delta(number: int, text: str, message_id: str = "m") -> Entry:
    payload = orjson.dumps({"run_id": "r", "message_id": message_id, "n": number, "text": text})
    return Entry("e", number, "message.delta", "r", payload)


def received(connection: Any) -> list[str]:
    """The messages that a client has received."""
    client = WebSocketConnection(ConnectionType.CLIENT)
    client.receive_data(connection.recv(1 << 20))
    return [event.data for event in client.events() if isinstance(event, TextMessage)]


def test_a_batch_is_packed_once_for_all_sockets_of_a_chat() -> None:
    frames, (ours, theirs) = Frames(), gevent.socket.socketpair()
    frames.translation.note([{"id": "thought", "role": "assistant", "type": "text", "channel": "reasoning"}])
    writer = FrameWriter(cast(Any, Counted()), frames, lambda: served(Connection(ours)))
    batch = Batch([delta(1, "Hello"), delta(2, "Hm", "thought"), delta(3, " world")], 3)
    with ours, theirs:
        assert writer.open and writer.offer(batch)
        assert batch.encoded(frames) is batch.encoded(frames)
        told = received(theirs)
    assert [orjson.loads(text.removeprefix("42"))[1]["content"] for text in told] == ["Hello", " world"]


def test_what_a_slow_client_does_not_take_at_once_comes_before_anything_else() -> None:
    ours, theirs = gevent.socket.socketpair()
    ours.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_SNDBUF, 4096)
    connection = Connection(ours)
    large = engine.frame("stream_chunk", {"content": "x" * (1 << 20)})
    with ours, theirs:
        assert not connection.offer(large)
        assert not connection.is_free

        sending = gevent.spawn(connection.send, b"next")
        came = bytearray()
        while len(came) < len(large) + 4:
            came += theirs.recv(1 << 20)
        sending.get(timeout=10)

        assert came == large + b"next"
        assert connection.is_free
        connection.finish()


def test_nothing_overtakes_what_waits_in_a_queue() -> None:
    ours, theirs = gevent.socket.socketpair()
    with ours, theirs:
        connection = Connection(ours)
        one = served(connection)
        assert engine.way_past_queue(one) is connection
        one.queue.qsize = lambda: 1
        assert engine.way_past_queue(one) is None
        for name, value in (("upgraded", False), ("closing", True), ("connection", None)):
            other = served(connection)
            setattr(other, name, value)
            assert engine.way_past_queue(other) is None


def test_what_waits_for_a_client_has_a_bound_and_its_end_is_told_to_all() -> None:
    packets = engine.Packets()
    with pytest.raises(SocketIsClosedError):
        deque(map(packets.put, [Packet(NOOP)] * 10_000))
    assert packets.is_long
    packets.put(Packet(CLOSE))
    packets.put(None)
    while packets.get() is not None:
        pass
    assert packets.get() is None


def test_a_lost_attempt_is_for_the_room_to_tell() -> None:
    ours, theirs = gevent.socket.socketpair()
    writer = FrameWriter(cast(Any, Counted()), Frames(), lambda: served(Connection(ours)))
    retried = Entry("e", 1, "run.retried", "r", b'{"discarded":["m"]}')
    with ours, theirs:
        assert writer.open and not writer.offer(Batch([retried], 1))
        with pytest.raises(Discarded):
            writer.finish()
        writer.finish()
