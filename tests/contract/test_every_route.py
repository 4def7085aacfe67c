"""Nobody reaches what is not theirs: every route, every method, everybody who might try.

The routes are those of the app, so that a new one cannot be forgotten: it needs an
example in :mod:`tests.support.world`, or a place among what is for everybody.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import jwt
import pytest

from runtime import tokens
from runtime.services import Services
from runtime.store import tables
from runtime.store.page import encode_cursor
from runtime.stream import Revocations
from runtime.testing.client import PASSWORD, Client
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from runtime.tokens import run_token
from tests.support.attempt import Attempt
from tests.support.contract import template
from tests.support.world import SECRET_TEXT, Call, World, bearer
from web.app import create_app

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE")

FOR_EVERYBODY = {
    "GET /", "GET /login", "GET /register", "GET /settings", "GET /trash",
    "GET /knowledge", "GET /knowledge/{source}",
    "GET /t/{thread}", "GET /ui/assets/{file}",
    "GET /static/panel/{file}", "OPTIONS /static/panel/{file}",
    "GET /static/{filename}", "OPTIONS /static/{filename}",
    "GET /api/docs", "GET /api/docs/{file}", "GET /api/openapi.json",
    "GET /healthz", "GET /readyz", "GET /metrics",
    "POST /api/auth/register", "POST /api/auth/login", "POST /api/auth/logout",
}  # fmt: skip
"""What needs no credentials: pages, which are the same for all, figures for operators, and the entrance."""

FOR_EACH_THEIR_OWN = {
    "GET /api/me", "GET /api/tokens", "POST /api/tokens", "GET /api/workers", "GET /api/workers/{worker_id}",
    "GET /api/events", "GET /api/threads", "POST /api/threads", "POST /api/threads/import", "GET /api/runs",
    "POST /api/runs", "POST /api/auth/password", "GET /api/trash", "DELETE /api/trash",
    "GET /api/files", "POST /api/files", "POST /api/threads/import/archive",
    "GET /api/agent-chat/sessions", "POST /api/agent-chat/sessions",
    "POST /api/agent-chat/token", "DELETE /api/agent-chat/token",
    "GET /api/knowledge/sources", "POST /api/knowledge/sources", "GET /api/knowledge/search",
    "POST /api/systems/check", "POST /api/systems", "GET /api/systems",
}  # fmt: skip
"""What names nobody's things: whoever has an account is served, and is shown only what is theirs."""

READ_BY_SESSION_TOKENS = {
    "GET /api/threads/{thread_id}", "GET /api/threads/{thread_id}/export",
    "GET /api/threads/{thread_id}/snapshot", "GET /api/threads/{thread_id}/events",
    "GET /api/threads/{thread_id}/states", "GET /api/threads/{thread_id}/session",
    "GET /api/threads/{thread_id}/session/transitions", "GET /api/threads/{thread_id}/session/summary",
    "GET /api/states/{state_id}", "GET /api/states/{state_id}/messages",
    "GET /api/runs/{run_id}", "GET /api/runs/{run_id}/wait", "GET /api/runs/{run_id}/log",
    "GET /api/runs/{run_id}/attempts", "GET /api/runs/{run_id}/children", "GET /api/runs/{run_id}/events",
    "GET /api/runs/{run_id}/messages", "GET /api/files/{file_id}", "GET /api/files/{file_id}/content",
    "GET /api/knowledge/sources/{source_id}/documents/{document_id}/passages",
}  # fmt: skip
"""What a token of a session reads, of its thread."""

WRITTEN_BY_SESSION_TOKENS = {
    "PATCH /api/threads/{thread_id}", "POST /api/threads/{thread_id}/states",
    "POST /api/threads/{thread_id}/runs", "PATCH /api/states/{state_id}",
    "PATCH /api/threads/{thread_id}/session", "POST /api/threads/{thread_id}/session/messages",
    "POST /api/threads/{thread_id}/session/pause", "POST /api/threads/{thread_id}/session/resume",
    "POST /api/threads/{thread_id}/session/step", "POST /api/threads/{thread_id}/session/stop",
    "POST /api/runs/{run_id}/messages", "DELETE /api/runs/{run_id}/messages/{message_id}",
    "POST /api/runs/{run_id}/cancel", "POST /api/runs/{run_id}/answer", "POST /api/files",
}  # fmt: skip
"""What it writes, if that is its scope."""

