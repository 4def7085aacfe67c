"""Pool and web process are killed while a run adds many documents: none is lost, no passage is doubled."""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from runtime import settings
from runtime.settings import CHECKOUT
from runtime.store import Database
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.forked import Forks
from tests.support.office import pdf, word
from tests.support.website import Answer, website

WITHIN = 60
BROKEN = "it is broken: Stream has ended unexpectedly"
DOCUMENTS = 1000
KILLED = ("pool", "pool", "web", "web")


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_database_url: str
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    shutil.copytree(CHECKOUT / "workers" / "ingest", home / "workers" / "ingest")
    environ = {
        "BRANCHLINE_RUN_RETRY_BACKOFF": "0",
        "BRANCHLINE_RUN_MAX_ATTEMPTS": "10",
        "BRANCHLINE_POOL_LEASE": "4",
        "BRANCHLINE_POOL_RENEW": "1",
        "INGEST_PRIVATE_URLS": "true",
        "WORKERS_PATH": f"{CHECKOUT}/tests/workers:{home}/workers",
    }
    with Stack(home, stack_database_url, stack_redis.url, **environ) as stack:
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with_account = stack.client()
    yield with_account
    with_account.close()


def archive(documents: int, word: str = "nothing") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as opened:
        for number in range(documents):
            text = f"# Document {number}\n\nunique{number} {word}\n\n## Below\n\nSecond passage.\n"
            opened.writestr(f"{number:04}.md", text)
    return target.getvalue()


def ingest(client: Client, content: bytes) -> dict[str, Any]:
    uploaded = client.post("/api/files", files={"file": ("all.zip", content)}).raise_for_status().json()
    thread = client.thread()
    body = {
        "input_state_id": thread["root_state_id"],
        "messages": [{"role": "user", "content": "", "files": [uploaded["file"]["id"]]}],
        "worker_id": "ingest",
    }
    asked = client.post(f"/api/threads/{thread['id']}/runs", json=body).raise_for_status()
    run: dict[str, Any] = asked.json()["runs"][0]
    return run


def begun(client: Client, path: str, content: bytes) -> dict[str, Any]:
    """The run of an ingestion of the source at ``path``."""
    uploaded = client.post("/api/files", files={"file": ("all.zip", content)}).raise_for_status().json()
    asked = client.post(f"{path}/ingestions", json={"files": [uploaded["file"]["id"]]}).raise_for_status()
    run: dict[str, Any] = asked.json()["run"]
    return run


def made_source(client: Client) -> str:
    made = client.post("/api/knowledge/sources", json={"name": "documents"}).raise_for_status()
    return f"/api/knowledge/sources/{made.json()['source']['id']}"


def documents(client: Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get(f"{path}/documents", params={"limit": 100, **cursor}).raise_for_status().json()
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


def number_of_documents(client: Client, path: str) -> int:
    return int(client.get(path).raise_for_status().json()["source"]["documents"])


def has_reached(client: Client, path: str, number: int) -> bool:
    """Whether there are so many documents. A killed server leaves workers, which answer until they notice."""
    try:
        return number_of_documents(client, path) >= number
    except httpx.TransportError:
        return False


def stored_passages(stack: Stack, path: str) -> list[tuple[str, int, str]]:
    """Document, position and text of each row, whatever belongs to whom."""
    query = (
        "SELECT d.name, p.position, p.text FROM knowledge_passages p JOIN knowledge_documents d "
        "ON d.id = p.document_id JOIN knowledge_sources s ON s.id = p.source_id WHERE s.id = :source "
        "ORDER BY d.name, p.position"
    )
    source_id = sa.bindparam("source", path.rpartition("/")[2], type_=sa.Uuid(as_uuid=False))
    url = stack.environ["DATABASE_URL"]
    with closing(Database(url, settings.load({"DATABASE_URL": url}).database)) as database:
        rows = database.read(lambda c: c.execute(sa.text(query).bindparams(source_id)).all())
    return [tuple(row) for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7])
