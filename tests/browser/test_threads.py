"""The list of threads: titles, labels, export and import, and ten thousand of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from runtime import settings as settings_module
from runtime.model import new_id
from runtime.store import Database, users
from runtime.store.tables import messages, states, threads
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.browser import Visitor, turn, write
from tests.support.more_workers import with_workers

THREADS = 10_000


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer) -> Iterator[Stack]:
    """The stack, with a worker that makes titles."""
    folder = tmp_path_factory.mktemp("stack")
    more = {
        "BRANCHLINE_POOL_DRAIN": "1",
        "BRANCHLINE_RUN_TITLE_WORKER": "titler",
        "WORKERS_PATH": with_workers(folder, "titler"),
    }
    with Stack(folder, f"sqlite:///{folder}/branchline.db", stack_redis.url, **more) as stack:
        yield stack


def rows(page: Page) -> Locator:
    return page.get_by_role("navigation", name="Threads").locator(".thread-row")


@pytest.mark.slow
def test_a_thread_is_titled_by_its_first_words_then_by_a_worker(visitor: Visitor) -> None:
    page, other = visitor.page, visitor.tab()
    other.goto(visitor.url)
    page.goto(visitor.url)
    page.bring_to_front()
    write(page, "Tell me of apples")
    name = "On apples and apples"
    for tab in (page, other):
        expect(tab.get_by_role("link", name=name)).to_be_visible()
    expect(page.locator("h1")).to_have_text(name)
    expect(page).to_have_title(re.compile(name))
    expect(page.get_by_role("treeitem")).to_have_count(2)
    expect(rows(other)).to_have_count(1)


def test_labels_and_stars_appear_in_another_tab(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    asked = visitor.answered(thread, "Mark me", text="Gladly")
    page = visitor.open(thread)
    other = visitor.tab()
    other.goto(page.url)
    row = other.get_by_role("treeitem", name=re.compile("Gladly"))
    expect(row).to_be_visible()
    expect(other.get_by_text("Live", exact=True)).to_be_visible()
    page.bring_to_front()

    answer = turn(page, asked["states"][0])
    answer.hover()
    answer.get_by_role("button", name="Star").click()
    expect(other.get_by_role("treeitem", name=re.compile("Gladly, starred"))).to_be_visible()
    answer.hover()
    answer.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Add label").click()
    page.get_by_label("Label", exact=True).fill("The good one")
    page.get_by_role("button", name="Save").click()
    expect(other.get_by_role("treeitem", name=re.compile("The good one, starred"))).to_be_visible()
    expect(turn(other, asked["states"][0]).locator(".marks")).to_contain_text("The good one")


def exported(page: Page, what: str) -> str:
    """What the browser downloads when this is chosen from the thread's menu."""
    page.get_by_role("button", name="Thread actions").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name=what).click()
    return Path(download.value.path()).read_text()


def test_a_branch_and_the_whole_tree_are_exported_and_imported(visitor: Visitor, tmp_path: Path) -> None:
    thread = visitor.client.thread(title="Forked")
    left = visitor.answered(thread, "Question", text="Left")
    visitor.answered(thread, None, left["input_state"]["id"], text="Right")
    page = visitor.open(thread, left["states"][0])
    expect(turn(page, left["states"][0])).to_contain_text("Left")

    path, tree = (
        exported(page, "Export this branch as Markdown"),
        exported(page, "Export the whole tree as Markdown"),
    )
    assert ("Left" in path, "Right" in path) == (True, False)
    assert ("Left" in tree, "Right" in tree, "## Branch 3" in tree) == (True, True, True)
    parts = {
        "path": exported(page, "Export this branch as JSON"),
        "tree": exported(page, "Export the whole tree as JSON"),
    }
    assert [len(json.loads(part)["states"]) for part in parts.values()] == [3, 4]

    for what, states_there in (("tree", 3), ("path", 2)):
        file = tmp_path / f"{what}.json"
        file.write_text(parts[what])
        page.get_by_role("button", name="Account:").click()
        with page.expect_file_chooser() as chooser:
            page.get_by_role("menuitem", name="Import thread").click()
        before = page.url
        chooser.value.set_files(file)
        page.wait_for_url(lambda url, before=before: url.split("/s/")[0] != before.split("/s/")[0])  # type: ignore[misc]
        expect(page.get_by_role("treeitem")).to_have_count(states_there)
    expect(rows(page).filter(has_text="Forked")).to_have_count(3)

    (tmp_path / "no.json").write_text("no export")
    page.get_by_role("button", name="Account:").click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("menuitem", name="Import thread").click()
    chooser.value.set_files(tmp_path / "no.json")
    expect(page.get_by_role("alert")).to_contain_text("it is not valid JSON")


