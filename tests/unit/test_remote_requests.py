"""Requests of a machine elsewhere to a server that is killed in the middle of its answer."""

from __future__ import annotations

import pytest

from runtime.sdk.remote.api import Api, Refused, Unreachable
from runtime.sdk.remote.connections import Connections
from tests.support.cut_answers import answering


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"HTT", id="in-the-status"),
        pytest.param(b"nothing of HTTP\r\n\r\n", id="no-http"),
        pytest.param(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"a"', id="in-the-body"),
        pytest.param(b'HTTP/1.1 503 Away\r\nContent-Length: 100\r\n\r\n{"de', id="in-an-error"),
    ],
)
def test_an_answer_that_is_cut_off_is_asked_for_again(sent: bytes) -> None:
    with answering(sent) as url, pytest.raises(Unreachable):
        Api(Connections(url), "", "secret").get("/claims", 3)


def test_a_refusal_whose_reason_is_cut_off_is_a_refusal() -> None:
    sent = b'HTTP/1.1 401 No\r\nContent-Length: 100\r\n\r\n{"de'
    with answering(sent) as url, pytest.raises(Refused) as refused:
        Api(Connections(url), "", "secret").get("/claims", 3)
    assert refused.value.status == 401


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"40\r\nevent: end\ndata: {}\n\nevent", id="in-a-chunk"),
        pytest.param(b"15\r\nevent: end\ndata: {}\n\n\r\n4", id="in-the-size-of-a-chunk"),
    ],
)
def test_a_stream_that_is_cut_off_is_asked_for_again(sent: bytes) -> None:
    sent = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + sent
    with answering(sent) as url, pytest.raises(Unreachable):
        list(Api(Connections(url), "", "secret").events("/commands"))