def test_killed_processes_lose_and_double_nothing(stack: Stack, client: Client, seed: int) -> None:
    chosen = random.Random(seed)
    path = made_source(client)
    run = ingest(client, archive(DOCUMENTS))
    places = sorted(chosen.sample(range(1, DOCUMENTS - 100), len(KILLED)))
    for reached, process in zip(places, chosen.sample(KILLED, len(KILLED)), strict=True):
        until(lambda reached=reached: has_reached(client, path, reached), WITHIN, "it goes on")
        if process == "pool":
            os.kill(stack.pool_process(), signal.SIGKILL)
        else:
            stack.kill("web")
            stack.mend()
    until(lambda: has_reached(client, path, DOCUMENTS), WITHIN * 2, "it has added all")

    ended = client.wait(run, WITHIN * 2)
    assert ended["run"]["status"] == "success", ended["run"]["error"]
    assert ended["run"]["attempt"] > 1
    names = [f"{one:04}.md" for one in range(DOCUMENTS)]
    assert [one["name"] for one in documents(client, path)] == names
    assert stored_passages(stack, path) == [
        (name, position, text)
        for number, name in enumerate(names)
        for position, text in enumerate([f"unique{number} nothing", "Second passage."])
    ]
    for sample in chosen.sample(range(DOCUMENTS), 20):
        items = client.get("/api/knowledge/search", params={"q": f"unique{sample}", "k": 50}).json()["items"]
        assert [one["document"] for one in items] == [f"{sample:04}.md"]
    again = client.wait(ingest(client, archive(DOCUMENTS)), WITHIN)["messages"][-1]["content"]
    assert again == f"0 documents added to the source 'documents', {DOCUMENTS} documents there already."


def test_documents_are_replaced_and_those_that_are_the_same_are_not(client: Client) -> None:
    path = made_source(client)
    texts = []
    for content in (archive(5, "walnut"), archive(5, "walnut"), archive(5, "pecan")):
        ended = client.wait(ingest(client, content), WITHIN)
        texts.append(ended["messages"][-1]["content"])

    assert texts == [
        "5 documents added to the source 'documents'.",
        "0 documents added to the source 'documents', 5 documents there already.",
        "5 documents added to the source 'documents'.",
    ]
    for searched, places in (("walnut", 0), ("pecan", 5)):
        items = client.get("/api/knowledge/search", params={"q": searched, "k": 50}).json()["items"]
        assert len(items) == places
    assert Counter(one["passages"] for one in documents(client, path)) == {2: 5}


def test_pdf_and_word_documents_are_converted_in_the_run(client: Client) -> None:
    path = made_source(client)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as opened:
        opened.writestr("cats.pdf", pdf("They eat walnuts.", outline=[("Food", 0)]))
        opened.writestr("dogs.docx", word(("Heading 1", "Dogs"), ("Normal", "They bury walnuts.")))
        opened.writestr("secret.pdf", pdf("x", password="secret"))
    texts = [client.wait(ingest(client, target.getvalue()), WITHIN)["messages"][-1]["content"] for _ in "12"]

    problem = "1 document could not be added.\n- secret.pdf: it is protected by a password"
    assert texts[0] == f"2 documents added to the source 'documents', {problem}"
    assert texts[1] == f"0 documents added to the source 'documents', 2 documents there already, {problem}"
    items = client.get("/api/knowledge/search", params={"q": "walnuts"}).json()["items"]
    assert {one["document"]: one["titles"] for one in items} == {
        "cats.pdf": ["Food", "Page 1"],
        "dogs.docx": ["Dogs"],
    }
    assert len(documents(client, path)) == 2


