"""Tokens of sessions: one thread, until they expire or are revoked, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
from flask import Flask

from runtime import settings as settings_module
from runtime import tokens
from runtime.model import Role, new_id
from runtime.sessions import tokens as session_tokens
from runtime.store import calls, runs, tables
from runtime.store.page import encode_cursor
from runtime.store.states import NewMessage
from runtime.testing.waiting import until
from runtime.tokens import ThreadGrant, read_thread_token, thread_token
from tests.support.attempt import Attempt
from tests.support.web import Client
from web.core import Core

Json = dict[str, Any]
SAID = [{"role": "user", "content": "Hello"}]


class Owner:
    """Ada, who has two threads; the first has a session whose tokens she gives out."""

    def __init__(self, app: Flask, client: Client) -> None:
        self.app, self.client = app, client
        self.thread = client.thread(worker_id="parrot", title="given out")
        self.other = client.thread(worker_id="parrot", title="kept")
        self.path = f"/api/threads/{self.thread['id']}/session"
        assert client.post(self.path, json={}).status_code == 201

    def token(self, scope: str = "read", **body: Any) -> Json:
        made = self.client.post(f"{self.path}/token", json={"scope": scope, **body})
        assert made.status_code == 201, made.text
        return dict(made.json)

    def guest(self, scope: str = "read", **body: Any) -> Client:
        """Somebody who has nothing but a token."""
        return guest(self.app, self.token(scope, **body)["token"])


def guest(app: Flask, token: str) -> Client:
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


@pytest.fixture
def owner(app: Flask, ada: Client) -> Owner:
    return Owner(app, ada)


def test_a_token_is_a_jwt_with_what_it_is_for(owner: Owner) -> None:
    before = datetime.now(UTC)

    made = owner.token("write", ttl_seconds=120)

    claims = jwt.decode(made["token"], options={"verify_signature": False})
    assert jwt.get_unverified_header(made["token"])["alg"] == "HS256"
    session = owner.client.get(owner.path).json["session"]
    assert (claims["sid"], claims["thread"]) == (session["id"], owner.thread["id"])
    assert (claims["sub"], claims["scope"]) == (owner.client.user["id"], "write")
    assert made["scope"] == "write"
    expires = datetime.fromisoformat(made["expires_at"])
    assert claims["exp"] == expires.timestamp()
    assert timedelta(seconds=119) < expires - before < timedelta(seconds=150)


def test_a_token_needs_a_scope_and_a_bounded_time(owner: Owner) -> None:
    month = 30 * 86400
    for wrong in ({}, {"scope": "admin"}, *({"scope": "read", "ttl_seconds": n} for n in (0, month + 1))):
        assert owner.client.post(f"{owner.path}/token", json=wrong).status_code == 422
    assert owner.token("read", ttl_seconds=month)["scope"] == "read"


def test_only_the_owner_of_an_open_session_makes_tokens(owner: Owner, bob: Client) -> None:
    path = f"{owner.path}/token"
    assert bob.post(path, json={"scope": "read"}).status_code == 404
    assert bob.delete(path).status_code == 404
    no_session = f"/api/threads/{owner.other['id']}/session/token"
    assert owner.client.post(no_session, json={"scope": "read"}).status_code == 404
    assert owner.client.delete(no_session).status_code == 404
    owner.client.post(f"{owner.path}/close")
    assert owner.client.post(path, json={"scope": "read"}).status_code == 409


def test_a_reader_reads_and_a_writer_writes_the_thread(owner: Owner) -> None:
    reader, writer = owner.guest("read"), owner.guest("write")
    path = f"/api/threads/{owner.thread['id']}"

    sent = writer.post(f"{owner.path}/messages", json={"messages": SAID})

    assert sent.status_code == 202, sent.text
    run = sent.json["run"]["id"]
    assert reader.get(path).json["thread"]["title"] == "given out"
    assert reader.get(f"/api/runs/{run}").status_code == 200
    assert reader.get(f"{path}/snapshot").json["runs"][0]["id"] == run
    assert reader.post(f"/api/runs/{run}/cancel", json={}).status_code == 403
    assert reader.post(f"{owner.path}/messages", json={"messages": SAID}).status_code == 403
    assert writer.post(f"/api/runs/{run}/cancel", json={}).status_code == 202


def test_a_writer_neither_deletes_the_thread_nor_ends_the_session_nor_makes_tokens(owner: Owner) -> None:
    writer = owner.guest("write")
    path = f"/api/threads/{owner.thread['id']}"

    assert writer.delete(path).status_code == 403
    assert writer.post(f"{owner.path}/close").status_code == 403
    assert writer.post(f"{owner.path}/token", json={"scope": "read"}).status_code == 403
    assert writer.delete(f"{owner.path}/token").status_code == 403
    for elsewhere in ("/api/me", "/api/tokens", "/api/events", "/api/threads", "/api/runs", "/api/files"):
        assert writer.get(elsewhere).status_code == 403
    assert owner.client.get(owner.path).json["session"]["status"] == "init"


def test_a_writer_reaches_nothing_of_another_thread_by_ids_in_bodies_and_queries(owner: Owner) -> None:
    writer = owner.guest("write")
    theirs = owner.client.say(owner.other, "kept to myself")["id"]
    at, root = f"/api/threads/{owner.thread['id']}", owner.thread["root_state_id"]
    cursor = encode_cursor(theirs, 5)

    tries = [
        writer.get(f"/api/threads/{owner.other['id']}"),
        writer.get(f"/api/states/{theirs}/messages"),
        writer.get(f"{at}/snapshot?state={theirs}"),
        writer.get(f"{at}/export?format=markdown&state={theirs}"),
        writer.get(f"/api/states/{root}/messages?cursor={cursor}"),
        writer.post(f"{at}/states", json={"parent_id": theirs, "messages": SAID}),
        writer.post(f"{at}/runs", json={"input_state_id": theirs, "worker_id": "parrot"}),
        writer.post(f"{at}/runs", json={"input_state_id": theirs, "worker_id": "parrot", "messages": SAID}),
        writer.patch(owner.path, json={"tip_state_id": theirs}),
        writer.post(f"/api/threads/{owner.other['id']}/runs", json={"input_state_id": theirs}),
    ]

    assert [answer.status_code for answer in tries] == [404] * len(tries)
    assert not [answer.text for answer in tries if "kept to myself" in answer.text]


def test_the_sub_runs_of_a_thread_are_of_that_thread(owner: Owner, core: Core) -> None:
    parent = Attempt(core, owner.client.ask(owner.thread).json["runs"][0]["id"])
    others = Attempt(core, owner.client.ask(owner.other).json["runs"][0]["id"])
    called, deeper = sub_run(core, parent.run), None
    deeper = sub_run(core, Attempt(core, called.id).run)
    elsewhere = sub_run(core, others.run)
    reader, writer = owner.guest("read"), owner.guest("write")

    for run in (called, deeper):
        assert reader.get(f"/api/runs/{run.id}").status_code == 200
        assert reader.get(f"/api/states/{run.output_state_id}/messages").status_code == 200
    assert reader.get(f"/api/runs/{parent.run.id}/children").json["items"][0]["id"] == called.id
    assert reader.get(f"/api/runs/{elsewhere.id}").status_code == 404
    assert writer.post(f"/api/runs/{elsewhere.id}/cancel", json={}).status_code == 404
    assert writer.post(f"/api/runs/{deeper.id}/cancel", json={}).status_code == 202


def sub_run(core: Core, parent: runs.Run) -> runs.Run:
    limits = calls.CallLimits(depth=5, in_all=100)
    spec = runs.RunSpec("parrot", "digest", "exec", {}, None, max_attempts=3, timeout_seconds=60)
    said = [NewMessage(Role.USER, "Do it")]
    made = core.database.write(calls.create, parent, "a", "digest", said, spec, limits, taken=True)
    assert made is not None
    return made.run


def test_files_are_reached_once_a_message_of_the_thread_names_them(owner: Owner) -> None:
    writer, reader = owner.guest("write"), owner.guest("read")
    path = f"/api/threads/{owner.thread['id']}/states"
    root = owner.thread["root_state_id"]

    def name(client: Client, file: str, at: str = path, parent: str = root) -> int:
        said = [{"role": "user", "content": "Look", "files": [file]}]
        return client.post(at, json={"parent_id": parent, "messages": said}).status_code

    own, kept, unnamed = upload(writer), upload(owner.client), upload(owner.client)
    other = owner.other
    kept_in = f"/api/threads/{other['id']}/states"
    assert name(owner.client, kept, kept_in, other["root_state_id"]) == 201

    assert reader.post("/api/files", data=part()).status_code == 403
    assert reader.get(f"/api/files/{own}").status_code == 404
    assert name(writer, own) == 201
    assert reader.get(f"/api/files/{own}/content").data == b"some text"
    assert name(writer, own) == 201
    for file in (kept, new_id()):
        assert name(writer, file) == 404
        assert reader.get(f"/api/files/{file}").status_code == 404
    assert reader.get(f"/api/files/{unnamed}").status_code == 404
    assert writer.delete(f"/api/files/{own}").status_code == 403


def part() -> Json:
    return {"file": (BytesIO(b"some text"), "a.txt")}


def upload(client: Client) -> str:
    made = client.post("/api/files", data=part())
    assert made.status_code == 201, made.text
    return str(made.json["file"]["id"])


def test_the_idempotency_keys_of_a_token_are_none_of_its_owner(owner: Owner) -> None:
    writer, another = owner.guest("write"), owner.guest("write")
    body, key = {"messages": SAID}, {"Idempotency-Key": "1"}

    first = writer.post(f"{owner.path}/messages", json=body, headers=key).json

    assert another.post(f"{owner.path}/messages", json=body, headers=key).json == first
    mine = {"messages": SAID, "worker_id": "parrot"}
    assert owner.client.post("/api/runs", json=mine, headers=key).status_code == 202


def test_revoking_ends_all_tokens_given_out_so_far(owner: Owner) -> None:
    before = [owner.guest("read"), owner.guest("write")]
    assert [client.get(owner.path).status_code for client in before] == [200, 200]

    assert owner.client.delete(f"{owner.path}/token").status_code == 204

    assert [client.get(owner.path).status_code for client in before] == [401, 401]
    assert owner.guest().get(owner.path).status_code == 200


@pytest.mark.parametrize("end", ["close", "delete the thread", "delete the user"])
def test_a_token_ends_with_its_session_its_thread_and_its_user(owner: Owner, core: Core, end: str) -> None:
    reader = owner.guest()
    assert reader.get(owner.path).status_code == 200

    if end == "close":
        owner.client.post(f"{owner.path}/close")
    elif end == "delete the thread":
        owner.client.delete(f"/api/threads/{owner.thread['id']}")
    else:
        core.database.write(forget_user, owner.client.user["id"])

    assert reader.get(owner.path).status_code == 401


def forget_user(c: sa.Connection, user_id: str) -> None:
    """As an operator would, whose database has its foreign keys in the way: another user has all of it."""
    moved = {"email": "gone@example.com", "password_hash": "-", "created_at": tables.now()}
    workspace = sa.select(tables.users.c.workspace_id).where(tables.users.c.id == user_id).scalar_subquery()
    another = new_id()
    c.execute(tables.users.insert().values(id=another, workspace_id=workspace, **moved))
    for table in (tables.threads, tables.logins, tables.api_tokens):
        c.execute(table.update().where(table.c.user_id == user_id).values(user_id=another))
    c.execute(tables.users.delete().where(tables.users.c.id == user_id))


def test_a_token_ends_when_its_time_is_over(owner: Owner) -> None:
    reader = owner.guest(ttl_seconds=1)
    assert reader.get(owner.path).status_code == 200

    until(lambda: reader.get(owner.path).status_code == 401, 10, "the token has expired")


def test_forged_claims_are_refused(owner: Owner, core: Core) -> None:
    grant = read_thread_token(core.settings, owner.token()["token"])
    assert grant is not None
    assert core.database.read(session_tokens.subject, grant) is not None
    wrong: list[ThreadGrant] = [
        replace(grant, thread_id=owner.other["id"]),
        replace(grant, session_id=new_id()),
        replace(grant, user_id=new_id()),
        replace(grant, generation=grant.generation + 1),
    ]

    for one in wrong:
        assert core.database.read(session_tokens.subject, one) is None
        assert guest(owner.app, thread_token(core.settings, one)).get(owner.path).status_code == 401
    claims = jwt.decode(owner.token()["token"], options={"verify_signature": False})
    for forged in (
        jwt.encode(claims, "x" * 32),
        jwt.encode(claims, None, algorithm="none"),
        jwt.encode(claims, tokens._key(core.settings, "session")),
    ):
        assert guest(owner.app, forged).get(owner.path).status_code == 401


def test_both_secrets_count_while_they_are_rotated(owner: Owner, web_environ: dict[str, str]) -> None:
    token = owner.token()["token"]
    old = web_environ["BRANCHLINE_SECURITY_SECRET_KEY"]
    new = {**web_environ, "BRANCHLINE_SECURITY_SECRET_KEY": "another key that is long enough, too"}

    assert read_thread_token(settings_module.load(new), token) is None
    both = settings_module.load({**new, "BRANCHLINE_SECURITY_SECRET_KEY_PREVIOUS": old})
    assert read_thread_token(both, token) is not None
