"""A system of Ada's, whose entities the test plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from runtime.model import RunError, RunStatus
from runtime.outboxes import outbox_of
from runtime.store import tables
from tests.support.attempt import Attempt
from tests.support.web import Client
from web.core import Core

Json = dict[str, Any]


def send(to: str | None, content: str, kind: str | None = "read", **more: Any) -> Json:
    """What a worker sends, as its run keeps it."""
    return {"to": to, "kind": kind, "content": content, "data": {}, "reply_to": None, **more}


def an(name: str, **more: Any) -> Json:
    """An entity."""
    return {"name": name, "worker_id": "parrot", "entry": True, **more}


def channel(sender: str, to: str, kind: str = "read", **more: Any) -> Json:
    return {"from": sender, "to": to, "kind": kind, **more}


Play = Callable[[Json], "str | tuple[str, Sequence[Json]] | RunError"]
"""What an entity makes of the message that it is told of: its answer, what it sends, or an error."""


def echo(message: Json) -> str:
    """Says who it is, and what it was told."""
    return f"{message['to']}({message['body']['content']})"


class Newsroom:
    """A system of Ada's."""

    def __init__(self, client: Client, core: Core, *entities: Json, **more: Any) -> None:
        self.client, self.core = client, core
        made = client.post("/api/systems", json={"name": "newsroom", "entities": entities, **more})
        assert made.status_code == 201, made.text
        self.path = f"/api/systems/{made.json['system']['id']}"

    def now(self) -> Json:
        return dict(self.client.get(self.path).json["system"])

    def mailbox(self, name: str) -> int:
        """How many messages wait for an entity."""
        return next(one["mailbox"]["waiting"] for one in self.now()["entities"] if one["name"] == name)

    def tell(self, to: str, content: str, kind: str = "query", **more: Any) -> Any:
        body = {"to": to, "kind": kind, "body": {"content": content}, **more}
        return self.client.post(f"{self.path}/messages", json=body)

    def told(self, to: str, content: str, kind: str = "query", **more: Any) -> str:
        """The id of a message that is taken."""
        answer = self.tell(to, content, kind, **more)
        assert answer.status_code == 202, answer.text
        return str(answer.json["message"]["id"])

    def story(self, message_id: str) -> tuple[Json, list[Json]]:
        answer = self.client.get(f"{self.path}/messages/{message_id}")
        assert answer.status_code == 200, answer.text
        return answer.json["message"], answer.json["caused"]

    def dead(self) -> list[tuple[str | None, str]]:
        """To whom and why, oldest first."""
        items = self.client.get(f"{self.path}/dead-letters").json["items"]
        return [(item["to"], item["reason"]) for item in reversed(items)]

    def follow(self) -> None:
        """What the outbox has to do, without its delays but those of deadlines."""
        with self.core.database.engine.connections.begin() as c:
            due = tables.outbox.c.kind != "system_expired"
            c.execute(tables.outbox.update().where(due).values(due_at=tables.now(-1)))
        outbox_of(self.core).handle_due(float("inf"))

    def queued(self) -> list[str]:
        """The runs that are to be executed, oldest first."""
        runs = tables.runs
        query = sa.select(runs.c.id).where(runs.c.status == "queued", runs.c.message.is_not(None))
        return list(self.core.database.read(lambda c: c.execute(query.order_by(runs.c.id)).scalars().all()))

    def begin(self) -> list[Attempt]:
        """Have the entities take what they may, and begin to execute it."""
        self.follow()
        return [Attempt(self.core, run_id) for run_id in self.queued()]

    def play(self, how: Play = echo, *, most: int = 100) -> list[str]:
        """Execute what there is until there is nothing; the messages that were handled, in order."""
        handled = []
        while begun := self.begin():
            for attempt in begun:
                message = dict(attempt.run.message or {})
                handled.append(f"{message['sender']}>{message['to']} {message['body']['content']}")
                end(attempt, how(message))
            assert len(handled) <= most
        return handled


def end(attempt: Attempt, played: str | tuple[str, Sequence[Mapping[str, Any]]] | RunError) -> None:
    """End a run as it was played."""
    if isinstance(played, RunError):
        attempt.finish(RunStatus.ERROR, played)
        return
    text, sent = (played, ()) if isinstance(played, str) else played
    if text:
        attempt.say(text)
    attempt.finish(sent=sent)