@pytest.mark.slow
def test_a_browser_without_web_locks_works(chromium: Browser, stack: Stack) -> None:
    visitor = Visitor(chromium, stack)
    visitor.context.add_init_script("delete Navigator.prototype.locks; delete window.BroadcastChannel")
    page, other = visitor.page, visitor.tab()
    page.goto(visitor.url)
    assert page.evaluate("'locks' in navigator || 'BroadcastChannel' in window") is False
    write(page, "No locks here")
    expect(page.locator(".turn-answer .prose")).to_have_text("No locks here")
    other.goto(page.url)
    expect(other.get_by_text("Live", exact=True)).to_be_visible()
    write(other, "And again")
    expect(page.get_by_role("treeitem", name=re.compile("And again"))).to_have_count(2)
    expect(page.locator(".turn")).to_have_count(2)
    visitor.leave()


def insert_threads(stack: Stack, user: dict[str, Any]) -> None:
    """Threads with a message each, the newest first in number, straight into the database."""
    settings = settings_module.load(stack.environ)
    database = Database(stack.environ["DATABASE_URL"], settings.database)
    now = datetime.now(UTC)

    def fill(c: Any) -> None:
        workspace_id = users.get(c, user["id"]).workspace_id
        owner = {"workspace_id": workspace_id, "user_id": user["id"], "config": {}, "metadata": {}}
        thread_rows, state_rows, message_rows = [], [], []
        for number in range(THREADS):
            at, thread_id, root, state = now - timedelta(minutes=number + 1), new_id(), new_id(), new_id()
            dates = {"created_at": at, "updated_at": at, "title_wanted": False}
            ends = {"root_state_id": root, "latest_state_id": state, "status": "active"}
            thread_rows.append({"id": thread_id, "title": f"Thread {number}", **owner, **ends, **dates})
            state_rows += [
                {"id": root, "thread_id": thread_id, "parent_id": None, "depth": 0, "ordinal": 0,
                 "children": 1, "created_at": at},
                {"id": state, "thread_id": thread_id, "parent_id": root, "depth": 1, "ordinal": 0,
                 "children": 0, "created_at": at},
            ]  # fmt: skip
            message_rows.append(
                {"id": new_id(), "state_id": state, "position": 0, "role": "user", "type": "text",
                 "channel": "answer", "content": f"Words of number {number}.", "data": {}, "created_at": at}
            )  # fmt: skip
        for table, values in ((threads, thread_rows), (states, state_rows), (messages, message_rows)):
            c.execute(table.insert(), values)

    database.write(fill)
    database.close()


@pytest.mark.slow
def test_a_list_of_ten_thousand_threads_is_scrolled_and_searched(visitor: Visitor, stack: Stack) -> None:
    mine = visitor.client.thread(title="The first of all")
    insert_threads(stack, visitor.client.get("/api/me").json()["user"])
    page = visitor.page
    page.goto(visitor.url)
    expect(page.get_by_role("link", name="Thread 0", exact=True)).to_be_visible()
    box = page.locator(".thread-list")
    last = page.get_by_role("link", name=f"Thread {THREADS - 1}", exact=True)
    asked: list[str] = []
    page.on("request", lambda request: "/api/threads?" in request.url and asked.append(request.url))

    def at_the_end() -> bool:
        box.evaluate("box => box.scrollTo(0, box.scrollHeight)")
        page.wait_for_timeout(20)
        assert rows(page).count() < 80
        return last.is_visible()

    until(at_the_end, 30, "the last thread is shown")
    assert len(asked) < 30
    asked.clear()

    position = box.evaluate("box => box.scrollTop")
    visitor.client.patch(f"/api/threads/{mine['id']}", json={"title": "Renamed elsewhere"}).raise_for_status()
    until(
        lambda: page.wait_for_timeout(20) or box.evaluate("(box, top) => box.scrollTop >= top", position),
        what="the list has stayed",
    )
    expect(last).to_be_visible()
    box.evaluate("box => box.scrollTo(0, 0)")
    expect(page.get_by_role("link", name="Renamed elsewhere")).to_be_visible()
    assert asked == [], "a list that was scrolled far down is not fetched again for one thread"

    search = page.get_by_label("Search titles and messages")
    search.fill("of number 9876.")
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_role("link", name="Thread 9876")).to_be_visible()
    search.fill("")
    expect(page.get_by_role("link", name="Thread 0", exact=True)).to_be_visible()
