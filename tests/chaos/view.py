"""What a careful client makes of a stream, by the rules of the API and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runtime.testing.sse import Received


@dataclass
class ShownMessage:
    """A message as the client shows it."""

    run_id: str
    attempt: int
    text: str = ""
    n: int | None = 0
    """Number of the last delta in the text; None: not known, so that no delta can follow."""
    complete: bool = False
    settled: bool = False
    """What led to a question stays, whatever happens to later attempts."""


@dataclass
class View:
    """The messages that a client shows, and what was wrong with what it was sent."""

    messages: dict[str, ShownMessage] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    """Run → its status, once announced."""
    wrong: list[str] = field(default_factory=list)
    _unknown: dict[str, str] = field(default_factory=dict)
    """Messages whose beginning was not seen → their run; their end will bring their whole text."""

    def clear(self) -> None:
        """After a reset nothing that came before counts."""
        self.messages, self.ended, self._unknown = {}, {}, {}

    def apply_snapshot(self, snapshot: dict[str, Any]) -> None:
        """Begin from a snapshot."""
        self.clear()
        attempts = {run["id"]: run["attempt"] for run in snapshot["runs"]}
        for message in snapshot["messages"]:
            if message["run_id"]:
                complete = message["status"] == "complete"
                run_id = message["run_id"]
                self.messages[message["id"]] = ShownMessage(
                    run_id, attempts.get(run_id, 0), message["content"], None, complete, complete
                )
        for item in snapshot["open"]:
            message = item["message"]
            run_id = message["run_id"]
            self.messages[message["id"]] = ShownMessage(
                run_id, attempts[run_id], message["content"], item["n"]
            )
        for run in snapshot["runs"]:
            if run["finished_at"]:
                self.ended[run["id"]] = run["status"]

    def apply(self, event: Received) -> None:
        """Apply one event."""
        data = event.data
        match event.type:
            case "message.created":
                message = data["message"]
                fresh = ShownMessage(data["run_id"], data["attempt"], n=None if _is_replayed(event) else 0)
                self.messages.setdefault(message["id"], fresh)
            case "message.delta":
                self._delta(data, _is_replayed(event))
            case "message.completed":
                self._completed(data, _is_replayed(event))
            case "run.retried":
                self._retried(data)
            case "run.waiting":
                for shown in self._of(data["run_id"]):
                    shown.settled = True
            case "run.completed":
                self._ended(data)

    def texts(self, run_id: str) -> dict[str, str]:
        """What is shown of a run in the end, by message."""
        return {id: shown.text for id, shown in self.messages.items() if shown.run_id == run_id}

    def _of(self, run_id: str) -> list[ShownMessage]:
        return [shown for shown in self.messages.values() if shown.run_id == run_id]

    def _delta(self, data: dict[str, Any], replayed: bool) -> None:
        shown = self.messages.get(data["message_id"])
        if shown is None:
            self._unknown[data["message_id"]] = data["run_id"]
        elif shown.complete:
            return
        elif shown.n is None and not replayed:
            self._unknown[data["message_id"]] = data["run_id"]
        elif shown.n is None or data["n"] == shown.n + 1:
            shown.text += data["text"]
            shown.n = data["n"]
        elif data["n"] > shown.n + 1:
            self.wrong.append(f"delta {data['n']} of {data['message_id']} came after {shown.n}")

    def _completed(self, data: dict[str, Any], replayed: bool) -> None:
        message = data["message"]
        shown = self.messages.setdefault(message["id"], ShownMessage(data["run_id"], data["attempt"]))
        unread = self._unknown.pop(message["id"], None)
        if shown.n and not unread and not shown.complete and shown.text != message["content"]:
            self.wrong.append(f"{message['id']} was streamed as {shown.text!r}, is {message['content']!r}")
        shown.text, shown.complete = message["content"], True
        shown.settled |= replayed

    def _retried(self, data: dict[str, Any]) -> None:
        for message_id in data["discarded"]:
            self.messages.pop(message_id, None)
            self._unknown.pop(message_id, None)
        for message_id, shown in self.messages.items():
            if shown.run_id == data["run_id"] and shown.attempt < data["attempt"] and not shown.settled:
                self.wrong.append(f"{message_id} of a lost attempt {shown.attempt} was not discarded")

    def _ended(self, data: dict[str, Any]) -> None:
        run_id = data["run_id"]
        if run_id in self.ended:
            self.wrong.append(f"a second run.completed of {run_id}: {self.ended[run_id]}, {data['status']}")
        self.ended[run_id] = data["status"]
        for message_id, shown in self.messages.items():
            if shown.run_id == run_id and not shown.complete:
                self.wrong.append(f"{run_id} ended before its message {message_id}")
        for message_id in [id for id, of in self._unknown.items() if of == run_id]:
            self.wrong.append(f"{run_id} ended and its message {message_id} was never completed")


def _is_replayed(event: Received) -> bool:
    """Whether it was made from the database, with one delta per message."""
    return (event.id or "").startswith("db-")
