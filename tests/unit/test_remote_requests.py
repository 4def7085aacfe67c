"""Requests of a machine elsewhere that are not answered to the end, or refused, or by something else."""

from __future__ import annotations

from contextlib import closing

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


OURS = b'{"type": "urn:branchline:problem:over", "detail": "It is over."}'
PAGE = b"<h1>Sign in</h1>"


def answer(head: bytes, content: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (head, len(content), content)


@pytest.mark.parametrize("stream", [False, True], ids=["answer", "stream"])
@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        pytest.param(answer(b"301 Moved\r\nLocation: http://a/", b""), "301, which leads to", id="moved"),
        pytest.param(answer(b"401 No", PAGE), "something in between answered 401", id="sign-in"),
        pytest.param(answer(b"404 No", b'{"detail": "No route"}'), "answered 404", id="route"),
        pytest.param(answer(b"408 Slow", PAGE), "answered 408", id="slow"),
        pytest.param(answer(b"425 Early", PAGE), "answered 425", id="early"),
        pytest.param(answer(b"408 Slow", OURS), "It is over.", id="slow-for-the-server"),
        pytest.param(answer(b"429 Often", OURS), "It is over.", id="too-often"),
        pytest.param(b"HTTP/1.1 401 No\r\nContent-Length: 100\r\n\r\n" + OURS[:40], "401", id="cut-off"),
    ],
)  # fmt: skip
def test_what_is_not_the_servers_last_word_is_asked_again(sent: bytes, reason: str, stream: bool) -> None:
    with answering(sent) as url, closing(Connections(url)) as server:
        api = Api(server, "", "secret")
        with pytest.raises(Unreachable, match=reason):
            list(api.events("/commands")) if stream else api.get("/claims", 3)


@pytest.mark.parametrize(
    ("status", "content"),
    [(401, OURS), (404, OURS), (409, OURS), (422, OURS), (413, PAGE)],
    ids=["unauthenticated", "not-found", "conflict", "invalid", "too-large-for-a-proxy"],
)
def test_what_the_server_refuses_is_refused(status: int, content: bytes) -> None:
    sent = answer(b"%d No" % status, content)
    with answering(sent) as url, closing(Connections(url)) as server, pytest.raises(Refused) as refused:
        Api(server, "", "secret").get("/claims", 3)
    assert refused.value.status == status


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
