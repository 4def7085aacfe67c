"""The connection of a socket of an agent chat: frames are sent whole, or the connection ends."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
from gevent.socket import socket, socketpair

from web.panel import engine

FRAME = bytes(range(256)) * (1 << 14)
"""More than a connection takes at once."""
WITHIN = 30.0


@pytest.fixture
def pair() -> Iterator[tuple[socket, socket]]:
    ours, theirs = socketpair()
    with ours, theirs:
        yield ours, theirs


def read(connection: socket, size: int = len(FRAME)) -> bytes:
    """So many bytes, or what there are."""
    found = bytearray()
    while len(found) < size and (piece := connection.recv(1 << 16)):
        found += piece
    return bytes(found)


def test_a_frame_is_sent_whole(pair: tuple[socket, socket]) -> None:
    reading = gevent.spawn(read, pair[1])
    assert engine.Connection(pair[0]).send(FRAME) == len(FRAME)
    assert reading.get(timeout=WITHIN) == FRAME


def test_a_connection_that_takes_nothing_any_more_is_ended(
    pair: tuple[socket, socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "TAKEN_WITHIN", 0.1)
    with gevent.Timeout(WITHIN, AssertionError("it waits for ever")), pytest.raises(TimeoutError):
        engine.Connection(pair[0]).send(FRAME)
    taken = gevent.spawn(read, pair[1]).get(timeout=WITHIN)
    assert taken == FRAME[: len(taken)] and 0 < len(taken) < len(FRAME)
