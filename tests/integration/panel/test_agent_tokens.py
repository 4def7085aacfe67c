"""Tokens of an application's own users: their agent chats, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from uuid import uuid4

import jwt
import pytest
from flask import Flask

from tests.support.more_workers import FOLDER
from tests.support.web import Client

PATH = "/api/agent-chat/sessions"
TOKEN = "/api/agent-chat/token"
Json = dict[str, Any]


class Application:
    """Ada, whose application has users of its own."""

    def __init__(self, app: Flask, client: Client) -> None:
        self._app, self.client = app, client

    def token(self, subject: str = "grace", **body: Any) -> Json:
        made = self.client.post(TOKEN, json={"subject": subject, **body})
        assert made.status_code == 201, made.text
        return dict(made.json)

    def user(self, subject: str = "grace", **body: Any) -> Client:
        """One of them, who has nothing but a token."""
        client = self._app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {self.token(subject, **body)['token']}"
        return client


@pytest.fixture
def web_environ(web_environ: dict[str, str]) -> dict[str, str]:
    """With an agent that takes files."""
    return {
        **web_environ,
        "PANEL_AGENTS": f"{web_environ['PANEL_AGENTS']}, document=filer",
        "WORKERS_PATH": f"{web_environ['WORKERS_PATH']}:{FOLDER}",
    }


@pytest.fixture
def application(app: Flask, ada: Client) -> Application:
    return Application(app, ada)


def begin(client: Client, **body: Any) -> str:
    made = client.post(PATH, json={"agent_type": "rag", **body})
    assert made.status_code == 200, made.text
    return str(made.json["session_id"])


def send(client: Client, session_id: str, message: str = "Hello", **body: Any) -> Any:
    return client.post(f"{PATH}/{session_id}/messages", json={"message": message, **body})


def listed(client: Client) -> list[str]:
    return [chat["session_id"] for chat in client.get(PATH).json["items"]]


def upload(client: Client) -> str:
    data = {"file": (BytesIO(b"some text"), "a.txt")}
    made = client.post("/api/files", data=data, content_type="multipart/form-data")
    assert made.status_code == 201, made.text
    return str(made.json["file"]["id"])


def test_a_token_is_a_jwt_that_says_for_whom_and_what_it_is(application: Application) -> None:
    before = datetime.now(UTC)

    made = application.token("grace", agent_types=["rag", "task"], ttl_seconds=120)

    claims = jwt.decode(made["token"], options={"verify_signature": False})
    assert jwt.get_unverified_header(made["token"])["alg"] == "HS256"
    assert (claims["sub"], claims["types"]) == ("grace", ["rag", "task"])
    assert claims["account"] == application.client.user["id"]
    assert (made["subject"], made["agent_types"]) == ("grace", ["rag", "task"])
    expires = datetime.fromisoformat(made["expires_at"])
    assert claims["exp"] == expires.timestamp()
    assert timedelta(seconds=119) < expires - before < timedelta(seconds=150)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"subject": ""},
        {"subject": "x" * 201},
        {"subject": "grace", "agent_types": []},
        {"subject": "grace", "agent_types": ["other"]},
        {"subject": "grace", "ttl_seconds": 0},
        {"subject": "grace", "ttl_seconds": 30 * 86_400 + 1},
    ],
    ids=["nobody", "empty", "long", "no types", "unknown type", "no time", "too long a time"],
)
def test_a_token_needs_a_subject_known_types_and_a_bounded_time(
    application: Application, wrong: Json
) -> None:
    assert application.client.post(TOKEN, json=wrong).status_code == 422


def test_a_user_begins_a_chat_writes_and_recovers_it_with_a_later_token(application: Application) -> None:
    session_id = begin(application.user())
    sent = send(application.user(), session_id, "How?")

    assert sent.status_code == 200, sent.text
    found = application.user().get(f"{PATH}/{session_id}").json
    assert found["subject"] == "grace"
    assert [message["content"] for message in found["messages"]] == ["How?"]
    run = application.user().get(f"/api/runs/{sent.json['run_id']}")
    assert run.json["run"]["status"] == "queued"
    assert application.user().post(f"/api/runs/{sent.json['run_id']}/cancel", json={}).status_code == 202


def test_a_user_reaches_no_chat_of_another_one_or_of_the_account(
    application: Application, bob: Client
) -> None:
    grace, alan = application.user("grace"), application.user("alan")
    hers, accounts = begin(grace), begin(application.client)
    run = send(grace, hers).json["run_id"]
    state = application.client.get(f"/api/runs/{run}").json["run"]["output_state_id"]

    assert listed(alan) == []
    assert listed(grace) == [hers]
    for session_id in (hers, accounts, str(uuid4())):
        tries = [
            alan.get(f"{PATH}/{session_id}"),
            send(alan, session_id),
            alan.delete(f"{PATH}/{session_id}"),
        ]
        assert [answer.status_code for answer in tries] == [404] * 3
    for path in (f"/api/runs/{run}", f"/api/states/{state}/messages"):
        assert (grace.get(path).status_code, alan.get(path).status_code) == (200, 404)
    assert alan.post(f"/api/runs/{run}/cancel", json={}).status_code == 404
    assert set(listed(application.client)) == {hers, accounts}
    assert bob.get(f"{PATH}/{hers}").status_code == 404


def test_two_accounts_may_call_their_users_the_same(
    application: Application, app: Flask, bob: Client
) -> None:
    session_id = begin(application.user("grace"))

    theirs = Application(app, bob).user("grace")

    assert listed(theirs) == []
    assert theirs.get(f"{PATH}/{session_id}").status_code == 404


def test_a_token_begins_chats_with_agents_of_its_types_only(application: Application) -> None:
    user = application.user(agent_types=["task"])

    assert user.post(PATH, json={"agent_type": "rag"}).status_code == 403
    assert user.post(PATH, json={"agent_type": "task"}).status_code == 200


def test_a_user_neither_makes_tokens_nor_reaches_the_threads_of_the_account(application: Application) -> None:
    user = application.user()
    thread = application.client.get(f"{PATH}/{begin(user)}").json["thread_id"]

    assert user.post(TOKEN, json={"subject": "alan"}).status_code == 403
    assert user.delete(f"{TOKEN}?subject=alan").status_code == 403
    for path in (
        f"/api/threads/{thread}",
        "/api/threads",
        "/api/me",
        "/api/tokens",
        "/api/files",
        "/api/runs",
    ):
        assert user.get(path).status_code == 403


def test_a_message_names_files_of_its_own_user_only(application: Application) -> None:
    grace, alan = application.user(), application.user("alan")
    mine, other = (begin(client, agent_type="document") for client in (grace, alan))
    file, client_id = upload(grace), str(uuid4())
    message = {"message": "Look", "files": [file], "client_id": client_id}

    sent = [grace.post(f"{PATH}/{mine}/messages", json=message) for _ in range(2)]

    assert [answer.status_code for answer in sent] == [200, 200], sent[0].text
    assert sent[0].json == sent[1].json
    told = grace.get(f"{PATH}/{mine}").json["messages"]
    assert [[one["id"] for one in said["files"]] for said in told] == [[file]]
    assert grace.get(f"/api/files/{file}/content").data == b"some text"
    another = {**message, "files": [upload(grace)]}
    assert grace.post(f"{PATH}/{mine}/messages", json=another).status_code == 409
    for named in (file, str(uuid4())):
        body = {"message": "Look", "files": [named]}
        assert alan.post(f"{PATH}/{other}/messages", json=body).status_code == 404


def test_files_are_reached_once_a_message_of_the_users_own_names_them(application: Application) -> None:
    grace, alan = application.user("grace"), application.user("alan")
    run, other = (send(user, begin(user, agent_type="document")).json["run_id"] for user in (grace, alan))
    file, accounts = upload(grace), upload(application.client)
    said = [{"role": "user", "content": "Look", "files": [file]}]
    thread = application.client.thread(worker_id="parrot")
    at = {"parent_id": thread["root_state_id"], "messages": [{**said[0], "files": [accounts]}]}
    assert application.client.post(f"/api/threads/{thread['id']}/states", json=at).status_code == 201

    assert grace.get(f"/api/files/{file}").status_code == 404
    assert grace.post(f"/api/runs/{run}/messages", json={"messages": said}).status_code == 202
    assert grace.get(f"/api/files/{file}/content").data == b"some text"
    assert alan.get(f"/api/files/{file}").status_code == 404
    for client, mine, named in ((alan, other, file), (grace, run, accounts), (grace, run, str(uuid4()))):
        messages = [{**said[0], "files": [named]}]
        assert client.post(f"/api/runs/{mine}/messages", json={"messages": messages}).status_code == 404


def test_revoked_tokens_count_no_more_and_later_ones_do(application: Application) -> None:
    grace, alan = application.user("grace"), application.user("alan")
    session_id = begin(grace)

    assert application.client.delete(f"{TOKEN}?subject=grace").status_code == 204

    assert grace.get(PATH).status_code == 401
    assert alan.get(PATH).status_code == 200
    assert listed(application.user("grace")) == [session_id]
    assert application.client.delete(f"{TOKEN}?subject=nobody").status_code == 204


def test_the_key_of_a_request_is_one_of_its_user_and_not_of_the_account(application: Application) -> None:
    runs = [send(user, begin(user)).json["run_id"] for user in map(application.user, ("grace", "alan"))]
    said, key = {"messages": [{"role": "user", "content": "More"}]}, {"Idempotency-Key": "the same"}

    for user, run in zip(map(application.user, ("grace", "alan")), runs, strict=True):
        answer = user.post(f"/api/runs/{run}/messages", json=said, headers=key)
        assert answer.status_code == 202, answer.text
