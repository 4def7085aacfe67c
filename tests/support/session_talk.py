"""A thread with a session, whose turns the test executes."""

from __future__ import annotations

from typing import Any

from runtime.model import Run, RunStatus
from runtime.outboxes import outbox_of
from runtime.sessions.tables import sessions
from runtime.store import runs, tables
from tests.support.attempt import Attempt
from tests.support.web import Client
from web.core import Core

Json = dict[str, Any]


class Talk:
    """A thread of Ada's with a session, whose turns the test executes."""

    def __init__(self, client: Client, core: Core, **options: Any) -> None:
        self.client, self.core = client, core
        self.thread = client.thread(worker_id="parrot")
        self.path = f"/api/threads/{self.thread['id']}/session"
        made = client.post(self.path, json=options)
        assert made.status_code == 201, made.text
        self.id = made.json["session"]["id"]

    def now(self) -> Json:
        """The session as the API shows it."""
        answer = self.client.get(self.path)
        assert answer.status_code == 200, answer.text
        return dict(answer.json["session"])

    def do(self, what: str, **body: Any) -> Any:
        return self.client.post(f"{self.path}/{what}", json=body or None)

    def send(self, *texts: str, **headers: str) -> Any:
        body = {"messages": [{"role": "user", "content": text} for text in texts]}
        return self.client.post(f"{self.path}/messages", json=body, headers=headers)

    def change(self, **body: Any) -> Any:
        return self.client.patch(self.path, json=body)

    def run(self) -> Run:
        """The run of its last turn."""
        found = self.core.database.read(runs.find, self.now()["run_id"])
        assert found is not None
        return found

    def attempt(self) -> Attempt:
        """Begin to execute the turn."""
        return Attempt(self.core, self.now()["run_id"])

    def answer(self, text: str = "Done.", status: RunStatus = RunStatus.SUCCESS, **how: Any) -> None:
        """Execute the turn that is under way, and what follows."""
        attempt = self.attempt()
        attempt.say(text)
        attempt.finish(status, **how)
        self.follow()

    def follow(self) -> None:
        """What the outbox has to do, without its delay."""
        with self.core.database.engine.connections.begin() as c:
            c.execute(tables.outbox.update().values(due_at=tables.now(-1)))
        outbox_of(self.core).handle_due()

    def began(self, seconds: float) -> None:
        """Have it be running for so long."""
        with self.core.database.engine.connections.begin() as c:
            running = sessions.c.running_since.is_not(None)
            c.execute(sessions.update().where(running).values(running_since=tables.now(-seconds)))

    def said(self) -> list[tuple[str | None, str]]:
        """Author and text of all messages up to its tip."""
        path = f"/api/states/{self.now()['tip_state_id']}/messages"
        return [(m["author"], m["content"]) for m in self.client.get(path).json["items"]]

    def moves(self) -> list[str]:
        """Its history, oldest first."""
        items = self.client.get(f"{self.path}/transitions?limit=100").json["items"]
        assert [item["number"] for item in items] == list(range(len(items), 0, -1))
        return [f"{item['from']}>{item['to']} {item['by']} {item['code']}" for item in reversed(items)]
