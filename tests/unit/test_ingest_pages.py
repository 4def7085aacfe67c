"""How the worker ``ingest`` reads pages of the web: which, how far, and from whom."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from runtime.sdk.errors import Failure
from runtime.sdk.testing import execute
from runtime.settings import CHECKOUT
from tests.support.office import pdf
from tests.support.website import Answer, Website, website

WORKER = CHECKOUT / "workers" / "ingest"
PAGE = Answer(b"<h1>Cats</h1><p>They purr.")
GZIP = {"Content-Encoding": "gzip"}


@pytest.fixture
def site() -> Iterator[Website]:
    with website() as site:
        yield site


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(WORKER))
    import web_page

    return web_page


@pytest.fixture
def reader(pages: Any) -> Any:
    """Reads pages from this machine, too."""
    return pages.Reader(True, 2 << 20, 1 << 20)


@pytest.fixture
def problem(reader: Any, site: Website) -> Callable[[str], str]:
    def told(path: str) -> str:
        with pytest.raises(Failure) as failed:
            reader.read(site.url + path)
        return str(failed.value)

    return told


def test_a_page_is_read_as_what_its_server_says(reader: Any, site: Website) -> None:
    site.pages = {
        "/cats.md": PAGE,
        "/notes": Answer(b"# Cats", "text/markdown; charset=utf-8"),
        "/old": Answer("Café".encode("latin-1"), "text/plain; charset=ISO-8859-1"),
        "/paper": Answer(pdf("Cats."), "application/octet-stream"),
        "/packed": Answer(gzip.compress(b"Cats." * 99_999), "text/plain", headers=GZIP),
        "/long": Answer(status=302, headers={"Location": f"/cats.md?signature={'x' * 2000}"}),
        f"/cats.md?signature={'x' * 2000}": PAGE,
    }
    read = [reader.read(site.url + path) for path in list(site.pages)[:6]]

    assert [one.kind for one in read[:4]] == ["html", "markdown", None, None]
    assert read[2].data.decode() == "Café"
    assert read[3].data.startswith(b"%PDF-")
    assert read[4].data == b"Cats." * 99_999
    assert read[5].data == PAGE.body
    assert {headers["User-Agent"].partition(" ")[0] for _, headers in site.asked} == {"Branchline"}


def test_a_page_that_has_not_changed_is_not_sent_again(reader: Any, site: Website) -> None:
    site.pages = {
        "/to": Answer(status=302, headers={"Location": "/a", "ETag": '"1"'}),
        "/a": Answer(b"Cats.", headers={"ETag": '"1"'}),
    }
    first = reader.read(f"{site.url}/to")
    assert first.data == b"Cats."
    assert reader.read(f"{site.url}/to", first.validator) is None

    site.pages["/a"] = Answer(b"Dogs.", headers={"ETag": '"2"'})
    assert reader.read(f"{site.url}/to", first.validator).data == b"Dogs."


@pytest.mark.parametrize(
    "validator",
    [
        "abc",
        "5",
        "[]",
        '{"url": "%s/a", "If-None-Match": 5}',
        '{"url": "%s/a", "If-None-Match": "a\\r\\nb"}',
        '{"url": "%s/a", "If-None-Match": "é"}',
    ],
    ids=["text", "number", "list", "no text", "two lines", "accent"],
)
def test_a_validator_that_another_worker_has_made_breaks_nothing(
    reader: Any, site: Website, validator: str
) -> None:
    site.pages = {"/a": PAGE}

    assert reader.read(f"{site.url}/a", validator.replace("%s", site.url)).data == PAGE.body


def test_robots_txt_is_asked_once_and_honoured(
    reader: Any, site: Website, problem: Callable[[str], str]
) -> None:
    rules = b"User-agent: *\nAllow: /\n\nUser-agent: Branchline\nDisallow: /private\nAllow: /private/*.txt$\n"
    site.pages = {"/robots.txt": Answer(rules, "text/plain"), "/a": PAGE, "/private/b.txt": PAGE}
    site.pages["/to"] = Answer(status=302, headers={"Location": "/private/b"})

    assert [reader.read(site.url + path).data for path in ("/a", "/private/b.txt")] == [PAGE.body] * 2
    assert "robots.txt" in problem("/private/b")
    assert "robots.txt" in problem("/to")
    assert site.paths == ["/robots.txt", "/a", "/private/b.txt", "/to"]


def test_without_an_answer_to_what_is_allowed_nothing_is_read(
    site: Website, problem: Callable[[str], str]
) -> None:
    site.pages = {"/robots.txt": Answer(status=503), "/a": PAGE}

    assert "robots.txt has 503" in problem("/a")
    assert site.paths == ["/robots.txt"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(status=404), "404"),
        (Answer(b"\x89PNG", "image/png"), "image/png"),
        (Answer(bytes((1 << 20) + 1)), "larger than 1 MiB"),
        (Answer(gzip.compress(bytes(3 << 20)), headers=GZIP), "larger than 1 MiB"),
        (Answer(b"x", headers={"Content-Encoding": "gzip, gzip"}), "not asked for"),
        (Answer(gzip.compress(b"Cats.")[:-9], headers=GZIP), "cut off"),
        (Answer(b"Cats.", headers=GZIP), "cannot be reached"),
        (Answer(status=302, headers={"Location": "http://example..com/"}), "cannot be reached"),
        (Answer(status=302, headers={"Location": "http://xn--a/"}), "cannot be reached"),
        (Answer(status=302, headers={"Location": "/page"}), "from one address to the next"),
        (Answer(status=302, headers={"Location": "file:///etc/passwd"}), "not an address of the web"),
        (Answer(status=302, headers={"Location": "http://x:y@127.0.0.1/"}), "a name or a password"),
        (Answer(status=302, headers={"Location": "http://127.0.0.1:1/"}), "cannot be reached"),
        (Answer(b"x", headers={"Content-Length": "9"}), "cannot be reached"),
    ],
    ids=[
        "404",
        "picture",
        "large",
        "bomb",
        "bombs",
        "cut gzip",
        "no gzip",
        "dots",
        "name",
        "loop",
        "file",
        "password",
        "closed",
        "cut off",
    ],
)
def test_what_cannot_be_read_says_why(
    site: Website, problem: Callable[[str], str], answer: Answer, told: str
) -> None:
    site.pages["/page"] = answer
    assert told in problem("/page")


def test_a_server_that_never_ends_is_left(
    pages: Any, site: Website, problem: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SECONDS", 0.3)
    site.pages["/page"] = Answer(endless=True)

    assert "not answered within" in problem("/page")


def test_this_machine_and_private_networks_are_not_asked(pages: Any, site: Website) -> None:
    reader = pages.Reader(False, 1 << 20, 1 << 20)
    for address in (site.url, site.url.replace("127.0.0.1", "localhost"), "http://[::ffff:10.0.0.1]/"):
        with pytest.raises(Failure, match="not at a public address"):
            reader.read(address)
    assert site.asked == []


def test_a_server_is_connected_to_at_the_address_that_was_checked(
    pages: Any, site: Website, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = site.url.rpartition(":")[2]
    site.pages = {"/": PAGE, "/inside": Answer(status=302, headers={"Location": f"{site.url}/"})}
    real = pages.public_address
    monkeypatch.setattr(
        pages,
        "public_address",
        lambda host, port: "127.0.0.1" if host == "site.invalid" else real(host, port),
    )
    reader = pages.Reader(False, 1 << 20, 1 << 20)

    assert reader.read(f"http://site.invalid:{port}/").data == PAGE.body
    assert {headers["Host"] for _, headers in site.asked} == {f"site.invalid:{port}"}
    with pytest.raises(Failure, match="not at a public address"):
        reader.read(f"http://site.invalid:{port}/inside")


def test_the_addresses_of_a_message_are_added(site: Website, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGEST_PRIVATE_URLS", "true")
    site.pages = {"/a": PAGE, "/Inc.": Answer(pdf("Dogs."), "application/pdf")}
    result = execute(WORKER, f"Add {site.url}/a#top, {site.url}/a. And ({site.url}/none)!\n<{site.url}/Inc.>")

    first, *failed = result.text.splitlines()
    assert first == "2 documents added to the source 'documents', 1 document could not be added."
    assert failed == [f"- {site.url}/none: it was answered with 404 Not Found"]
    [told] = result.messages[-1].data["failed"]
    url = f"{site.url}/none"
    assert told == {"name": url, "url": url, "problem": "it was answered with 404 Not Found"}


def test_another_validator_of_a_page_that_is_the_same_is_kept(
    pages: Any, site: Website, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ingest

    monkeypatch.setenv("INGEST_PRIVATE_URLS", "true")
    seen: list[Any] = []

    def twice(run: Any) -> None:
        for etag in ("1", "2", "2"):
            site.asked.clear()
            for path, answer in (("/a", PAGE), ("/b", Answer(pdf("Dogs."), "application/pdf"))):
                site.pages[path] = replace(answer, headers={"ETag": f'"{etag}"'})
            done = [ingest._add(run, "documents", one) for one in ingest._pages(run.messages[0].content)]
            there = [run.find_document("documents", site.url + path) for path in ("/a", "/b")]
            etags = [json.loads(one.validator)["If-None-Match"] for one in there]
            asked = [headers.get("If-None-Match") for path, headers in site.asked if path in ("/a", "/b")]
            seen.append(([one["changed"] for one in done], etags, asked))

    result = execute(twice, f"{site.url}/a {site.url}/b")
    assert result.error is None, result.error
    assert seen == [
        ([True, True], ['"1"', '"1"'], [None, None]),
        ([False, False], ['"2"', '"2"'], ['"1"', '"1"']),
        ([False, False], ['"2"', '"2"'], ['"2"', '"2"']),
    ]
