"""Which names in a request's Host header an installation answers to."""

from __future__ import annotations

import pytest

from runtime import settings
from web.http.hosts import Hosts

LOOPBACK = [
    "localhost",
    "LocalHost:8000",
    "localhost.",
    "127.0.0.1",
    "127.0.0.1:80",
    "localhost:",
    "[::1]",
    "[::1]:8000",
    "[0:0::1]",
]
OTHERS = [
    "",
    ":8000",
    ".",
    "evil.example",
    "localhost.evil.example",
    "evil.example#localhost",
    "localhost@evil.example",
    "evil.example@localhost",
    "localhost:80:80",
    "localhost, evil.example",
    "localhost evil.example",
    "localhost/",
    "127.1",
    "2130706433",
    "0x7f000001",
    "127.0.0.2",
    "0.0.0.0",
    "10.1.2.3",
    "::1",
    "[::1",
    "[::2]",
    "[::ffff:127.0.0.1]",
    "[::1%25lo]",
    "\u217cocalhost",
    "localhost\x00",
]


def hosts(**environ: str) -> Hosts:
    return Hosts.of(settings.load({"BRANCHLINE_SECURITY_INSECURE": "true", **environ}))


@pytest.mark.parametrize("authority", LOOPBACK)
def test_an_installation_on_loopback_answers_to_its_own_names(authority: str) -> None:
    assert authority in hosts()


@pytest.mark.parametrize("authority", OTHERS)
def test_an_installation_on_loopback_answers_to_no_other(authority: str) -> None:
    assert authority not in hosts()


@pytest.mark.parametrize(
    "authority", ["chat.example.com", "CHAT.example.com.:443", "a.b.example.org", "example.org", "[fd00::7]"]
)
def test_a_deployment_answers_to_the_names_that_are_set(authority: str) -> None:
    assert authority in hosts(HOST="0.0.0.0", BRANCHLINE_WEB_HOSTS="chat.example.com,.example.org,fd00:0::7")


@pytest.mark.parametrize(
    "authority", ["localhost", "10.1.2.3", "example.com", "chat.example.com.evil.example", "badexample.org"]
)
def test_a_deployment_answers_to_no_other(authority: str) -> None:
    given = {"BRANCHLINE_WEB_HOSTS": "chat.example.com,.example.org", "API_URL": "http://web:8000"}
    assert authority not in hosts(HOST="0.0.0.0", **given)


def test_workers_reach_a_deployment_by_the_name_in_api_url() -> None:
    names = hosts(BRANCHLINE_WEB_HOSTS="chat.example.com", API_URL="http://Web:8000/")

    assert "web:8000" in names
    assert "127.0.0.1:8000" in hosts(BRANCHLINE_WEB_HOSTS="chat.example.com")


def test_in_a_network_that_is_trusted_any_address_is_answered_but_no_name() -> None:
    names = hosts(HOST="0.0.0.0")

    assert all(authority in names for authority in ("10.1.2.3:8000", "[fd00::7]", "localhost"))
    assert "evil.example" not in names
