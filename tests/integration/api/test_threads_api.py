"""Threads and their trees over the API."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from runtime.model import RunStatus, new_id
from runtime.store import runs
from tests.support.attempt import Attempt
from tests.support.web import Client
from web.core import Core
from web.http.lanes import Lane

UNKNOWN = "01928d2e-0000-7000-8000-000000000001"
"""An id that nothing has."""


def at(thread: dict[str, Any], rest: str = "") -> str:
    return f"/api/threads/{thread['id']}{rest}"


def contents(items: list[dict[str, Any]]) -> list[str]:
    return [message["content"] for message in items]


def test_a_new_thread_has_an_empty_root(ada: Client) -> None:
    answer = ada.post("/api/threads", json={"title": "Trees", "worker_id": "parrot", "metadata": {"a": [1]}})

    thread, root = answer.json["thread"], answer.json["root_state"]
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/threads/{thread['id']}"
    assert (thread["title"], thread["metadata"], thread["status"]) == ("Trees", {"a": [1]}, "active")
    assert root["id"] == thread["root_state_id"] == thread["latest_state_id"]
    assert (root["parent_id"], root["depth"], root["messages"]) == (None, 0, [])
    assert ada.get(at(thread)).json == {"thread": thread}


def test_a_thread_is_created_without_any_field(ada: Client) -> None:
    assert ada.post("/api/threads").status_code == 201
    assert ada.post("/api/threads", json={}).status_code == 201


def test_a_body_is_json_whatever_its_content_type_says(ada: Client) -> None:
    for content_type in (None, "text/plain", "application/x-www-form-urlencoded"):
        answer = ada.post("/api/threads", data=b'{"title": "x"}', content_type=content_type)
        assert answer.status_code == 201
        assert answer.json["thread"]["title"] == "x"


@pytest.mark.parametrize(
    "raw",
    [b"{", b"nope", b'{"title": NaN}', b'{"title": "\\ud800"}', b'{"title": "\xff"}', b'{"a": 1e999}', b"["],
)
def test_malformed_json_is_a_bad_request(ada: Client, raw: bytes) -> None:
    assert ada.post("/api/threads", data=raw, content_type="application/json").status_code == 400


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ([], ""),
        ("x", ""),
        ({"title": 5}, "title"),
        ({"title": "x" * 501}, "title"),
        ({"title": "a\0b"}, "title"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": ["b\0"]}}, "metadata.a.0"),
        ({"metadata": {"a\0": 1}}, "metadata"),
        ({"colour": "red"}, "colour"),
        ({"worker_id": "nobody"}, "worker_id"),
        ({"worker_id": "parrot", "config": {"tone": "rude"}}, "config.tone"),
        ({"worker_id": "parrot", "config": {"volume": 1}}, "config"),
    ],
)
def test_an_invalid_thread_is_refused_with_the_field(ada: Client, body: Any, path: str) -> None:
    answer = ada.post("/api/threads", json=body)

    assert answer.status_code == 422
    assert [error["path"] for error in answer.json["errors"]] == [path]
    assert ada.get("/api/threads").json["items"] == []


def test_a_body_that_nests_too_deep_is_refused(ada: Client) -> None:
    body = b'{"metadata": ' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}"

    assert ada.post("/api/threads", data=body).status_code == 422


def test_a_body_over_the_limit_is_refused(ada: Client) -> None:
    body = b'{"title": "' + b"x" * (11 << 20) + b'"}'

    said = ada.post("/api/threads", data=body)
    unsaid = ada.post(
        "/api/threads", input_stream=BytesIO(body), environ_overrides={"wsgi.input_terminated": True}
    )

    assert (said.status_code, unsaid.status_code) == (413, 413)


def test_a_thread_changes_only_in_the_fields_sent(ada: Client) -> None:
    thread = ada.thread(title="Old", metadata={"a": 1})

    answer = ada.patch(at(thread), json={"title": "New", "status": "archived"})

    assert answer.status_code == 200
    changed = answer.json["thread"]
    assert (changed["title"], changed["status"], changed["metadata"]) == ("New", "archived", {"a": 1})
    assert ada.patch(at(thread), json={"status": "gone"}).status_code == 422
    assert ada.patch(at(thread), json={"worker_id": "nobody"}).status_code == 422
    assert ada.patch(at(thread), json={"worker_id": "parrot", "config": {"tone": 1}}).status_code == 422


def test_threads_are_listed_by_their_last_change_and_found_by_their_text(ada: Client) -> None:
    first, second, third = (ada.thread(title=title) for title in ("Oak", "Elm 100%", "Ash"))
    ada.say(first, "The leaves are Lobed.")

    assert [t["id"] for t in ada.get("/api/threads").json["items"]] == [
        first["id"],
        third["id"],
        second["id"],
    ]
    for name in ("query", "q"):
        found = ada.get("/api/threads", query_string={name: "lobed"}).json["items"]
        assert [t["id"] for t in found] == [first["id"]]
    assert [t["title"] for t in ada.get("/api/threads?query=0%25").json["items"]] == ["Elm 100%"]
    ada.patch(at(third), json={"status": "archived"})
    assert [t["id"] for t in ada.get("/api/threads?status=archived").json["items"]] == [third["id"]]


def test_lists_are_paged(ada: Client) -> None:
    made = [ada.thread()["id"] for _ in range(5)]

    seen, cursor = [], None
    while True:
        page = ada.get(
            "/api/threads", query_string={"limit": 2, **({"cursor": cursor} if cursor else {})}
        ).json
        seen += [thread["id"] for thread in page["items"]]
        if (cursor := page["next"]) is None:
            break

    assert seen == made[::-1]


@pytest.mark.parametrize(
    "path",
    [
        "/api/threads?limit=0", "/api/threads?limit=x", "/api/threads?limit=100000", "/api/threads?cursor=x",
        "/api/threads?cursor=WzVd", "/api/threads?status=gone", "/api/threads?query=%00",
        "/api/runs?cursor=WzVd", "/api/runs?cursor=W10", "/api/runs?status=x", "/api/runs?thread=x",
    ],
)  # fmt: skip
def test_an_invalid_query_is_refused_with_the_field(ada: Client, path: str) -> None:
    answer = ada.get(path)

    assert answer.status_code == 422
    assert answer.json["errors"]


def test_data_that_does_not_fit_the_type_of_a_message_is_refused_with_the_field(ada: Client) -> None:
    made = ada.post("/api/threads", json={}).json
    code = {"role": "user", "type": "code", "content": "1", "data": {"language": ["lua"], "mine": 1}}
    body = {"parent_id": made["root_state"]["id"], "messages": [{"role": "user", "content": "See:"}, code]}

    answer = ada.post(at(made["thread"], "/states"), json=body)
    assert answer.status_code == 422
    [error] = answer.json["errors"]
    assert (error["path"], error["message"]) == ("messages.1.data.language", "must be a string")

    code["data"] = {"language": "lua", "mine": 1}
    state = ada.post(at(made["thread"], "/states"), json=body).json["state"]
    assert [message["data"] for message in state["messages"]] == [{}, code["data"]]


def test_a_search_says_where_it_has_found_it(ada: Client) -> None:
    thread = ada.post("/api/threads", json={"title": "Café 😀 oak"}).json["thread"]
    body = {
        "parent_id": thread["root_state_id"],
        "messages": [{"role": "user", "content": "An Oak\nfor a café."}],
    }
    state = ada.post(at(thread, "/states"), json=body).json["state"]

    [found] = ada.get("/api/threads", query_string={"q": "CAFE oak"}).json["items"]

    assert found.pop("hit") == {
        "title_marks": [[0, 4], [7, 10]],
        "state_id": state["id"],
        "message_id": state["messages"][0]["id"],
        "snippet": "An Oak for a café.",
        "marks": [[3, 6], [13, 17]],
    }
    assert found == ada.get(at(thread)).json["thread"]
    assert ada.get("/api/threads").json["items"] == [found]


def test_a_thread_in_the_trash_is_restored_or_deleted_for_good(ada: Client, bob: Client) -> None:
    one, two, three = (ada.thread(title=title) for title in ("one", "two", "three"))
    for thread in (one, two, three):
        ada.delete(at(thread))

    shown = ada.get("/api/trash").json["items"]
    assert [thread["title"] for thread in shown] == ["three", "two", "one"]
    assert "restorable_until" in shown[0]
    assert bob.get("/api/trash").json["items"] == []
    assert bob.delete(f"/api/trash/{one['id']}").status_code == 404
    assert bob.delete("/api/trash").status_code == 204

    assert ada.post(at(one, "/restore")).status_code == 200
    assert ada.delete(f"/api/trash/{one['id']}").status_code == 404
    assert ada.delete(f"/api/trash/{two['id']}").status_code == 204
    assert ada.post(at(two, "/restore")).status_code == 404
    assert [thread["title"] for thread in ada.get("/api/trash").json["items"]] == ["three"]
    assert ada.delete("/api/trash").status_code == 204
    assert ada.get("/api/trash").json == {"items": [], "next": None}
    assert [thread["title"] for thread in ada.get("/api/threads").json["items"]] == ["one"]


def test_a_deleted_thread_is_gone_until_it_is_restored(ada: Client) -> None:
    thread = ada.thread(title="Oak")

    answer = ada.delete(at(thread))
    assert (answer.status_code, answer.data) == (204, b"")
    assert ada.get(at(thread)).status_code == 404
    assert ada.delete(at(thread)).status_code == 404
    assert ada.get("/api/threads").json["items"] == []
    assert ada.ask(thread).status_code == 404

    assert ada.post(at(thread, "/restore")).json["thread"]["title"] == "Oak"
    assert ada.get(at(thread)).status_code == 200


def test_deleting_a_thread_cancels_its_runs(ada: Client, core: Core) -> None:
    thread, other = ada.thread(), ada.thread()
    queued, running, elsewhere = (ada.ask(t).json["runs"][0]["id"] for t in (thread, thread, other))
    attempt = Attempt(core, running)

    ada.delete(at(thread))

    ended = core.database.read(runs.find, queued)
    assert (ended.status, ended.announced_at is not None) == (RunStatus.CANCELLED, True)
    assert core.database.read(runs.find, running).cancel_requested_at is not None
    assert ada.get(f"/api/runs/{elsewhere}").json["run"]["status"] == "queued"
    attempt.finish(RunStatus.CANCELLED)


RUN_CALLS = [
    ("GET", ""),
    ("GET", "/wait?timeout=0"),
    ("GET", "/log"),
    ("GET", "/attempts"),
    ("GET", "/events"),
    ("POST", "/cancel"),
    ("POST", "/answer"),
]


def test_runs_are_as_hidden_as_their_thread(ada: Client, core: Core) -> None:
    thread = ada.thread()
    waiting, queued, ended = (ada.ask(thread).json["runs"][0]["id"] for _ in range(3))
    Attempt(core, waiting).ask("Sure?")
    Attempt(core, ended).finish()

    ada.delete(at(thread))

    for run in (waiting, queued, ended):
        for method, call in RUN_CALLS:
            body = {"answer": 1} if call == "/answer" else None
            answer = ada.open(f"/api/runs/{run}{call}", method=method, json=body)
            assert answer.status_code == 404, (method, call, answer.text)
    assert ada.get("/api/runs").json["items"] == []
    assert ada.get(f"/api/runs?thread={thread['id']}").json["items"] == []

    ada.post(at(thread, "/restore"))
    assert ada.get(f"/api/runs/{ended}").json["run"]["status"] == "success"
    assert {run["id"] for run in ada.get("/api/runs").json["items"]} == {waiting, queued, ended}


@pytest.mark.parametrize(
    "path", ["/api/threads/x", "/api/states/1", "/api/runs/zz/events", f"/api/threads/{UNKNOWN}"]
)
def test_an_invalid_or_unknown_id_is_not_found(ada: Client, path: str) -> None:
    assert ada.get(path).status_code == 404


def test_an_edit_adds_a_branch_and_keeps_the_other(ada: Client) -> None:
    thread = ada.thread()
    first = ada.say(thread, "What is an oak?")
    edited = ada.say(thread, "What is an elm?")
    below = ada.say(thread, "Go on", edited["id"])

    history = ada.get(f"/api/states/{below['id']}/messages").json
    assert contents(history["items"]) == ["What is an elm?", "Go on"]
    assert history["next"] is None
    assert history["states"][edited["id"]] == {
        "ordinal": 1, "sibling_count": 2, "previous_id": first["id"], "next_id": None,
    }  # fmt: skip
    assert contents(ada.get(f"/api/states/{first['id']}/messages").json["items"]) == ["What is an oak?"]


def test_history_comes_in_windows_newest_first_and_oldest_first_within(ada: Client) -> None:
    thread = ada.thread()
    state = None
    for number in range(5):
        state = ada.say(thread, str(number), state and state["id"])
    assert state is not None

    newest = ada.get(f"/api/states/{state['id']}/messages?limit=2").json
    before = ada.get(f"/api/states/{state['id']}/messages?limit=3&cursor={newest['next']}").json

    assert (contents(newest["items"]), contents(before["items"])) == (["3", "4"], ["0", "1", "2"])


def test_the_tree_is_listed_with_or_without_its_content(ada: Client) -> None:
    thread = ada.thread()
    left, right = ada.say(thread, "left " * 50), ada.say(thread, "right")

    nodes = ada.get(at(thread, "/states")).json["items"]
    shape = ada.get(at(thread, "/states?structure=1")).json

    assert [node["id"] for node in nodes] == [thread["root_state_id"], left["id"], right["id"]]
    assert (nodes[1]["preview"], nodes[1]["author"]) == (("left " * 50)[:80], "user")
    assert shape == {"ids": [node["id"] for node in nodes], "parents": [-1, 0, 0]}


def test_a_tree_that_has_not_changed_is_not_sent_again(ada: Client) -> None:
    thread = ada.thread()
    tag = ada.get(at(thread, "/states")).headers["ETag"]

    same = ada.get(at(thread, "/states"), headers={"If-None-Match": tag})
    ada.say(thread, "x")
    changed = ada.get(at(thread, "/states"), headers={"If-None-Match": tag})

    assert (same.status_code, same.data, changed.status_code) == (304, b"", 200)


def test_a_structure_that_has_not_grown_is_not_sent_again(ada: Client, bob: Client) -> None:
    thread = ada.thread()
    path = at(thread, "/states?structure=1")
    first = ada.get(path)
    known = {"If-None-Match": first.headers["ETag"]}

    same = ada.get(path, headers=known)
    ada.say(thread, "x")
    grown = ada.get(path, headers=known)

    assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert (grown.status_code, len(grown.json["ids"])) == (200, 2)
    assert grown.headers["ETag"] != first.headers["ETag"]
    assert first.headers["Cache-Control"] == same.headers["Cache-Control"] == "private, no-cache"
    assert bob.get(path, headers=known).status_code == 404


def test_a_state_is_labelled_and_starred(ada: Client) -> None:
    state = ada.say(ada.thread(), "x")
    path = f"/api/states/{state['id']}"

    assert ada.patch(path, json={"label": "good", "starred": True}).json["state"]["starred"] is True
    assert ada.get(path).json["state"]["label"] == "good"
    changed = ada.patch(path, json={"label": None}).json["state"]
    assert changed | {"starred": True, "data": None} == ada.get(path).json["state"]
    assert ada.patch(path, json={"starred": "yes"}).status_code == 422


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"content": "x"}, "messages.0.role"),
        ({"role": "user"}, "messages.0.content"),
        ({"role": "robot", "content": "x"}, "messages.0.role"),
        ({"role": "user", "content": 5}, "messages.0.content"),
        ({"role": "user", "content": "x", "type": "smell"}, "messages.0.type"),
        ({"role": "user", "content": "x", "data": []}, "messages.0.data"),
        ({"role": "user", "content": "x", "id": UNKNOWN}, "messages.0.id"),
    ],
)
def test_an_invalid_message_is_refused_with_the_path_to_it(
    ada: Client, message: dict[str, Any], path: str
) -> None:
    thread = ada.thread()

    answer = ada.post(
        at(thread, "/states"), json={"parent_id": thread["root_state_id"], "messages": [message]}
    )

    assert answer.status_code == 422
    [error] = answer.json["errors"]
    assert (error["path"], error["pointer"]) == (path, "/" + path.replace(".", "/"))


@pytest.mark.parametrize(
    "text", ["", " leading", "\n\n", "\u2028", "😀" * 10, "x" * (1 << 20), "\\u0000", '"\t']
)
def test_text_comes_back_as_it_was_sent(ada: Client, text: str) -> None:
    state = ada.say(ada.thread(), text)

    assert ada.get(f"/api/states/{state['id']}").json["state"]["messages"][0]["content"] == text


def test_a_state_below_a_state_of_another_thread_is_refused(ada: Client) -> None:
    thread, other = ada.thread(), ada.thread()
    body = {"parent_id": other["root_state_id"], "messages": [{"role": "user", "content": "x"}]}

    assert ada.post(at(thread, "/states"), json=body).status_code == 404
    assert ada.post(at(thread, "/states"), json={**body, "parent_id": "x"}).status_code == 422
    assert ada.post(at(thread, "/states"), json={**body, "messages": []}).status_code == 422


def test_an_export_can_be_imported(ada: Client, bob: Client) -> None:
    thread = ada.thread(title="Oak")
    ada.say(thread, "left")
    ada.say(thread, "right")
    exported = ada.get(at(thread, "/export"))
    assert exported.headers["Content-Disposition"].startswith("attachment")

    answer = bob.post("/api/threads/import", json=exported.json)

    assert answer.status_code == 201
    copy = answer.json["thread"]
    assert (copy["title"], copy["id"] != thread["id"]) == ("Oak", True)
    nodes = bob.get(at(copy, "/states")).json["items"]
    assert [node["preview"] for node in nodes] == ["", "left", "right"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_export_is_consistent_when_the_thread_changes_meanwhile(ada: Client, core: Core) -> None:
    thread = ada.thread()
    run_id = ada.ask(thread, "left").json["runs"][0]["id"]
    attempt = Attempt(core, run_id)
    read: list[str] = []

    def end_the_run(c: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if not read and "messages.content" in statement:
            read.append(statement)
            attempt.say("answer")
            attempt.finish()

    sa.event.listen(core.database.engine.connections, "after_cursor_execute", end_the_run)
    exported = ada.get(at(thread, "/export")).json

    assert read
    assert ada.get(f"/api/runs/{run_id}").json["run"]["status"] == "success"
    assert contents(exported["states"][-1]["messages"]) == []
    assert [run["status"] for run in exported["runs"]] == ["running"]


def test_a_path_is_exported_as_markdown(ada: Client) -> None:
    thread = ada.thread(title="Oak")
    left = ada.say(thread, "left")
    ada.say(thread, "right")

    newest = ada.get(at(thread, "/export?format=markdown"))
    chosen = ada.get(at(thread, f"/export?format=markdown&state={left['id']}"))

    assert newest.mimetype == "text/markdown"
    assert ("right" in newest.text, "left" in newest.text) == (True, False)
    assert ("right" in chosen.text, "left" in chosen.text) == (False, True)


def test_an_answer_is_exported_with_the_passages_that_it_cites(ada: Client) -> None:
    thread = ada.thread()
    sources = [{"number": 2, "document": "leases.md", "titles": ["Leases", "Renewal"]}, 5, {"titles": 3}]
    said = {"role": "assistant", "content": "Each second [2].", "data": {"sources": sources}}
    body = {"parent_id": thread["root_state_id"], "messages": [said]}
    assert ada.post(at(thread, "/states"), json=body).status_code == 201

    exported = ada.get(at(thread, "/export?format=markdown")).text
    assert exported.endswith("Each second [2].\n\n- [2] leases.md › Leases › Renewal\n")


def test_the_whole_tree_is_exported_as_markdown(ada: Client) -> None:
    thread = ada.thread(title="Oak")
    trunk = ada.say(thread, "trunk")
    left = ada.say(thread, "left", trunk["id"])
    ada.say(thread, "right", trunk["id"])
    ada.say(thread, "leaf", left["id"])

    exported = ada.get(at(thread, "/export?format=markdown&scope=tree")).text

    assert exported.split("\n\n") == [
        "# Oak",
        "## Branch 1", "### user", "trunk",
        "## Branch 2", "*goes on from branch 1*", "### user", "left", "### user", "leaf",
        "## Branch 3", "*goes on from branch 1*", "### user", "right\n",
    ]  # fmt: skip


def test_a_path_is_exported_as_json_and_can_be_imported(ada: Client, core: Core) -> None:
    thread = ada.thread(title="Oak")
    asked = ada.ask(thread, "left").json
    attempt = Attempt(core, asked["runs"][0]["id"])
    attempt.say("answer")
    attempt.finish()
    ada.ask(thread, "right")
    end = asked["states"][0]["id"]

    exported = ada.get(at(thread, f"/export?state={end}")).json

    assert [[said["content"] for said in state["messages"]] for state in exported["states"]] == [
        [], ["left"], ["answer"]
    ]  # fmt: skip
    assert [run["id"] for run in exported["runs"]] == [asked["runs"][0]["id"]]
    copy = ada.post("/api/threads/import", json=exported).json["thread"]
    nodes = ada.get(at(copy, "/states")).json["items"]
    assert [node["preview"] for node in nodes] == ["", "left", "answer"]
    assert copy["latest_state_id"] == nodes[-1]["id"]


def test_a_history_contains_the_runs_and_their_step_counts(ada: Client, core: Core) -> None:
    thread = ada.thread()
    asked = ada.ask(thread, "left").json
    attempt = Attempt(core, asked["runs"][0]["id"])
    attempt.say("answer")
    attempt.finish(usage={"output_tokens": 1})
    run, end = asked["runs"][0]["id"], asked["states"][0]["id"]

    plain = ada.get(f"/api/states/{end}/messages").json
    history = ada.get(f"/api/states/{end}/messages?runs=1").json

    assert "runs" not in plain
    assert [(one["id"], one["usage"]) for one in history["runs"]] == [(run, {"output_tokens": 1})]
    assert history["steps"] == ada.get(at(thread, f"/snapshot?state={end}")).json["steps"] == {run: 1}
    del history["runs"], history["steps"]
    assert history == plain


def test_a_label_and_a_star_are_announced_to_watchers(ada: Client, core: Core) -> None:
    thread = ada.thread()
    state = ada.say(thread, "left")
    ada.patch(f"/api/states/{state['id']}", json={"label": "Good", "starred": True})

    told = core.log.read(thread["id"], core.log.oldest(thread["id"])).entries[-1]
    data = orjson.loads(told.payload)
    assert (told.type, data["state_id"], "messages" in data["state"]) == ("state.updated", state["id"], False)
    assert (data["state"]["label"], data["state"]["starred"]) == ("Good", True)


@pytest.mark.parametrize("body", [{}, {"format": "x"}, [], {"states": 1}])
def test_an_invalid_export_is_not_imported(ada: Client, body: Any) -> None:
    answer = ada.post("/api/threads/import", json=body)

    assert answer.status_code == 422
    assert answer.json["errors"]


def test_an_import_waits_for_a_slot_before_it_is_parsed_and_not_for_long(ada: Client, core: Core) -> None:
    core.imports = Lane(1, 1, 0, "Too many.")

    with core.imports.hold("somebody"):
        full = ada.post("/api/threads/import", data="{")
    wrong = [ada.post("/api/threads/import", data="{").status_code for _ in range(2)]

    assert (full.status_code, full.json["detail"]) == (429, "Too many.")
    assert int(full.headers["Retry-After"]) > 0
    assert wrong == [400, 400]


def test_an_export_waits_for_a_slot_and_not_for_long(ada: Client, core: Core) -> None:
    core.exports = Lane(1, 1, 0, "Too many.")
    thread = ada.thread()
    run = ada.ask(thread).json["runs"][0]
    paths = [f"/api/threads/{thread['id']}/export", f"/api/runs/{run['id']}/attempts"]

    with core.exports.hold("somebody"):
        assert [ada.get(path).status_code for path in paths] == [429, 429]
    assert [ada.get(path).status_code for path in paths] == [200, 200]


@pytest.mark.parametrize("parts", ["states", "runs"])
def test_an_export_with_too_many_parts_is_refused_before_they_are_checked(ada: Client, parts: str) -> None:
    export = {"format": "branchline-thread", "version": 1, "thread": {}, "states": [{}], "runs": []}

    answer = ada.post("/api/threads/import", json={**export, parts: [None] * 100_001})

    assert answer.status_code == 422
    assert [error["path"] for error in answer.json["errors"]] == [parts]


def test_a_snapshot_contains_a_branch_and_a_cursor(ada: Client, core: Core) -> None:
    thread = ada.thread()
    left, right = ada.say(thread, "left"), ada.say(thread, "right")
    accepted = ada.ask(thread, "and now?", input_state_id=right["id"]).json

    snapshot = ada.get(at(thread, f"/snapshot?state={accepted['input_state']['id']}")).json

    assert snapshot["cursor"] == str(core.log.cursor(thread["id"]))
    assert contents(snapshot["messages"]) == ["right", "and now?"]
    assert snapshot["open"] == []
    assert [run["id"] for run in snapshot["runs"]] == [accepted["runs"][0]["id"]]
    assert contents(ada.get(at(thread, f"/snapshot?state={left['id']}")).json["messages"]) == ["left"]
    assert ada.get(at(thread, f"/snapshot?state={new_id()}")).status_code == 404
    assert ada.get(at(thread, f"/snapshot?state={ada.thread()['root_state_id']}")).status_code == 404


@pytest.mark.parametrize("path", ["", "/states", "/states?structure=1", "/export", "/snapshot"])
def test_no_header_is_about_the_connection(ada: Client, path: str) -> None:
    headers = ada.get(at(ada.thread(), path)).headers

    assert not {name.lower() for name, _ in headers} & {
        "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }  # fmt: skip


def test_a_large_response_is_compressed_if_the_client_accepts_it(ada: Client) -> None:
    thread = ada.thread()
    for _ in range(10):
        ada.say(thread, "the same again " * 100)

    squeezed = ada.get(at(thread, "/export"), headers={"Accept-Encoding": "gzip"})
    plain = ada.get(at(thread, "/export"))

    assert squeezed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in plain.headers["Vary"]
    assert len(squeezed.data) < len(plain.data) / 5
