"""Noticing that a client has gone while its answer is still to come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gevent
import pytest
from gevent import socket as cooperative
from gevent.event import Event

from web.http.disconnects import disconnected, on_disconnect


@pytest.fixture
def ends() -> Iterator[tuple[Any, Any]]:
    """The two ends of a TCP connection: the server's and the client's."""
    with closing(cooperative.create_server(("127.0.0.1", 0))) as listener:
        theirs = cooperative.create_connection(listener.getsockname())
        ours, _ = listener.accept()
        with closing(ours), closing(theirs):
            yield ours, theirs


def test_a_client_that_disconnects_is_noticed_at_once(ends: tuple[Any, Any]) -> None:
    ours, theirs = ends
    noticed = Event()
    with on_disconnect(ours, noticed.set):
        gevent.sleep(0)
        assert not noticed.is_set()
        theirs.close()
        assert noticed.wait(10)
    assert disconnected(ours)


def test_one_that_disconnected_before_is_noticed_too(ends: tuple[Any, Any]) -> None:
    ours, theirs = ends
    theirs.close()
    noticed = Event()
    with on_disconnect(ours, noticed.set):
        assert noticed.wait(10)


def test_a_client_that_sends_its_next_request_has_not_disconnected(ends: tuple[Any, Any]) -> None:
    ours, theirs = ends
    noticed = Event()
    theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with on_disconnect(ours, noticed.set):
        cooperative.wait_read(ours.fileno(), timeout=10)
        gevent.sleep(0.01)
        assert not noticed.is_set()
    assert ours.recv(100).startswith(b"GET")


def test_without_a_socket_nothing_is_noticed() -> None:
    with on_disconnect(None, lambda: None):
        assert not disconnected(None)
