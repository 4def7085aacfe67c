"""Agent chats: an application's agents, asked over REST by its users."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from runtime.errors import SessionExpired
from runtime.model import ThreadStatus
from runtime.outboxes import further_duties, outbox_of
from runtime.panel.model import Caller
from runtime.panel.service import AgentChats, Sent
from runtime.panel.tables import agent_chats
from runtime.store import runs, tables, threads, users
from tests.support.attempt import Attempt
from tests.support.web import Client
from web.core import Core

PATH = "/api/agent-chat/sessions"
DAY = 86_400


def begin(client: Client, agent_type: str = "rag", **body: Any) -> str:
    made = client.post(PATH, json={"agent_type": agent_type, **body})
    assert made.status_code == 200, made.text
    return str(made.json["session_id"])


def send(client: Client, session_id: str, message: str = "Hello", **body: Any) -> Any:
    return client.post(f"{PATH}/{session_id}/messages", json={"message": message, **body})


def shown(client: Client, session_id: str) -> list[tuple[str, str]]:
    """Sender and text of all messages."""
    found = client.get(f"{PATH}/{session_id}")
    assert found.status_code == 200, found.text
    return [(message["sender"], message["content"]) for message in found.json["messages"]]


def answer(core: Core, run_id: str, text: str) -> None:
    """Execute a run, and what follows."""
    attempt = Attempt(core, run_id)
    attempt.say(text)
    attempt.finish()
    with core.database.engine.connections.begin() as c:
        c.execute(tables.outbox.update().values(due_at=tables.now(-1)))
    outbox_of(core).handle_due()


def let_pass(core: Core, session_id: str, seconds: float) -> None:
    """Have the chat not be used for so long."""
    with core.database.engine.connections.begin() as c:
        this = agent_chats.update().where(agent_chats.c.session_id == session_id)
        c.execute(this.values(used_at=tables.now(-seconds)))


def sweep(core: Core) -> None:
    further_duties(core)["end unused agent chats"]()


def test_a_chat_is_a_session_that_does_not_go_on_by_itself(ada: Client, core: Core) -> None:
    session_id = begin(ada, project_id="a project")
    assert UUID(session_id).version == 4

    sent = send(ada, session_id, "What is a lease?", context={"match_count": 3})

    assert sent.status_code == 200, sent.text
    assert set(sent.json) == {"status", "run_id"} and sent.json["status"] == "sent"
    run = ada.get(f"/api/runs/{sent.json['run_id']}").json["run"]
    assert (run["session_id"], run["worker_id"]) == (session_id, "parrot")
    assert run["args"] == {"match_count": 3}
    answer(core, run["id"], "A claim.")
    assert shown(ada, session_id) == [("user", "What is a lease?"), ("agent", "A claim.")]
    chat = ada.get(f"{PATH}/{session_id}").json
    assert (chat["agent_type"], chat["project_id"]) == ("rag", "a project")
    thread = ada.get(f"/api/threads/{chat['thread_id']}").json["thread"]
    assert thread["title"] == "What is a lease?"
    session = ada.get(f"/api/threads/{chat['thread_id']}/session").json["session"]
    assert (session["id"], session["status"]) == (session_id, "stop")


def test_a_message_during_an_answer_brings_its_own_context(ada: Client, core: Core) -> None:
    session_id = begin(ada)
    first = send(ada, session_id, "One", context={"source": "a"}).json["run_id"]
    assert send(ada, session_id, "Two", context={"source": "b"}).json["run_id"] == first

    answer(core, first, "Of one.")

    chat = ada.get(f"{PATH}/{session_id}").json
    run_id = ada.get(f"/api/threads/{chat['thread_id']}/session").json["session"]["run_id"]
    run = core.database.read(runs.find, run_id)
    assert run is not None and run_id != first
    assert run.args == {"source": "b"}
    assert shown(ada, session_id) == [("user", "One"), ("agent", "Of one."), ("user", "Two")]


def test_messages_are_shown_newest_first_in_windows(ada: Client, core: Core) -> None:
    session_id = begin(ada)
    answer(core, send(ada, session_id, "One").json["run_id"], "Of one.")
    send(ada, session_id, "Two")

    page = ada.get(f"{PATH}/{session_id}?limit=1").json
    assert [message["content"] for message in page["messages"]] == ["Two"]
    before = ada.get(f"{PATH}/{session_id}?limit=2&cursor={page['next']}").json
    assert [message["content"] for message in before["messages"]] == ["One", "Of one."]
    assert before["next"] is None


def test_a_message_with_a_client_id_is_taken_once(ada: Client, core: Core) -> None:
    session_id, client_id = begin(ada), str(uuid4())

    first = send(ada, session_id, "Once", client_id=client_id)
    answer(core, first.json["run_id"], "Done.")
    again = send(ada, session_id, "Once", client_id=client_id)

    assert again.json == first.json
    assert shown(ada, session_id) == [("user", "Once"), ("agent", "Done.")]
    assert send(ada, session_id, "Other", client_id=client_id).status_code == 409
    assert send(ada, begin(ada), "Other", client_id=client_id).status_code == 200


def test_of_one_message_sent_twice_at_once_one_run_comes(ada: Client, core: Core) -> None:
    session_id = begin(ada)
    caller = Caller(core.database.read(users.get, ada.user["id"]))
    chats = AgentChats(core.dispatcher, core.database, core.log, core.settings)
    sent = Sent("Once", client_id=str(uuid4()))

    with ThreadPoolExecutor(4) as pool:
        answered = list(pool.map(lambda _: chats.send(caller, session_id, sent), range(4)))

    assert len(set(answered)) == 1
    assert shown(ada, session_id) == [("user", "Once")]


def test_only_its_owner_reaches_a_chat(ada: Client, bob: Client) -> None:
    session_id = begin(ada)
    for tried in (
        bob.get(f"{PATH}/{session_id}"),
        send(bob, session_id),
        bob.delete(f"{PATH}/{session_id}"),
        ada.get(f"{PATH}/{uuid4()}"),
    ):
        assert tried.status_code == 404
        assert tried.json["type"] == "urn:branchline:problem:session-expired"
    assert bob.get(PATH).json["items"] == []


def test_chats_are_listed_last_used_first_and_by_project(ada: Client) -> None:
    first, second = begin(ada, project_id="a"), begin(ada, "task", project_id="b")
    send(ada, first)

    page = ada.get(f"{PATH}?limit=1").json
    assert [chat["session_id"] for chat in page["items"]] == [first]
    assert [c["session_id"] for c in ada.get(f"{PATH}?cursor={page['next']}").json["items"]] == [second]
    found = ada.get(f"{PATH}?project_id=b").json["items"]
    assert [(chat["session_id"], chat["agent_type"]) for chat in found] == [(second, "task")]


def test_a_full_chat_says_so_and_takes_no_more(ada: Client, core: Core) -> None:
    session_id, client_id = begin(ada), str(uuid4())
    for text in ("One", "Two"):
        sent = send(ada, session_id, text, client_id=client_id if text == "Two" else None)
        answer(core, sent.json["run_id"], f"Of {text}.")

    full = send(ada, session_id, "Three")

    assert full.status_code == 409
    assert "MAX_MESSAGES_PER_SESSION" in full.json["detail"]
    assert "Begin a new session" in full.json["detail"]
    assert full.json["type"] == "urn:branchline:problem:session-full"
    assert send(ada, session_id, "Two", client_id=client_id).status_code == 200, "what was taken before"
    assert len(shown(ada, session_id)) == 4


def test_every_way_into_a_chat_counts(ada: Client, core: Core) -> None:
    session_id = begin(ada)
    thread_id = ada.get(f"{PATH}/{session_id}").json["thread_id"]
    answer(core, send(ada, session_id, "One").json["run_id"], "Of one.")
    run_id = send(ada, session_id, "Two").json["run_id"]
    body = {"messages": [{"role": "user", "content": "Three"}]}

    def ask(number: int) -> int:
        """By each way in turn."""
        paths = f"/api/runs/{run_id}/messages", f"/api/threads/{thread_id}/session/messages"
        asked = ada.post(paths[number], json=body) if number < 2 else send(ada, session_id, "Three")
        assert asked.status_code < 300 or asked.json["type"] == "urn:branchline:problem:session-full"
        return int(asked.status_code)

    with ThreadPoolExecutor(6) as pool:
        answers = [*pool.map(ask, [0, 1, 2] * 2)]

    assert answers.count(409) == 5
    assert len(ada.get(f"/api/runs/{run_id}/messages").json["items"]) == 1
    answer(core, run_id, "Of two.")  # and what was sent meanwhile begins the next turn
    run_id = ada.get(f"/api/threads/{thread_id}/session").json["session"]["run_id"]
    answer(core, run_id, "Of three.")
    assert [ask(1), ask(2)] == [409, 409]
    assert len(shown(ada, session_id)) == 6


def test_a_full_chat_is_continued_by_one_that_links_to_it(ada: Client, bob: Client) -> None:
    session_id = begin(ada, project_id="a project")

    next_id = begin(ada, continues=session_id)

    assert next_id != session_id
    chat = ada.get(f"{PATH}/{next_id}").json
    assert (chat["continues"], chat["project_id"]) == (session_id, "a project")
    assert begin(ada, continues=session_id) == next_id, "for another page that has found it full"
    assert begin(ada, continues=next_id) not in (session_id, next_id)
    refused = bob.post(PATH, json={"agent_type": "rag", "continues": session_id})
    assert refused.json["type"] == "urn:branchline:problem:session-expired"
    ada.delete(f"{PATH}/{next_id}")
    assert begin(ada, continues=session_id) != next_id


def test_a_chat_that_nobody_uses_expires_and_is_archived(ada: Client, core: Core) -> None:
    session_id, used = begin(ada), begin(ada)
    thread_id = ada.get(f"{PATH}/{session_id}").json["thread_id"]
    let_pass(core, used, DAY - 60)
    let_pass(core, session_id, DAY + 60)

    assert ada.get(f"{PATH}/{session_id}").status_code == 404, "before any sweep"
    sweep(core)

    workspace_id = core.database.read(users.get, ada.user["id"]).workspace_id
    thread = core.database.read(threads.get, workspace_id, thread_id)
    assert thread.status is ThreadStatus.ARCHIVED
    let_pass(core, session_id, 0)
    assert send(ada, session_id).status_code == 404, "once it has ended it stays so"
    assert [chat["session_id"] for chat in ada.get(PATH).json["items"]] == [used]


def test_a_chat_does_not_expire_while_its_agent_answers(ada: Client, core: Core) -> None:
    session_id = begin(ada)
    run_id = send(ada, session_id).json["run_id"]
    let_pass(core, session_id, DAY + 60)
    sweep(core)

    assert shown(ada, session_id) == [("user", "Hello")]
    answer(core, run_id, "At last.")
    sweep(core)
    assert ada.get(f"{PATH}/{session_id}").status_code == 404


@pytest.mark.parametrize("how", ["deleted", "closed"])
def test_a_chat_ends_with_its_thread_and_its_session(ada: Client, core: Core, how: str) -> None:
    session_id = begin(ada)
    thread_id = ada.get(f"{PATH}/{session_id}").json["thread_id"]
    if how == "deleted":
        assert ada.delete(f"{PATH}/{session_id}").status_code == 204
        assert thread_id in [thread["id"] for thread in ada.get("/api/trash").json["items"]]
    else:
        ada.post(f"/api/threads/{thread_id}/session/close")

    assert send(ada, session_id).status_code == 404
    assert ada.get(PATH).json["items"] == []


def test_an_agent_type_without_a_worker_names_the_setting(ada: Client, core: Core) -> None:
    refused = ada.post(PATH, json={"agent_type": "document"})

    assert refused.status_code == 422
    assert "'nobody'" in refused.json["detail"] and "PANEL_AGENTS" in refused.json["detail"]
    assert refused.json["errors"][0]["path"] == "agent_type"
    with core.database.engine.connections.begin() as c:
        assert c.execute(sa.select(sa.func.count()).select_from(tables.threads)).scalar_one() == 0


def test_a_chat_that_expires_meanwhile_takes_no_message(ada: Client, core: Core) -> None:
    session_id = begin(ada)
    caller = Caller(core.database.read(users.get, ada.user["id"]))
    chats = AgentChats(core.dispatcher, core.database, core.log, core.settings)
    chat = chats.get(caller, session_id)
    let_pass(core, session_id, DAY + 60)

    with pytest.raises(SessionExpired):
        chats.send(caller, chat.session_id, Sent("Too late"))
