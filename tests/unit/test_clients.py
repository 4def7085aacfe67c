"""How long a web process waits for a client, and for how many."""

from __future__ import annotations

import socket as stdlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import gevent
import pytest
from gevent import socket

from web.http.clients import MAX_HEAD, MIN_RATE, Bounds, Client, Clients, HeadTooLarge, TooSlow

Connect = Callable[..., tuple[Client, stdlib.socket]]

LONG = 600.0


@pytest.fixture
def connect() -> Iterator[Connect]:
    """A connection to ``clients``: what the server reads, and what the client writes to."""
    with ExitStack() as leave:

        def make(clients: Clients, address: str = "10.0.0.1") -> tuple[Client, stdlib.socket]:
            ours, theirs = socket.socketpair()
            leave.enter_context(closing(ours))
            leave.enter_context(closing(theirs))
            return Client(ours, (address, 1), clients), theirs

        yield make


def bounds(
    patience: float = LONG, total: int = 100, per_address: int = 100, capacity: int = 100, grace: float = 0.0
) -> Bounds:
    return Bounds(patience, LONG, total, per_address, capacity, grace)


def reading(*clients: Client) -> list[gevent.Greenlet]:
    """A greenlet for each client, waiting for it."""
    greenlets = [gevent.spawn(client.recv, 10) for client in clients]
    gevent.idle()
    return greenlets


def test_each_piece_of_a_body_gives_its_client_more_time(connect: Connect) -> None:
    client, theirs = connect(Clients(bounds(patience=0.001)))
    client.expect_body()
    theirs.sendall(b"x" * 10 * MIN_RATE)
    for _ in range(10):
        client.recv(MIN_RATE)
    gevent.spawn_later(0.05, theirs.sendall, b"the end")

    assert client.recv(10) == b"the end"


def test_pieces_of_a_head_give_no_more_time(connect: Connect) -> None:
    client, theirs = connect(Clients(bounds(patience=0.05)))

    def trickle() -> None:
        while True:
            theirs.sendall(b"x")
            client.recv(10)

    with pytest.raises(TooSlow):
        trickle()


def test_a_head_has_a_size(connect: Connect) -> None:
    client, theirs = connect(Clients(bounds()))
    sending = gevent.spawn(theirs.sendall, b"x" * (MAX_HEAD + 1))

    def receive_all() -> None:
        while True:
            client.recv(8192)

    with pytest.raises(HeadTooLarge):
        receive_all()
    sending.kill()


def test_the_connection_that_waits_longest_gives_way_to_one_of_its_address(connect: Connect) -> None:
    clients = Clients(bounds(per_address=2))
    stranger, _ = connect(clients, "10.0.0.2")
    first, second, third = (connect(clients)[0] for _ in range(3))
    waits = reading(stranger, first, second, third)

    assert waits[1].get(timeout=20) == b""
    assert [wait.dead for wait in waits] == [False, True, False, False]
    assert len(clients) == 3
    gevent.killall(waits)
    for client in (stranger, first, second, third):
        client.close()
    assert len(clients) == 0


def test_a_client_that_sends_piece_by_piece_stays_where_it_is_in_line(connect: Connect) -> None:
    clients = Clients(bounds(per_address=2))
    (first, sending), (second, _), (third, _) = (connect(clients) for _ in range(3))
    reading(first, second)
    sending.sendall(b"G")
    gevent.idle()
    [again] = reading(first)
    reading(third)

    assert again.get(timeout=20) == b""


def test_where_all_are_too_many_one_of_the_busiest_address_gives_way(connect: Connect) -> None:
    clients = Clients(bounds(total=3))
    alone, _ = connect(clients, "10.0.0.2")
    flood = [connect(clients)[0] for _ in range(2)]
    waits = reading(alone, *flood)
    late = reading(connect(clients, "10.0.0.3")[0])

    assert waits[1].get(timeout=20) == b""
    assert [wait.dead for wait in (*waits, *late)] == [False, True, False, False]
    gevent.killall([*waits, *late])


def test_a_connection_that_is_new_need_not_give_way(connect: Connect) -> None:
    clients = Clients(bounds(total=1, per_address=1, grace=LONG))
    waits = reading(*(connect(clients)[0] for _ in range(5)))

    assert not any(wait.dead for wait in waits)
    gevent.killall(waits)


def test_where_hardly_a_connection_is_left_there_is_no_grace(connect: Connect) -> None:
    clients = Clients(bounds(capacity=5, grace=LONG))
    answered = [connect(clients)[0] for _ in range(2)]
    first, second = reading(connect(clients)[0]), reading(connect(clients)[0])

    assert first[0].get(timeout=20) == b""
    assert not second[0].dead
    for client in answered:
        client.close()
    assert clients.open == 2
    gevent.killall(second)


def test_an_endless_body_is_waited_for_without_bounds(connect: Connect) -> None:
    clients = Clients(bounds(patience=0.001))
    client, theirs = connect(clients)
    client.expect_endless_body()
    gevent.spawn_later(0.05, theirs.sendall, b"at last")
    [wait] = reading(client)

    assert len(clients) == 0
    assert wait.get(timeout=20) == b"at last"


def test_addresses_of_one_ipv6_network_count_as_one(connect: Connect) -> None:
    clients = Clients(bounds(per_address=1))
    waits = reading(connect(clients, "2001:db8::1")[0], connect(clients, "2001:db8::2")[0])

    assert waits[0].get(timeout=20) == b""
    gevent.killall(waits)
