"""``run.search`` in the SDK: among the passages of a test, and over the API."""

from __future__ import annotations

import pytest

from runtime.sdk import Run, requests
from runtime.sdk.errors import Failure
from runtime.sdk.knowledge import add, find, search
from runtime.sdk.testing import execute
from tests.support.cut_answers import answering

PASSAGES = [
    {"text": "Cats eat mice.", "titles": ["Cats", "Food"], "source": "pets", "document": "cats.md"},
    {"text": "Dogs eat bones.", "source": "pets", "document": "dogs.md"},
    {"text": "Cats sleep, eat and purr.", "source": "other", "document": "more.md"},
]


def finds(run: Run) -> str:
    found = run.search(run.messages[-1].content, k=2, source=run.args)
    return " | ".join(f"{one.document} {one.titles} {one.text}" for one in found)


@pytest.mark.parametrize(
    ("query", "source", "expected"),
    [
        (
            "what do cats eat",
            None,
            "cats.md ['Cats', 'Food'] Cats eat mice. | more.md [] Cats sleep, eat and purr.",
        ),
        ("bones", None, "dogs.md [] Dogs eat bones."),
        ("purr", "pets", ""),
        ("food", "pets", "cats.md ['Cats', 'Food'] Cats eat mice."),
        ("*", None, ""),
    ],
    ids=["best first", "one", "elsewhere", "title", "no word"],
)  # fmt: skip
def test_a_search_of_a_test_is_among_its_passages(query: str, source: str | None, expected: str) -> None:
    assert execute(finds, query, args=source, passages=PASSAGES).text == expected


def test_without_passages_nothing_is_found() -> None:
    assert execute(finds, "cats").text == ""


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
REFUSED = b'{"type": "urn:branchline:problem:forbidden", "detail": "It is no grant."}'
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%b"
AWAY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n%b"
MOVED = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRANCHLINE_RUN_TOKEN", "a token")
    monkeypatch.setenv("BRANCHLINE_RUN_ID", "a-run")


@pytest.mark.usefixtures("served")
def test_a_search_of_a_run_is_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"items": [{"text": "Cats purr.", "document": "cats.md", "titles": ["Cats"], "score": 0.5}]}'
    with answering(OK % (len(body), body)) as url:
        monkeypatch.setenv("BRANCHLINE_API_URL", url)
        [found] = search("do cats purr?", 5, "pets", ())

    assert (found.text, found.document, found.titles, found.score) == ("Cats purr.", "cats.md", ["Cats"], 0.5)


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("answer", "reason", "retryable"),
    [
        (FORBIDDEN % (len(REFUSED), REFUSED), "It is no grant.", False),
        (FORBIDDEN % (4, b"<h1>"), "something in between answered 403", True),
        (MOVED, "answered 302, which leads to http://127.0.0.1:9/", True),
        (OK % (500, b"{"), "cut off", True),
    ],
    ids=["refused", "by a proxy", "moved", "cut off"],
)
def test_a_search_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, reason: str, retryable: bool
) -> None:
    with answering(answer) as url:
        monkeypatch.setenv("BRANCHLINE_API_URL", url)
        monkeypatch.setattr(requests, "_AWAY", 0)
        with pytest.raises(Failure, match=reason) as failed:
            search("cats", 5, None, ())

    assert failed.value.retryable is retryable


@pytest.mark.usefixtures("served")
def test_a_document_is_added_once_the_server_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"document": {}, "changed": true}'
    with answering(b"", OK % (500, b"{"), AWAY % (4, b"<h1>"), OK % (len(body), body)) as url:
        monkeypatch.setenv("BRANCHLINE_API_URL", url)
        monkeypatch.setattr(requests, "_PAUSE", 0.001)
        assert add("pets", "fish.md", "Fish swim.", [])


@pytest.mark.usefixtures("served")
def test_a_proxy_that_is_to_be_spoken_to_by_tls_is_sent_nothing_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "https://127.0.0.1:9")
    monkeypatch.setenv("BRANCHLINE_API_URL", "https://chat.example")
    with pytest.raises(Failure, match="is to be spoken to by TLS") as failed:
        search("cats", 5, None, ())
    assert not failed.value.retryable


def adds(run: Run) -> str:
    told = [run.add_document("pets", "fish.md", text) for text in ("Fish swim.", b"Fish swim.", "Fish dive.")]
    found = [[one.text for one in run.search(query)] for query in ("swim", "dive")]
    return f"{told} {found}"


def test_what_a_test_adds_is_found_and_the_same_is_not_added_again() -> None:
    assert execute(adds, passages=PASSAGES).text == "[True, False, True] [[], ['Fish dive.']]"


def converts(run: Run) -> str:
    told = []
    for digest in ("a" * 64, "a" * 64, "b" * 64):
        there = run.find_document("pets", "fish.pdf")
        told.append(there and there.digest[:1])
        told.append(run.add_document("pets", "fish.pdf", digest, kind="html", digest=digest))
    return str(told)


def test_a_test_knows_a_document_by_the_digest_of_what_it_was_made_of() -> None:
    assert execute(converts).text == "[None, True, 'a', False, 'a', True]"


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("body", "digest"),
    [(b'{"document": null}', None), (b'{"document": {"digest": "abc"}}', "abc")],
    ids=["none", "one"],
)
def test_a_document_is_asked_for_by_its_name(
    monkeypatch: pytest.MonkeyPatch, body: bytes, digest: str | None
) -> None:
    with answering(OK % (len(body), body)) as url:
        monkeypatch.setenv("BRANCHLINE_API_URL", url)
        found = find("pets", "fish.pdf", [])

    assert (found and found.digest) == digest


@pytest.mark.usefixtures("served")
def test_whether_a_document_was_new_is_what_the_server_says(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"document": {}, "changed": false}'
    with answering(OK % (len(body), body)) as url:
        monkeypatch.setenv("BRANCHLINE_API_URL", url)
        assert not add("my pets", "a/b.md", "# B", [])
