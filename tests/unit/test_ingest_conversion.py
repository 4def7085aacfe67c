"""What the worker ``ingest`` makes of PDF and Word documents, hostile ones among them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from runtime.knowledge import html
from runtime.sdk.errors import Failure
from runtime.settings import CHECKOUT
from tests.support.office import pdf, plain, repacked, word

ENTITIES = (
    b"""<!DOCTYPE d [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>"""
)


Read = tuple[str | None, list[tuple[tuple[str, ...], str]]]


@pytest.fixture
def conversion(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What converts in another process."""
    monkeypatch.syspath_prepend(str(CHECKOUT / "workers" / "ingest"))
    import conversion

    return conversion


@pytest.fixture
def convert(conversion: Any) -> Callable[..., dict[str, str]]:
    """Converts in this process, which is faster."""
    from convert import converted

    return lambda content, largest=1 << 20: converted(conversion.form_of(content), content, largest)


@pytest.fixture
def read(convert: Callable[..., dict[str, str]]) -> Callable[[bytes], Read]:
    """The title and the sections, as the knowledge base reads what a document was converted to."""

    def sections(content: bytes) -> Read:
        title, found = html.sections(convert(content)["html"])
        return title, [(one.titles, one.text) for one in found]

    return sections


def test_a_pdf_has_its_pages_below_the_headings_of_its_outline(read: Any) -> None:
    first = "Cats & dogs\nAnimals that live with peo-\nple <here>.\n1.1 Food\nMice."
    document = pdf(first, "More mice.", "", outline=[("Cats & dogs", 0), ("Food", 0)], title="Pets")

    assert read(document) == (
        "Pets",
        [
            (("Cats & dogs", "Page 1"), "Animals that live with people <here>."),
            (("Cats & dogs", "Food", "Page 1"), "Mice."),
            (("Cats & dogs", "Food", "Page 2"), "More mice."),
        ],
    )


def test_a_pdf_without_an_outline_has_pages_only(read: Any) -> None:
    assert read(pdf("One.", "Two.")) == (None, [(("Page 1",), "One."), (("Page 2",), "Two.")])


def test_a_pdf_that_anybody_may_open_is_read_though_it_is_encrypted(read: Any) -> None:
    assert read(pdf("Open.", password="", owner="secret"))[1] == [(("Page 1",), "Open.")]


def test_a_word_document_has_headings_by_its_styles(read: Any) -> None:
    table = [["Animal", "Eats"], ["Cat", "Mice & milk"]]
    document = word(
        ("Title", "Pets"), ("Normal", "All of them."), ("Heading 1", "Cats"), ("Heading 2", "Food"), table,
        ("Heading 1", "Dogs"), ("List Bullet", "bark"), ("List Bullet", "run\naway"),
    )  # fmt: skip

    assert read(document)[1] == [
        (("Pets",), "All of them."),
        (("Pets", "Cats", "Food"), "Animal Eats\n\nCat Mice & milk"),
        (("Pets", "Dogs"), "bark\n\nrun\naway"),
    ]


def many_columns() -> bytes:
    text = word([["x"]])
    with zipfile.ZipFile(io.BytesIO(text)) as archive:
        body = archive.read("word/document.xml")
    wide = body.replace(b"<w:tcPr>", b'<w:tcPr><w:gridSpan w:val="999999999"/>')
    assert wide != body
    return repacked(text, {"word/document.xml": wide})


def with_entities() -> bytes:
    text = word(("Normal", "ENTITY"))
    with zipfile.ZipFile(io.BytesIO(text)) as archive:
        declaration, _, body = archive.read("word/document.xml").partition(b"?>")
    body = declaration + b"?>" + ENTITIES + body.replace(b"ENTITY", b"&b;&c;")
    return repacked(text, {"word/document.xml": body})


BROKEN = {
    "encrypted": (lambda: pdf("x", password="secret"), "is protected by a password"),
    "no text": (lambda: pdf("", ""), "has no text"),
    "cut off": (lambda: b"%PDF-1.4\n1 0 obj<</Type", "is broken: "),
    "not word": (lambda: repacked(word(), {"[Content_Types].xml": b"<x/>"}), "is broken: "),
    "zip bomb": (lambda: repacked(word(), {"word/x.bin": bytes(4 << 20)}), "unpacks to more than 3 MiB"),
    "many pages": (lambda: pdf(*["x"] * 6), "has more than 5 pages"),
    "much text": (lambda: word(*[("Normal", "x" * 600_000)] * 2), "has more than 1 MiB of text"),
}


@pytest.mark.parametrize(("make", "problem"), list(BROKEN.values()), ids=list(BROKEN))
def test_what_cannot_be_read_is_said(
    convert: Any, make: Any, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("word_document.MOST_UNPACKED", 3 << 20)
    monkeypatch.setattr("pdf_document.MOST_PAGES", 5)

    assert convert(make())["problem"].startswith(problem)


@pytest.mark.parametrize(
    "make", [lambda: plain(b"BT " + b"(x) Tj " * 2_000_000 + b"ET"), many_columns], ids=["text", "columns"]
)
def test_what_takes_for_ever_is_ended(conversion: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "SECONDS", 1)
    content = make()

    with pytest.raises(Failure, match=r"it (could not be read within|needs more memory)"):
        conversion.convert(content, conversion.form_of(content))


def test_no_entity_of_a_word_document_is_read(read: Any) -> None:
    assert read(with_entities())[1] in ([], [((), "")])


def test_without_its_library_a_document_says_what_to_install(
    conversion: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "pypdf.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(Failure, match=r"needs the library pypdf.*branchline\[workers\]"):
        conversion.convert(pdf("x"), "pdf")