SERVED_TO_SUBJECTS = {
    "GET /api/states/{state_id}", "GET /api/states/{state_id}/messages",
    "GET /api/runs/{run_id}", "GET /api/runs/{run_id}/wait", "GET /api/runs/{run_id}/children",
    "GET /api/runs/{run_id}/events", "GET /api/runs/{run_id}/messages", "POST /api/runs/{run_id}/messages",
    "DELETE /api/runs/{run_id}/messages/{message_id}",
    "POST /api/runs/{run_id}/cancel", "POST /api/runs/{run_id}/answer",
    "GET /api/files/{file_id}", "GET /api/files/{file_id}/content", "POST /api/files",
    "GET /api/agent-chat/sessions", "POST /api/agent-chat/sessions",
    "GET /api/agent-chat/sessions/{session_id}", "POST /api/agent-chat/sessions/{session_id}/messages",
    "DELETE /api/agent-chat/sessions/{session_id}",
    "GET /api/knowledge/sources/{source_id}/documents/{document_id}/passages",
}  # fmt: skip
"""What the token of an account's own user reaches, of that user's chats."""

NOWHERE = "01900000-0000-7000-8000-000000000000"
PAGE = Call(
    {
        "filename": "front.css",
        "file": "swagger-ui.css",
        "thread": NOWHERE,
        "source": NOWHERE,
    }
)


@dataclass(frozen=True)
class Somebody:
    """Who tries, by what they show."""

    name: str
    client: Client
    headers: Mapping[str, str] = field(default_factory=dict)
    has_account: bool = False
    has_run: bool = False
    has_another_thread: bool = False
    """A session's token, that counts."""


@pytest.fixture
def world(ada: Client, services: Services) -> World:
    return World(ada, services)


@pytest.fixture(scope="module")
def routes(services: Services) -> dict[str, set[str]]:
    """The methods of every path that the app has."""
    found: dict[str, set[str]] = {}
    for rule in create_app(services.settings).url_map.iter_rules():
        found.setdefault(template(rule), set()).update(rule.methods or ())
    return found


@pytest.fixture
def everybody_else(world: World, bob: Client, stack: Stack, services: Services) -> Iterator[list[Somebody]]:
    """All that the owner is not."""
    with ExitStack() as ends:
        yield list(others(world, bob, services, lambda: ends.enter_context(Client(stack.url))))


