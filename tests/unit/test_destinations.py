"""What ``connect`` of a worker.toml means."""

from __future__ import annotations

import pytest

from runtime.child.egress.routes import Injection, Malformed, Refused, Routes
from runtime.sandbox.destinations import Destination, Destinations


@pytest.mark.parametrize(
    ("entries", "host", "port", "allowed"),
    [
        (["api.example.com"], "api.example.com", 443, True),
        (["api.example.com"], "API.Example.COM.", 80, True),
        (["api.example.com"], "api.example.com", 8443, False),
        (["api.example.com:8443"], "api.example.com", 8443, True),
        (["api.example.com:8443"], "api.example.com", 443, False),
        (["example.com"], "api.example.com", 443, False),
        (["example.com"], "notexample.com", 443, False),
        (["*.example.com"], "api.example.com", 443, True),
        (["*.example.com"], "a.b.example.com", 443, True),
        (["*.example.com"], "example.com", 443, False),
        (["*.example.com"], "notexample.com", 443, False),
        (["bücher.example"], "xn--bcher-kva.example", 443, True),
        (["localhost"], "localhost", 80, True),
        (["192.0.2.7"], "192.0.2.7", 443, True),
        (["192.0.2.7"], "192.0.2.8", 443, False),
        (["10.0.0.0/8:5432"], "10.1.2.3", 5432, True),
        (["10.0.0.0/8:5432"], "10.1.2.3", 443, False),
        (["::1"], "::1", 80, True),
        (["[::1]:8080"], "[::1]", 8080, True),
        (["fd00::/8"], "fd12::1", 443, True),
        (["api.example.com"], "93.184.216.34", 443, False),
        ([], "api.example.com", 443, False),
    ],
)
def test_an_entry_allows_what_it_names(entries: list[str], host: str, port: int, allowed: bool) -> None:
    assert Destinations(entries).allow(host, port) is allowed


@pytest.mark.parametrize(
    "entry",
    [
        "", "*", "*.", "http://example.com", "example.com/path", "user@example.com", "a b", "a..b", "-a.com",
        "example.com:0", "example.com:65536", "example.com:https", "10.0.0.1/8", "1.2.3", "0x7f.1",
        "2130706433", "*.*.com", "a" * 64 + ".com", "example.com\n", "[::1", "b\x00.com",
    ],
)  # fmt: skip
def test_what_is_no_host_is_no_entry(entry: str) -> None:
    with pytest.raises(ValueError, match=r"is neither|has no port"):
        Destination.parse(entry)


@pytest.fixture
def routes() -> Routes:
    credential = Injection("api.example.com", 443, "Authorization", "Bearer secret")
    return Routes(
        Destinations(["api.example.com", "db.example.com:5432", "192.0.2.7"]),
        {"api.example.com": credential},
        "https://branchline.example/chat",
    )


def test_a_tunnel_leads_to_a_host_and_a_port(routes: Routes) -> None:
    route = routes.tunnel("DB.example.com:5432")
    assert (route.host, route.port, route.target, route.tls) == ("db.example.com", 5432, "", False)


@pytest.mark.parametrize("target", ["", "db.example.com", ":443", "db.example.com:x", "a/b:1", "x:0"])
def test_a_tunnel_without_host_or_port_is_malformed(routes: Routes, target: str) -> None:
    with pytest.raises(Malformed):
        routes.tunnel(target)


def test_what_is_refused_says_which_line_would_allow_it(routes: Routes) -> None:
    with pytest.raises(Refused, match=r'add "other\.example" to connect in \[sandbox\]'):
        routes.tunnel("other.example:443")
    with pytest.raises(Refused, match=r'add "db\.example\.com:9000" to connect'):
        routes.tunnel("db.example.com:9000")


def test_a_request_to_a_proxy_names_its_host(routes: Routes) -> None:
    route = routes.request("http://api.example.com/v1?q=1")
    assert (route.host, route.port, route.target, route.netloc) == (
        "api.example.com", 80, "/v1?q=1", "api.example.com",
    )  # fmt: skip
    assert routes.request("http://192.0.2.7").target == "/"
    assert routes.request("http://api.example.com?q=1").target == "/?q=1"
    for target in ("https://api.example.com/", "ftp://api.example.com/", "/", "*", "/other", "http://"):
        with pytest.raises(Malformed):
            routes.request(target)
    for target in ("http://api.example.com@evil.example/", "http://evil.example\\@api.example.com/"):
        with pytest.raises(Malformed):
            routes.request(target)


def test_a_base_url_stands_for_a_host_and_its_credential(routes: Routes) -> None:
    route = routes.request("/hosts/api.example.com/v1/chat?stream=1")
    assert (route.host, route.port, route.tls, route.target) == (
        "api.example.com", 443, True, "/v1/chat?stream=1",
    )  # fmt: skip
    assert route.headers == {"Authorization": "Bearer secret"}
    assert "secret" not in repr(routes._injections)
    for other in ("/hosts/db.example.com/v1", "/hosts/", "/hosts/api.example.com:8443/"):
        with pytest.raises(Refused, match="credentials"):
            routes.request(other)


def test_the_api_is_reached_wherever_it_is(routes: Routes) -> None:
    route = routes.request("/branchline/worker/runs/1?a=b")
    assert (route.host, route.port, route.tls, route.target, route.trusted) == (
        "branchline.example", 443, True, "/chat/worker/runs/1?a=b", True,
    )  # fmt: skip


@pytest.mark.parametrize("path", ["/../other", "/worker/../../other", "/%2e%2e/other", "/.%2E/", "/./x"])
def test_nothing_beside_the_api_is_reached(routes: Routes, path: str) -> None:
    with pytest.raises(Malformed):
        routes.request(f"/branchline{path}")
