"""An installation below BASE_PATH: everything it serves is there, and so are the addresses in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from runtime.settings import Settings, load
from runtime.testing.client import PASSWORD
from tests.support.contract import Contract
from tests.support.web import Client
from web import pages

BASE = "/branchline"
PREVIOUS = "the key before, that is long enough too"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """The database is not the subject here."""
    return sqlite_url


@pytest.fixture
def web_settings(web_environ: dict[str, str]) -> Settings:
    return load({**web_environ, "BASE_PATH": BASE, "BRANCHLINE_SECURITY_SECRET_KEY_PREVIOUS": PREVIOUS})


class Outside(Client):
    """A client that names whole paths, as a proxy passes them on."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Send a request to the host, not to what is mounted there."""
        return super().open(*args, base_url="http://localhost/", **kwargs)


@pytest.fixture
def nobody(app: Flask) -> Client:
    Client.contract = Contract(app)
    app.test_client_class = Outside
    return app.test_client()


def sign_in(client: Client, email: str = "ada@example.com") -> TestResponse:
    body = {"email": email, "password": PASSWORD}
    answer = client.post(f"{BASE}/api/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    return answer


def addresses(page: str) -> list[str]:
    """What a page refers to on its own host."""
    return re.findall(r'(?:href|src)="(/[^"]*)"', page)


def test_the_cookie_is_for_the_base_path_only(nobody: Client) -> None:
    set_at_sign_in = sign_in(nobody).headers.getlist("Set-Cookie")
    assert nobody.get(f"{BASE}/api/me").status_code == 200

    deleted = nobody.post(f"{BASE}/api/auth/logout").headers.getlist("Set-Cookie")
    assert nobody.get(f"{BASE}/api/me").status_code == 401
    assert [cookie.partition("=")[0] for cookie in deleted] != []
    assert len(deleted) == 2  # by the name of each key
    assert all(f"; Path={BASE}" in f"{cookie};" for cookie in set_at_sign_in + deleted)
    assert not any(cookie.endswith("Path=/") or "Path=/;" in cookie for cookie in set_at_sign_in + deleted)


def test_what_was_created_is_found_where_the_answer_says(nobody: Client) -> None:
    sign_in(nobody)
    made = nobody.post(f"{BASE}/api/threads", json={})
    thread = made.json["thread"]
    state = nobody.post(
        f"{BASE}/api/threads/{thread['id']}/states",
        json={"parent_id": thread["root_state_id"], "messages": [{"role": "user", "content": "Hello"}]},
    )
    run = nobody.post(
        f"{BASE}/api/runs", json={"worker_id": "parrot", "messages": [{"role": "user", "content": "Hello"}]}
    )

    for answer in (made, state, run):
        where = answer.headers["Location"]
        assert where.startswith(f"{BASE}/api/"), where
        assert nobody.get(where).status_code == 200


def test_an_address_with_too_many_slashes_is_redirected_below_the_base_path(nobody: Client) -> None:
    answer = nobody.get(f"{BASE}/api//me", headers={"X-Forwarded-Prefix": "/evil", "X-Script-Name": "/evil"})

    assert answer.status_code == 308
    assert answer.headers["Location"] == f"http://localhost{BASE}/api/me"


def test_the_document_and_its_page_name_the_base_path(nobody: Client) -> None:
    assert nobody.get(f"{BASE}/api/openapi.json").json["servers"] == [{"url": BASE}]

    named = addresses(nobody.get(f"{BASE}/api/docs").text)
    assert len(named) > 4
    for address in named:
        with nobody.get(address) as answer:
            assert (address.startswith(f"{BASE}/"), answer.status_code) == (True, 200), address


def test_the_front_page_refers_to_what_is_below_the_base_path(
    nobody: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_BUILT", tmp_path)
    for path in (BASE, f"{BASE}/"):
        page = nobody.get(path).text
        assert f"API=http://localhost{BASE}/api " in page
        named = addresses(page)
        assert len(named) > 4
        for address in named:
            with nobody.get(address) as answer:
                assert address.startswith(f"{BASE}/") and answer.status_code in (200, 503), address


@pytest.mark.parametrize("path", [BASE, f"{BASE}/", f"{BASE}/t/x/s/y"])
def test_the_interface_is_built_once_for_any_path(
    nobody: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "index-1a2b.js").write_text("plain")
    (tmp_path / "assets" / "index-1a2b.js.gz").write_bytes(b"packed")
    page = '<link href="/static/mark.svg"><script src="/ui/assets/index-1a2b.js"></script><p id="app"></p>'
    (tmp_path / "index.html").write_text(page)
    monkeypatch.setattr(pages, "_BUILT", tmp_path)

    served = nobody.get(path).text
    assert served == page.replace("/static/", f"{BASE}/static/").replace("/ui/", f"{BASE}/ui/")
    for accepted, content in (("gzip", b"packed"), ("identity", b"plain")):
        with nobody.get(addresses(served)[1], headers={"Accept-Encoding": accepted}) as answer:
            assert (answer.data, answer.mimetype) == (content, "text/javascript")
    assert nobody.get(f"{BASE}/ui/index.html").status_code == 404


@pytest.mark.parametrize(
    "path", ["/", "/login", "/api/me", "/api/openapi.json", "/static/mark.svg", f"{BASE}x", f"/x{BASE}/"]
)
def test_an_address_outside_is_answered_with_where_it_is(nobody: Client, path: str) -> None:
    answer = nobody.get(path)

    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    assert f"Branchline is at {BASE}/ " in answer.json["detail"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize("base", ["", BASE])
def test_probes_are_answered_below_the_path_and_without_it(nobody: Client, base: str, path: str) -> None:
    answer = nobody.get(f"{base}{path}", headers={"Host": "10.1.2.3"})

    assert answer.status_code in (200, 503)  # there is no broker
    assert answer.json is None or answer.json["status"] in ("ok", "ready", "not ready")


def test_another_host_is_refused_outside_as_well(nobody: Client) -> None:
    for path in ("/", f"{BASE}/"):
        assert nobody.get(path, headers={"Host": "evil.example"}).status_code == 421