def others(world: World, bob: Client, services: Services, client: Callable[[], Client]) -> Iterator[Somebody]:
    def shows(name: str, secret: str, **more: bool) -> Somebody:
        return Somebody(name, client(), bearer(secret), **more)

    def signed(kind: str, **claims: Any) -> str:
        # The product's own key, so that nothing but the claims is wrong; nothing public hands it out.
        return jwt.encode({"typ": kind, **claims}, tokens._key(services.settings, kind))

    yield Somebody("nobody", client())
    yield Somebody("another user", bob, has_account=True)
    secret = bob.post("/api/tokens").json()["token"]["secret"]
    yield shows("another user's API token", secret, has_account=True)

    made = world.client.post("/api/tokens").json()["token"]
    world.client.delete(f"/api/tokens/{made['id']}")
    yield shows("a revoked API token", made["secret"])

    account = {"email": world.user["email"], "password": PASSWORD, "token": True}
    left = client()
    token = left.post("/api/auth/login", json=account).json()["token"]
    cookies = httpx.Cookies(left.cookies)
    left.post("/api/auth/logout")
    left.cookies = cookies
    assert cookies
    yield Somebody("an ended session", left)
    yield shows("the token of an ended session", token)

    token = client().post("/api/auth/login", json=account).json()["token"]
    session = {"sid": jwt.decode(token, options={"verify_signature": False})["sid"]}
    past = int(time.time()) - 600  # longer ago than clocks may differ
    yield shows("an expired session token", signed("session", **session, exp=past))
    yield shows("a forged session token", jwt.encode({"typ": "session", **session}, "x" * 32))
    yield shows(
        "an unsigned session token", jwt.encode({"typ": "session", **session}, None, algorithm="none")
    )

    gone = client()
    gone.register()
    secret = gone.post("/api/tokens").json()["token"]["secret"]
    user_id = gone.get("/api/me").json()["user"]["id"]
    services.database.write(delete_user, user_id)
    Revocations(services.link).announce(user_id)  # else its credentials are cached for some seconds
    until(lambda: gone.get("/api/me").status_code == 401, what="the deleted user is refused")
    yield Somebody("the session of a user who was deleted", gone)
    yield shows("the API token of a user who was deleted", secret)

    run, before, ended = world.running.run, world.superseded.run, world.ended.run
    claims = {"run": run.id, "attempt": run.attempt}
    bobs = Attempt(services, bob.ask(bob.thread(), "Hello")["runs"][0]["id"]).run
    yield shows("the token of another run", run_token(services.settings, bobs.id, bobs.attempt), has_run=True)
    yield shows("an expired run token", signed("run", **claims, exp=past))
    assert (before.id, before.attempt + 1) == (run.id, run.attempt)
    yield shows("the token of a superseded attempt", run_token(services.settings, before.id, before.attempt))
    yield shows("the token of a run that has ended", run_token(services.settings, ended.id, ended.attempt))
    yield shows("a run token under the key of sessions", signed("session", **claims))

    secret = world.session_token("write", world.client.thread(worker_id="echo")["id"])
    yield shows("a session token of another thread", secret, has_another_thread=True)
    thread = world.thread["id"]
    secret = world.session_token("write", thread)
    yield shows("an expired token of the thread", signed("thread", **{**claims_of(secret), "exp": past}))
    yield shows("a forged token of the thread", jwt.encode(claims_of(secret), "x" * 32))
    yield shows("a token of the thread under the key of logins", signed("session", **claims_of(secret)))
    secret = world.agent_token("a customer")
    yield shows("an expired agent token", signed("agent", **{**claims_of(secret), "exp": past}))
    yield shows("a forged agent token", jwt.encode(claims_of(secret), "x" * 32))
    yield shows("an agent token under the key of threads", signed("thread", **claims_of(secret)))
    world.client.delete("/api/agent-chat/token", params={"subject": "a customer"})
    yield shows("a revoked agent token", secret)
    world.client.delete(f"/api/threads/{thread}/session/token")
    yield shows("a revoked token of the thread", secret)
    secret = world.session_token("write", thread)
    world.client.post(f"/api/threads/{thread}/session/close")
    yield shows("a token of a closed session", secret)


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def delete_user(c: Any, user_id: str) -> None:
    """As an operator would who has nothing but SQL."""
    for table in (tables.api_tokens, tables.logins):
        c.execute(table.delete().where(table.c.user_id == user_id))
    c.execute(tables.users.delete().where(tables.users.c.id == user_id))


def test_every_route_has_an_example_or_is_public(routes: Mapping[str, set[str]], world: World) -> None:
    asked = {f"{method} {path}" for path, methods in routes.items() for method in methods - {"HEAD"}}

    assert asked == FOR_EVERYBODY | set(world.calls())


def test_every_operation_of_the_document_is_walked(
    routes: Mapping[str, set[str]], services: Services
) -> None:
    document = create_app(services.settings).test_client().get("/api/openapi.json").json
    told = {
        f"{method.upper()} {path}"
        for path, operations in document["paths"].items()
        for method in operations
        if method != "parameters"
    }
    walked = {f"{method} {path}" for path, methods in routes.items() for method in methods - {"HEAD"}}

    assert told <= walked
    # What is left out of the document is for everybody: pages, probes, and the document itself.
    assert walked - told <= FOR_EVERYBODY
    public = {one for one in told if not security_of(document, one)}
    assert public == told & FOR_EVERYBODY


def security_of(document: Any, operation: str) -> list[Any]:
    method, _, path = operation.partition(" ")
    found: list[Any] = document["paths"][path][method.lower()]["security"]
    return found


def test_every_route_serves_the_owner(world: World) -> None:
    """Else that others are refused would show nothing."""
    refused = {}
    for operation, call in world.calls().items():
        secret = world.secret_for(operation)
        headers = bearer(secret) if secret else {}
        status, _ = send(Somebody("the owner", world.client, headers), operation, call)
        if not 200 <= status < 300:
            refused[operation] = status

    assert refused == {}


