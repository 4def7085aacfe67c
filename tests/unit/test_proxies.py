"""The client's address as proxies write it."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from web.http.addresses import network
from web.http.proxies import TrustedProxies

PROXY = "10.9.9.9"
WRITTEN = {
    "203.0.113.7": "203.0.113.7",
    "203.0.113.7:4711": "203.0.113.7",
    "[2001:db8::1]": "2001:db8::1",
    "[2001:db8::1]:4711": "2001:db8::1",
    "2001:DB8:0::1": "2001:db8::1",
    '"[2001:db8::1]:4711"': "2001:db8::1",
    "::ffff:203.0.113.7": "203.0.113.7",
    "6.6.6.6, 203.0.113.7:4711": "203.0.113.7",
    "unknown": PROXY,
    "_hidden": PROXY,
    "203.0.113.7:4711:1": PROXY,
    "203.0.113.700": PROXY,
    "[203.0.113.7": PROXY,
    "": PROXY,
    "x" * 4000: PROXY,
}


@Request.application
def seen(request: Request) -> Response:
    """Answers with the address that it sees."""
    return Response(request.remote_addr)


def address(forwarded: str | None, proxies: int = 1) -> str:
    """The client's address behind so many proxies."""
    headers: dict[str, Any] = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    client = Client(TrustedProxies(seen, proxies))
    return client.get("/", headers=headers, environ_base={"REMOTE_ADDR": PROXY}).text


@pytest.mark.parametrize("forwarded", WRITTEN)
def test_an_address_is_read_with_or_without_a_port_and_rubbish_never(forwarded: str) -> None:
    assert address(forwarded) == WRITTEN[forwarded]


def test_without_the_header_the_address_is_the_peers() -> None:
    assert address(None) == PROXY
    assert address("1.1.1.1", proxies=2) == PROXY


def test_clients_that_differ_by_port_only_count_as_one() -> None:
    counted = {
        network(address(f"{ip}:{port}")) for port in (1, 65535) for ip in ("1.1.1.1", "[::ffff:1.1.1.1]")
    }
    assert counted == {"1.1.1.1"}
    assert network(address("[2001:db8::1]:1")) == network(address("[2001:db8::2]:2"))
