"""The browser interface as it is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.web import Client
from web import pages


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small interface in place of the real one."""
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>The interface</title>")
    (folder / "assets" / "index-1a2b.js").write_text("plain")
    (folder / "assets" / "index-1a2b.js.gz").write_bytes(b"packed")
    monkeypatch.setattr(pages, "_BUILT", folder)
    return folder


THREAD = "/t/01990000-0000-7000-8000-000000000000"
STATE = "01990000-0000-7000-8000-000000000001"


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    "path",
    ["/", "/login", "/settings", THREAD, f"{THREAD}/s/{STATE}", f"{THREAD}/map/{STATE}", "/t/nonsense"],
)
def test_every_address_of_the_interface_is_answered_with_its_page(nobody: Client, path: str) -> None:
    answer = nobody.get(path)

    assert "The interface" in answer.text
    assert answer.headers["Cache-Control"] == "no-cache"
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("path", ["/api/nothing", "/nonsense", "/t", "/ui/assets/none.js"])
def test_an_unknown_address_is_answered_with_a_problem_document(nobody: Client, path: str) -> None:
    answer = nobody.get(path)

    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("accepted", "content"), [("gzip", b"packed"), ("identity", b"plain")])
def test_files_are_cached_for_a_year_and_sent_as_compressed_at_build_time(
    nobody: Client, accepted: str, content: bytes
) -> None:
    with nobody.get("/ui/assets/index-1a2b.js", headers={"Accept-Encoding": accepted}) as answer:
        assert answer.data == content
        assert answer.mimetype == "text/javascript"
        assert answer.headers.get("Content-Encoding") == ("gzip" if accepted == "gzip" else None)
        assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("file", "kept"),
    [("agent-chat-panel.js", "no-cache"), ("assets/src-1a2b.js", "immutable")],
    ids=["by its name", "by its content"],
)
def test_scripts_of_the_panel_are_for_pages_of_any_origin(
    nobody: Client, built: Path, file: str, kept: str
) -> None:
    (built / "panel" / "assets").mkdir(parents=True)
    (built / "panel" / file).write_text("plain")

    with nobody.get(f"/static/panel/{file}", headers={"Origin": "https://app.example.com"}) as answer:
        assert (answer.data, answer.mimetype) == (b"plain", "text/javascript")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert kept in answer.headers["Cache-Control"]


def test_the_page_says_how_to_build_the_interface_when_it_is_not_built(
    nobody: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_BUILT", tmp_path)

    assert "make ui" in nobody.get("/").text