def test_every_route_refuses_everybody_else(
    routes: Mapping[str, set[str]],
    world: World,
    everybody_else: list[Somebody],
    record_property: Callable[[str, object], None],
) -> None:
    calls, known, before = world.calls(), world.known(), world.picture()
    tried: Counter[str] = Counter()
    wrong = []

    for somebody in everybody_else:
        for path, methods in routes.items():
            example = next((call for name, call in calls.items() if name.endswith(f" {path}")), PAGE)
            for method in METHODS if somebody.has_account or not somebody.headers else sorted(methods):
                operation = f"{'GET' if method == 'HEAD' else method} {path}"
                if operation in FOR_EVERYBODY:
                    continue
                if somebody.has_another_thread and operation == "POST /api/files":
                    continue  # it uploads what only its own thread is to name
                call = calls.get(operation, replace(example, body=None))
                status, text = send(somebody, f"{method} {path}", call)
                tried[somebody.name] += 1
                right = expected(somebody, operation) if method in methods else {405}
                if status not in right:
                    wrong.append(f"{somebody.name}: {method} {path}: {status}, not {right}")
                wrong += [f"{somebody.name}: {method} {path} shows {one}" for one in known if one in text]

    assert not wrong, "\n".join(wrong)
    assert world.picture() == before
    what = f"{len(routes)} routes, {len(tried)} identities, {tried.total()} requests"
    record_property("tried", what)
    print(what)


@pytest.mark.parametrize("scope", ["read", "write"])
def test_a_session_token_reaches_its_thread_and_nothing_else(
    routes: Mapping[str, set[str]], world: World, client: Client, scope: str
) -> None:
    thread = world.thread["id"]
    for body in ({"files": [world.file]}, {}):
        said = [{"role": "user", "content": SECRET_TEXT, **body}]
        at = {"parent_id": world.thread["root_state_id"], "messages": said}
        world.client.post(f"/api/threads/{thread}/states", json=at)
    world.cite()
    served = READ_BY_SESSION_TOKENS | (WRITTEN_BY_SESSION_TOKENS if scope == "write" else set())
    secret = world.session_token(scope, thread)
    calls, before = world.calls(), world.picture()
    wrong = []

    with Client(str(client.base_url)) as guest:
        somebody = Somebody("a guest", guest, bearer(secret))
        for operation, call in calls.items():
            if "/session" in operation and "agent-chat" not in operation:
                call = replace(call, path={"thread_id": thread})
            status, _ = send(somebody, operation, call)
            if "/worker/" in operation:
                right = status == 401
            elif operation in served:
                right = status not in (401, 403, 404)
            else:
                right = status == 403 or operation in FOR_EVERYBODY
            if not right:
                wrong.append(f"{operation}: {status}")

    assert not wrong, "\n".join(wrong)
    assert served <= calls.keys()
    if scope == "read":
        assert world.picture() == before


def test_the_token_of_an_accounts_own_user_reaches_that_users_chats_and_nothing_else(
    world: World, client: Client
) -> None:
    secret = world.agent_token("a customer")
    calls, before, known = world.calls(), world.picture(), world.known() - {world.user["id"]}
    wrong = []

    with Client(str(client.base_url)) as customer:
        somebody = Somebody("a customer", customer, bearer(secret))
        for operation, call in calls.items():
            status, text = send(somebody, operation, call)
            if "/worker/" in operation:
                right = status == 401
            elif operation in SERVED_TO_SUBJECTS:
                # What there is is the account's, and not this user's.
                right = status == 404 if "{" in operation else status < 300
            else:
                right = status == 403 or operation in FOR_EVERYBODY
            if not right or any(one in text for one in known):
                wrong.append(f"{operation}: {status}")

    assert not wrong, "\n".join(wrong)
    assert calls.keys() >= SERVED_TO_SUBJECTS
    after = world.picture()
    for more in ("/api/agent-chat/sessions", "/api/threads", "/api/files"):
        known_before = [one.get("session_id", one.get("id")) for one in before.pop(more)["items"]]
        now = [one.get("session_id", one.get("id")) for one in after.pop(more)["items"]]
        assert len(now) == len(known_before) + 1
        assert now[1:] == known_before
    assert after == before