def test_a_folder_and_a_page_are_added_by_the_command(
    stack: Stack, client: Client, forks: Forks, tmp_path: Path
) -> None:
    token = client.post("/api/tokens").json()["token"]["secret"]

    def kb(*arguments: str) -> list[str]:
        done = forks.call(("kb", *arguments), {**stack.environ, "BRANCHLINE_TOKEN": token})
        assert done.stderr == ""
        return [line for line in done.stdout.splitlines() if not line.startswith("Waiting for a pool")]

    (tmp_path / "in").mkdir()
    (tmp_path / "a.md").write_text("# Text\n\nWalnuts.")
    (tmp_path / "in" / "cats.pdf").write_bytes(pdf("They eat walnuts."))
    (tmp_path / "dogs.docx").write_bytes(word(("Heading 1", "Dogs"), ("Normal", "They bury walnuts.")))
    (tmp_path / "x.pdf").write_bytes(b"%PDF-1.4")
    first, again = (kb("add", str(tmp_path), "--source", "documents") for _ in range(2))
    assert first[:3] == ["[1/4] a.md: 1 passage", "[2/4] dogs.docx: added", "[3/4] x.pdf: failed: " + BROKEN]
    assert first[3:] == ["[4/4] in/cats.pdf: added", "1 of 4 documents could not be added."]
    assert again[:2] == ["[1/4] a.md: unchanged", "[2/4] dogs.docx: unchanged"]

    with website() as site:
        site.pages["/walnuts"] = Answer(b"<h1>Page</h1>Walnuts.", headers={"ETag": '"1"'})
        pages = [kb("add", f"{site.url}/walnuts", "--source", "documents") for _ in range(2)]
        assert pages == [[f"[1/1] {site.url}/walnuts: {end}"] for end in ("added", "unchanged")]
        assert [headers.get("If-None-Match") for path, headers in site.asked if path == "/walnuts"] == [
            None,
            '"1"',
        ]
    found = {one["document"] for one in client.get("/api/knowledge/search?q=walnuts").json()["items"]}
    assert found == {"a.md", "dogs.docx", "in/cats.pdf", f"{site.url}/walnuts"}
    assert client.get("/api/threads").json()["items"] == []


def test_a_run_that_is_cancelled_keeps_what_it_has_added(client: Client) -> None:
    path = made_source(client)
    run = begun(client, path, archive(2000))
    until(lambda: number_of_documents(client, path) >= 3, WITHIN, "it has begun")

    client.post(f"/api/runs/{run['id']}/cancel", json={"wait": True}).raise_for_status()

    assert client.wait(run, WITHIN)["run"]["status"] == "cancelled"
    assert 3 <= number_of_documents(client, path) < 2000
    [listed] = client.get(f"{path}/ingestions").json()["items"]
    assert (listed["run"]["status"], listed["failed"]) == ("cancelled", 0)
    assert 3 <= listed["added"] <= number_of_documents(client, path)


def test_the_ingestions_of_a_source_are_listed_with_what_has_become_of_their_documents(
    client: Client,
) -> None:
    path = made_source(client)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as opened:
        opened.writestr("a.md", "# A")
        opened.writestr("b.pdf", b"%PDF-")
    runs = [begun(client, path, target.getvalue()) for _ in "12"]
    for run in runs:
        client.wait(run, WITHIN)

    first = client.get(f"{path}/ingestions", params={"limit": 1}).raise_for_status().json()
    second = client.get(f"{path}/ingestions", params={"cursor": first["next"]}).json()
    listed = first["items"] + second["items"]
    assert [one["run"]["id"] for one in listed] == [run["id"] for run in reversed(runs)]
    assert sorted((one["added"], one["unchanged"], one["failed"]) for one in listed) == [(0, 1, 1), (1, 0, 1)]
    [problem] = listed[0]["problems"]
    files = client.get(f"/api/files/{problem['file']}").json()["file"]
    assert (problem["name"], problem["problem"], problem["url"]) == ("b.pdf", BROKEN, None)
    assert files["name"] == "all.zip"
    client.delete(f"/api/threads/{runs[0]['thread_id']}").raise_for_status()
    assert len(client.get(f"{path}/ingestions").json()["items"]) == 1


def test_without_the_source_each_document_says_so(client: Client) -> None:
    ended = client.wait(ingest(client, archive(1)), WITHIN)

    assert "0000.md: There is no source of this name." in ended["messages"][-1]["content"]
