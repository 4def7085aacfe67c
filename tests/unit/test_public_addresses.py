"""Servers that users choose: the address that is checked is the one that is connected to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from runtime.sdk import Failure, Run
from runtime.sdk.addresses import is_public, public_address
from runtime.settings import CHECKOUT

PUBLIC, OTHER = "93.184.215.14", "93.184.215.15"
PRIVATE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "192.0.0.192", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
    "2002:7f00:1::", "2001:0:7f00:1::80ff:fffe", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
    "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_the_internet_does_not_reach_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_an_address_that_the_internet_reaches_is_public(address: str) -> None:
    assert is_public(address)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """The answers of a name server: for each name those to one look-up after the other."""
    known: dict[str, list[list[str]]] = {}

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = known[host].pop(0)
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def test_a_name_with_one_private_address_is_refused(names: dict[str, list[list[str]]]) -> None:
    names["mixed.example"] = [[PUBLIC, "10.0.0.1"]]

    with pytest.raises(PermissionError, match="public"):
        public_address("mixed.example", 443)


def test_this_machine_by_a_public_address_is_refused(
    names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names["own.example"] = [["127.0.0.1"]]
    monkeypatch.setattr("runtime.sdk.addresses.is_public", lambda _: True)

    with pytest.raises(PermissionError):
        public_address("own.example", 443)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of openai_worker."""
    from importlib.machinery import SourceFileLoader
    from importlib.util import module_from_spec, spec_from_file_location

    for name in ("OPENAI_BASE_URL", "OPENAI_OTHER_BASE_URLS", "OPENAI_PRIVATE_BASE_URLS", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    folder = CHECKOUT / "workers" / "openai_worker"
    monkeypatch.syspath_prepend(folder)
    path = str(folder / "openai_worker.py")
    spec = spec_from_file_location("openai_worker", path, loader=SourceFileLoader("openai_worker", path))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sent(worker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the client for strangers' servers sends; each is answered by a redirect into a private network."""
    httpx = pytest.importorskip("httpx2")
    requests: list[Any] = []

    def answer(request: Any) -> Any:
        requests.append(request)
        return httpx.Response(307, headers={"Location": "http://169.254.169.254/latest/meta-data/"})

    monkeypatch.setattr(worker._TO_STRANGERS, "_transport_for_url", lambda _: httpx.MockTransport(answer))
    yield requests
    worker._TO_STRANGERS.close()


def ask(worker: ModuleType, url: str) -> str:
    """The error of a run on that server."""

    line = {"config": {"base_url": url}, "messages": [{"role": "user", "content": "Hello"}]}
    run = Run(line, SimpleNamespace(write=lambda _: None))
    with pytest.raises(Failure) as failed:
        list(worker.run(run))
    return str(failed.value)


def test_openai_connects_to_the_address_that_was_checked(
    worker: ModuleType, names: dict[str, list[list[str]]], sent: list[Any]
) -> None:
    names["rebinding.example"] = [[PUBLIC, OTHER], ["127.0.0.1"]]

    said = ask(worker, "https://rebinding.example/v1")

    [request] = sent
    assert request.url.host == PUBLIC
    assert request.headers["host"] == "rebinding.example"
    assert request.extensions["sni_hostname"] == "rebinding.example"
    assert request.headers["authorization"] == "Bearer none"
    assert "307" in said and "169.254" not in said


def test_openai_follows_no_redirect_of_a_server_that_a_user_chose(
    worker: ModuleType, names: dict[str, list[list[str]]], sent: list[Any]
) -> None:
    names["open.example"] = [[PUBLIC]] * 5

    ask(worker, "http://open.example/v1")

    assert [request.url.host for request in sent] == [PUBLIC]


@pytest.mark.parametrize("coding", ["gzip", "gzip, gzip", "br"])
def test_openai_unpacks_no_answer_of_a_server_that_a_user_chose(
    worker: ModuleType, names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch, coding: str
) -> None:
    httpx = pytest.importorskip("httpx2")
    names["packed.example"] = [[PUBLIC]] * 5
    asked: list[Any] = []
    read: list[bytes] = []

    class Body(httpx.SyncByteStream):  # type: ignore[misc,name-defined]
        def __iter__(self) -> Iterator[bytes]:
            read.append(b"x")
            yield b"x"

    def answer(request: Any) -> Any:
        asked.append(request.headers["Accept-Encoding"])
        return httpx.Response(200, headers={"Content-Encoding": coding}, stream=Body())

    monkeypatch.setattr(worker._TO_STRANGERS, "_transport_for_url", lambda _: httpx.MockTransport(answer))

    assert "gave no answer as a server of models does" in ask(worker, "http://packed.example/v1")
    assert set(asked) == {"identity"}
    assert read == []
    worker._TO_STRANGERS.close()
