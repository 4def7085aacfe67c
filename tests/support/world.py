"""One user's world: a thing of every kind, and for every operation of the API a request that it serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.model import Json, Role, new_id
from runtime.services import Services
from runtime.store import attempts, calls, pool_tokens, runs
from runtime.store.states import NewMessage
from runtime.testing.client import PASSWORD, Client
from runtime.tokens import run_token
from tests.support.answers import PoolOfATest
from tests.support.attempt import Attempt

SECRET_TEXT = "only for its owner"
"""Is in the user's messages, and so in nothing that anybody else may be shown."""


@dataclass(frozen=True)
class Call:
    """A request that an operation serves."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    headers: Mapping[str, str] = field(default_factory=dict)
    file: bytes | None = None
    content: bytes | None = None

    def arguments(self) -> dict[str, Any]:
        """For httpx, but for the path."""
        body = {} if self.body is None else {"json": self.body}
        if self.file is not None:
            body = {"files": {"file": ("a.txt", self.file)}}
        if self.content is not None:
            body = {"content": self.content}
        return {"params": dict(self.query), "headers": dict(self.headers), **body}


class World:
    """What a user has: made through the API, and by attempts where a worker would have to."""

    def __init__(self, client: Client, services: Services) -> None:
        self.client = client
        self.user = client.get("/api/me").json()["user"]
        self.thread = client.thread(title=SECRET_TEXT, worker_id="echo")
        self.state = self._say(SECRET_TEXT)
        self.deleted = client.thread(title=SECRET_TEXT)
        client.delete(f"/api/threads/{self.deleted['id']}")
        self.queued = self._run()
        self.waiting = self._attempt(services)
        self.waiting.ask(SECRET_TEXT)
        self.ended = self._attempt(services)
        self.message = self.ended.say(SECRET_TEXT)
        self.ended.finish(log=SECRET_TEXT)
        self.superseded = self._attempt(services, "fake")  # which may search
        services.database.write(attempts.hand_back, self.superseded.run, attempts.AttemptResult())
        self.running = Attempt(services, self.superseded.run.id)
        self.unread = self._queue_message()
        self.called = self._call(services)
        self._pool = PoolOfATest(services, self.running.run)
        self.token = client.post("/api/tokens").json()["token"]
        self.run_token = run_token(services.settings, self.running.run.id, self.running.run.attempt)
        self.pool_token = services.database.write(pool_tokens.create, "python", "a machine")[1]
        upload = {"files": {"file": (SECRET_TEXT, SECRET_TEXT.encode())}}
        self.file = client.post("/api/files", **upload).json()["file"]["id"]  # type: ignore[arg-type]
        made = client.post(
            f"/worker/runs/{self.running.run.id}/files",
            params={"name": SECRET_TEXT},
            content=SECRET_TEXT,
            headers=bearer(self.run_token),
        )
        self.made_file = made.json()["file"]["id"]
        self.talk = client.thread(title=SECRET_TEXT, worker_id="echo")
        made = client.post(f"/api/threads/{self.talk['id']}/session", json={"auto": {"prompt": SECRET_TEXT}})
        self.session = made.json()["session"]["id"]
        chats = "/api/agent-chat/sessions"
        self.chat = client.post(chats, json={"agent_type": "rag"}).json()["session_id"]
        client.post(f"{chats}/{self.chat}/messages", json={"message": SECRET_TEXT})
        self.deleted_chat = client.post(chats, json={"agent_type": "task"}).json()["session_id"]

        path = "/api/knowledge/sources"
        self.source = client.post(path, json={"name": SECRET_TEXT}).json()["source"]["id"]
        made = client.post(f"{path}/{self.source}/documents", **upload)  # type: ignore[arg-type]
        self.document = made.json()["document"]["id"]

        writer = {"name": "writer", "worker_id": "echo", "entry": True}
        made = client.post("/api/systems", json={"name": SECRET_TEXT, "entities": [writer]})
        self.system = made.json()["system"]["id"]
        told = {"to": "writer", "kind": "read", "body": {"content": SECRET_TEXT}}
        sent = client.post(f"/api/systems/{self.system}/messages", json=told)
        self.system_message = sent.json()["message"]["id"]

    def known(self) -> set[str]:
        """What nobody else may be shown."""
        own = (self.waiting, self.ended, self.running)
        runs = [self.queued["id"], *(attempt.run.id for attempt in own)]
        states = [
            self.thread["root_state_id"],
            self.state["id"],
            *(attempt.run.output_state_id for attempt in own),
        ]
        return {
            SECRET_TEXT,
            self.user["id"],
            self.thread["id"],
            self.deleted["id"],
            self.message,
            self.unread,
            self.token["id"],
            self.file,
            self.made_file,
            self.talk["id"],
            self.session,
            self.chat,
            self.source,
            self.document,
            self.system,
            self.system_message,
            *runs,
            *states,
        }

    def picture(self) -> dict[str, Any]:
        """All of it as the user sees it, to be compared later."""
        thread, runs = self.thread["id"], (self.queued["id"], self.waiting.run.id, self.running.run.id)
        paths = (
            "/api/me",
            "/api/threads",
            "/api/runs",
            "/api/trash",
            "/api/files",
            "/api/agent-chat/sessions",
            f"/api/agent-chat/sessions/{self.chat}",
            "/api/knowledge/sources",
            f"/api/knowledge/sources/{self.source}/documents",
            f"/api/systems/{self.system}",
            f"/api/threads/{thread}/export",
            f"/api/threads/{thread}/states",
            *(f"/api/runs/{run}" for run in runs),
        )
        seen: dict[str, Any] = {path: self.client.get(path).json() for path in paths}
        return {**seen, "tokens": [token["id"] for token in self.client.get("/api/tokens").json()["items"]]}

    def cite(self) -> None:
        """Have an answer in the thread cite the document."""
        source = {"document_id": self.document, "position": 0, "text": SECRET_TEXT}
        self.running.say("As it says [1].", data={"sources": [source]})

    def session_token(self, scope: str, thread_id: str) -> str:
        """A token of the session of a thread, which has one from now on."""
        path = f"/api/threads/{thread_id}/session"
        self.client.post(path, json={})
        return str(self.client.post(f"{path}/token", json={"scope": scope}).json()["token"])

    def agent_token(self, subject: str) -> str:
        """A token of one of the user's own users."""
        made = self.client.post("/api/agent-chat/token", json={"subject": subject})
        return str(made.json()["token"])

    def secret_for(self, operation: str) -> str | None:
        """What a worker, or a machine that executes some, shows; None for what is the user's."""
        if "/worker/pools/" in operation:
            return self.pool_token
        return self.run_token if "/worker/" in operation else None

    def calls(self) -> dict[str, Call]:
        """By method and OpenAPI path, in an order in which the owner can make them all."""
        thread, state, token = {"thread_id": self.thread["id"]}, {"state_id": self.state["id"]}, self.token
        prompt = [{"role": "user", "content": "Hello"}]
        root = self.thread["root_state_id"]
        run, waits = {"run_id": self.ended.run.id}, {"run_id": self.waiting.run.id}
        works = {"run_id": self.running.run.id}
        account = {"email": self.user["email"], "password": PASSWORD}
        export = self.client.get(f"/api/threads/{self.client.thread()['id']}/export").json()
        path = f"/api/threads/{self.client.thread()['id']}/export"
        archive = self.client.get(path, params={"format": "zip"}).content
        return {
            "POST /api/auth/register": Call(body={**account, "email": f"new.{account['email']}"}),
            "POST /api/auth/login": Call(body={**account, "token": True}),
            "GET /api/me": Call(),
            "GET /api/tokens": Call(),
            "POST /api/tokens": Call(body={"name": "laptop"}),
            "GET /api/workers": Call(),
            "GET /api/workers/{worker_id}": Call({"worker_id": "echo"}),
            "GET /api/events": Call(),
            "GET /api/threads": Call(query={"q": SECRET_TEXT}),
            "POST /api/threads": Call(body={"title": "x", "worker_id": "echo", "config": {}}),
            "POST /api/threads/import": Call(body=export),
            "POST /api/threads/import/archive": Call(content=archive),
            "GET /api/threads/{thread_id}": Call(thread),
            "PATCH /api/threads/{thread_id}": Call(thread, body={"metadata": {"a": 1}}),
            "GET /api/threads/{thread_id}/export": Call(thread, {"format": "markdown", **_state(state)}),
            "GET /api/threads/{thread_id}/snapshot": Call(thread, _state(state)),
            "GET /api/threads/{thread_id}/events": Call(thread, {"after": "0"}),
            "GET /api/threads/{thread_id}/states": Call(thread, {"limit": "2"}),
            "POST /api/threads/{thread_id}/states": Call(
                thread, body={"parent_id": root, "messages": prompt}
            ),
            "GET /api/states/{state_id}": Call(state),
            "PATCH /api/states/{state_id}": Call(state, body={"label": "here", "starred": True}),
            "GET /api/states/{state_id}/messages": Call(state),
            **self._session_calls(),
            **self._chat_calls(),
            **self._knowledge_calls(),
            **self._system_calls(),
            "POST /api/threads/{thread_id}/runs": Call(
                thread,
                body={"input_state_id": root, "messages": prompt, "worker_id": "echo"},
                headers={"Idempotency-Key": "the first"},
            ),
            "POST /api/runs": Call(body={"messages": prompt, "worker_id": "echo"}),
            "GET /api/runs": Call(query={"thread": self.thread["id"]}),
            "GET /api/runs/{run_id}": Call(run),
            "GET /api/runs/{run_id}/wait": Call(run, {"timeout": "0"}),
            "GET /api/runs/{run_id}/log": Call(run),
            "GET /api/runs/{run_id}/attempts": Call(run),
            "GET /api/runs/{run_id}/children": Call(run, {"limit": "2"}),
            "GET /api/runs/{run_id}/events": Call(run),
            "POST /api/runs/{run_id}/messages": Call(
                works, body={"messages": prompt}, headers={"Idempotency-Key": "another one"}
            ),
            "GET /api/runs/{run_id}/messages": Call(works),
            "DELETE /api/runs/{run_id}/messages/{message_id}": Call({**works, "message_id": self.unread}),
            "POST /api/runs/{run_id}/answer": Call(waits, body={"answer": "yes"}),
            "POST /api/runs/{run_id}/cancel": Call(waits, body={"wait": 0}),
            "GET /worker/runs/{run_id}": Call(works),
            "GET /worker/runs/{run_id}/messages": Call(works, {"limit": "2"}),
            "POST /worker/runs/{run_id}/events": Call(works, body=[{"type": "delta", "text": "x"}]),
            "GET /worker/runs/{run_id}/commands": Call(works),
            "POST /worker/runs/{run_id}/files": Call(works, {"name": "a.txt"}, file=b"of a run"),
            "GET /worker/runs/{run_id}/files/{file_id}": Call({**works, "file_id": self.made_file}),
            "POST /api/files": Call(file=b"of a user"),
            "GET /api/files": Call(query={"limit": "2"}),
            "GET /api/files/{file_id}": Call({"file_id": self.file}),
            "GET /api/files/{file_id}/content": Call({"file_id": self.file}),
            "DELETE /api/files/{file_id}": Call({"file_id": self.file}),
            "POST /worker/pools/{pool}/claims": Call(
                {"pool": "python"}, body={"offer": "0123456789abcdef", "wait": 0}
            ),
            "POST /worker/runs/{run_id}/requests": Call(
                works, body={"type": "save", "key": "plan", "value": {"a": 1}}
            ),
            "GET /worker/runs/{run_id}/calls/{sub_run_id}": Call(
                {**works, "sub_run_id": self.called}, {"timeout": "0"}
            ),
            "GET /worker/runs/{run_id}/calls/{sub_run_id}/events": Call({**works, "sub_run_id": self.called}),
            "DELETE /api/tokens/{token_id}": Call({"token_id": token["id"]}),
            "DELETE /api/threads/{thread_id}": Call(thread),
            "POST /api/threads/{thread_id}/restore": Call(thread),
            "GET /api/trash": Call(),
            "DELETE /api/trash/{thread_id}": Call({"thread_id": self.deleted["id"]}),
            "DELETE /api/trash": Call(),
            "POST /api/auth/password": Call(body={"current_password": PASSWORD, "new_password": PASSWORD}),
            "POST /api/auth/logout": Call(),
        }

    def _session_calls(self) -> dict[str, Call]:
        path, talk = "/api/threads/{thread_id}/session", {"thread_id": self.talk["id"]}
        said = {"messages": [{"role": "user", "content": "Hello"}]}
        return {
            f"POST {path}": Call({"thread_id": self.thread["id"]}, body={"auto": {"enabled": False}}),
            f"GET {path}": Call(talk),
            f"PATCH {path}": Call(talk, body={"limits": {"max_turns": 3}}),
            f"POST {path}/messages": Call(talk, body=said, headers={"Idempotency-Key": "of a session"}),
            f"POST {path}/pause": Call(talk),
            f"POST {path}/stop": Call(talk),
            f"POST {path}/step": Call(talk),
            f"POST {path}/resume": Call(talk),
            f"GET {path}/transitions": Call(talk, {"limit": "2"}),
            f"GET {path}/summary": Call(talk),
            f"POST {path}/token": Call(talk, body={"scope": "write", "ttl_seconds": 60}),
            f"DELETE {path}/token": Call(talk),
            f"POST {path}/close": Call(talk),
        }

    def _chat_calls(self) -> dict[str, Call]:
        path, chat = "/api/agent-chat/sessions", {"session_id": self.chat}
        said = {"message": "Hello", "context": {"match_count": 5}, "client_id": new_id()}
        token = "/api/agent-chat/token"
        return {
            f"POST {token}": Call(body={"subject": "a customer", "agent_types": ["rag"], "ttl_seconds": 60}),
            f"DELETE {token}": Call(query={"subject": "another customer"}),
            f"POST {path}": Call(body={"agent_type": "rag", "project_id": "a project"}),
            f"GET {path}": Call(query={"limit": "2"}),
            f"GET {path}/{{session_id}}": Call(chat, {"limit": "2"}),
            f"POST {path}/{{session_id}}/messages": Call(chat, body=said),
            f"DELETE {path}/{{session_id}}": Call({"session_id": self.deleted_chat}),
        }

    def _knowledge_calls(self) -> dict[str, Call]:
        path, source = "/api/knowledge/sources", {"source_id": self.source}
        works = {"run_id": self.running.run.id}
        return {
            f"POST {path}": Call(body={"name": "manuals", "language": "german"}),
            f"GET {path}": Call(query={"limit": "2"}),
            f"GET {path}/{{source_id}}": Call(source),
            f"POST {path}/{{source_id}}/documents": Call(source, file=b"About cats."),
            f"POST {path}/{{source_id}}/ingestions": Call(source, body={"urls": ["https://example.com/"]}),
            f"GET {path}/{{source_id}}/ingestions": Call(source, {"limit": "2"}),
            f"GET {path}/{{source_id}}/documents": Call(source, {"limit": "2"}),
            "GET /api/knowledge/search": Call(query={"q": SECRET_TEXT}),
            "GET /worker/runs/{run_id}/search": Call(works, {"q": SECRET_TEXT}),
            "GET /worker/runs/{run_id}/documents": Call(works, {"source": SECRET_TEXT, "name": "dogs.txt"}),
            "POST /worker/runs/{run_id}/documents": Call(
                works, {"source": SECRET_TEXT, "name": "dogs.txt"}, content=b"About dogs."
            ),
            f"GET {path}/{{source_id}}/documents/{{document_id}}": Call(
                {**source, "document_id": self.document}
            ),
            f"GET {path}/{{source_id}}/documents/{{document_id}}/passages": Call(
                {**source, "document_id": self.document}, {"limit": "2", "q": SECRET_TEXT}
            ),
            f"DELETE {path}/{{source_id}}/documents/{{document_id}}": Call(
                {**source, "document_id": self.document}
            ),
            f"DELETE {path}/{{source_id}}": Call(source),
        }

    def _system_calls(self) -> dict[str, Call]:
        writer = {"name": "writer", "worker_id": "echo", "entry": True}
        path, system = "/api/systems", {"system_id": self.system}
        said = {"to": "writer", "kind": "query", "body": {"content": "Hello", "data": {"a": 1}}}
        return {
            f"POST {path}/check": Call(body={"name": "newsroom", "entities": [writer]}),
            f"POST {path}": Call(body={"name": "newsroom", "entities": [writer]}),
            f"GET {path}": Call(query={"limit": "2"}),
            f"GET {path}/{{system_id}}": Call(system),
            f"POST {path}/{{system_id}}/messages": Call(system, body=said),
            f"GET {path}/{{system_id}}/messages/{{message_id}}": Call(
                {**system, "message_id": self.system_message}
            ),
            f"GET {path}/{{system_id}}/dead-letters": Call(system, {"limit": "2"}),
            f"POST {path}/{{system_id}}/stop": Call(system, body={"drain": True}),
            f"DELETE {path}/{{system_id}}": Call(system),
        }

    def _say(self, text: str) -> dict[str, Any]:
        body = {"parent_id": self.thread["root_state_id"], "messages": [{"role": "user", "content": text}]}
        return self.client.post(f"/api/threads/{self.thread['id']}/states", json=body).json()["state"]

    def _run(self, worker_id: str = "echo") -> dict[str, Any]:
        return self.client.ask(self.thread, SECRET_TEXT, worker_id=worker_id)["runs"][0]

    def _queue_message(self) -> str:
        """A message to the run that runs; its id."""
        body = {"messages": [{"role": "user", "content": SECRET_TEXT}]}
        sent = self.client.post(f"/api/runs/{self.running.run.id}/messages", json=body).json()
        return str(sent["messages"][0]["id"])

    def _call(self, services: Services) -> str:
        """A sub-run of the run that runs, which has ended; its id."""
        limits = calls.CallLimits(depth=5, in_all=100)
        spec = runs.RunSpec("echo", "digest", "python", {}, None, max_attempts=3, timeout_seconds=60)
        said = [NewMessage(Role.USER, SECRET_TEXT)]
        made = services.database.write(
            calls.create, self.running.run, "a", "digest", said, spec, limits, taken=True
        )
        assert made is not None
        Attempt(services, made.run.id).finish()
        return made.run.id

    def _attempt(self, services: Services, worker_id: str = "echo") -> Attempt:
        return Attempt(services, self._run(worker_id)["id"])


def _state(state: Mapping[str, str]) -> dict[str, str]:
    return {"state": state["state_id"]}


def bearer(secret: str) -> dict[str, str]:
    """The header that shows ``secret``."""
    return {"Authorization": f"Bearer {secret}"}