def test_an_id_in_a_body_or_query_is_refused_if_it_is_another_users(
    world: World, bob: Client, services: Services
) -> None:
    thread, theirs = bob.thread(title="mine"), world.state["id"]
    root = thread["root_state_id"]
    at = f"/api/threads/{thread['id']}"
    waiting = Attempt(services, bob.ask(thread, "Hello")["runs"][0]["id"])
    waiting.ask("Sure?")
    asked = (world.waiting.run.confirmation or {})["id"]
    said = [{"role": "user", "content": "Hello"}]
    on_theirs = {"input_state_id": theirs, "worker_id": "echo"}
    place, number = encode_cursor(theirs, 5), encode_cursor("2100-01-01T00:00:00Z", world.queued["id"])
    run = Attempt(services, bob.ask(thread, "Hello")["runs"][0]["id"]).run
    worker = bearer(run_token(services.settings, run.id, run.attempt))
    tries: list[tuple[int, str, str, dict[str, Any]]] = [
        (404, "POST", f"{at}/states", {"json": {"parent_id": theirs, "messages": said}}),
        (404, "POST", f"{at}/runs", {"json": on_theirs}),
        (
            404,
            "POST",
            f"{at}/runs",
            {"json": {"input_state_id": theirs, "worker_id": "echo", "messages": said}},
        ),
        (404, "GET", f"{at}/snapshot", {"params": {"state": theirs}}),
        (404, "GET", f"{at}/export", {"params": {"state": theirs, "format": "markdown"}}),
        (404, "GET", f"/api/states/{root}/messages", {"params": {"cursor": place}}),
        (422, "GET", f"/worker/runs/{run.id}/messages", {"params": {"cursor": place}, "headers": worker}),
        (200, "GET", f"{at}/states", {"params": {"cursor": number}}),
        (200, "GET", "/api/runs", {"params": {"cursor": number}}),
        (200, "GET", "/api/runs", {"params": {"thread": world.thread["id"]}}),
        (200, "GET", "/api/threads", {"params": {"q": SECRET_TEXT}}),
        (200, "GET", "/api/threads", {"params": {"cursor": encode_cursor("2100-01-01T00:00:00Z", theirs)}}),
        (
            409,
            "POST",
            f"/api/runs/{waiting.run.id}/answer",
            {"json": {"confirmation_id": asked, "answer": 1}},
        ),
    ]

    for status, method, path, rest in tries:
        answer = bob.request(method, path, **rest)
        assert answer.status_code == status, (method, path, rest, answer.text)
        assert not [one for one in world.known() if one in answer.text], (method, path, rest)


def test_an_idempotency_key_does_not_reach_another_users_run(world: World, bob: Client) -> None:
    body = {"worker_id": "echo", "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"Idempotency-Key": "the same"}

    first, second = (
        client.post("/api/runs", json=body, headers=headers).json() for client in (world.client, bob)
    )

    assert first["thread"]["id"] != second["thread"]["id"]
    assert bob.get(f"/api/threads/{first['thread']['id']}").status_code == 404


@pytest.mark.parametrize("mark", ["their cursor", "their rebuilt event"])
def test_a_cursor_of_another_thread_shows_nothing_of_it(
    world: World, bob: Client, services: Services, mark: str
) -> None:
    snapshot = world.client.get(f"/api/threads/{world.thread['id']}/snapshot").json()
    after = snapshot["cursor"] if mark == "their cursor" else f"db-{world.ended.run.id}-1:1"
    thread = bob.thread()
    attempt = Attempt(services, bob.ask(thread, "Hello")["runs"][0]["id"])
    attempt.say("mine")
    attempt.finish()

    for path in (f"/api/threads/{thread['id']}/events", f"/api/runs/{attempt.run.id}/events"):
        with httpx.Client.stream(bob, "GET", path, headers={"Last-Event-ID": after}) as answer:
            text = until_silence(answer)
        assert answer.status_code in (200, 204)
        assert not [one for one in world.known() if one in text], text


def until_silence(answer: httpx.Response) -> str:
    """What a stream sends before its first heartbeat, or its end."""
    text = ""
    for piece in answer.iter_text():
        text += piece
        if ": hb" in text:
            break
    return text


def expected(somebody: Somebody, operation: str) -> set[int]:
    """The statuses that ``operation`` may answer ``somebody`` who is not the owner."""
    if "/worker/pools/" in operation:
        return {401}
    if "/worker/" in operation:
        return {404} if somebody.has_run else {401}
    if somebody.has_another_thread:
        return {403, 404}
    if not somebody.has_account:
        return {401}
    if operation == "POST /api/knowledge/sources":
        return {201, 409}  # the same user comes by several ways, and has the name already
    return {200, 201, 202, 204} if operation in FOR_EACH_THEIR_OWN else {404}


def send(somebody: Somebody, operation: str, call: Call) -> tuple[int, str]:
    """Status and text of the answer; of a stream only that it is one."""
    method, _, path = operation.partition(" ")
    arguments = call.arguments()
    arguments["headers"] = {**arguments["headers"], **somebody.headers}
    with httpx.Client.stream(somebody.client, method, path.format_map(call.path), **arguments) as answer:
        streams = answer.headers.get("Content-Type", "").startswith("text/event-stream")
        return answer.status_code, "" if streams else answer.read().decode()
