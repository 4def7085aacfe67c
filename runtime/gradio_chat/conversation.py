"""A thread as a page follows it: a branch, kept up to date by events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runtime import events
from runtime.gradio_chat.messages import Entry, entries
from runtime.model import Json, RunStatus
from runtime.thread_api.streams import StreamEvent

_ENDED = frozenset(status for status in RunStatus if status.terminal)
_MOST_AHEAD = 16
"""States that may wait for their parent; more are branches of others, whose parents do not come."""


@dataclass(slots=True)
class _Shown:
    """A message, and the number of the last piece of it that has arrived; None once it is whole."""

    message: dict[str, Json]
    n: int | None = None


class Conversation:
    """One branch of a thread: that of a state, and then whatever goes on from there.

    Where several states are added below its end, the first of them goes on; the others are
    branches of somebody else.
    """

    def __init__(
        self,
        thread: dict[str, Json],
        tip: str,
        snapshot: Mapping[str, Json],
        session: dict[str, Json] | None = None,
    ) -> None:
        """``tip``: the state whose ``snapshot`` it is. ``session``: that of the thread, if it has one."""
        self.session = session
        self.thread = thread
        self.tip = tip
        self.cursor: str = snapshot["cursor"]
        self.deleted = False
        self.step = ""
        """What the worker says that it does."""
        self.cut = snapshot["next"] is not None
        """Whether there are earlier messages, which are not shown."""
        self._path = {tip, *snapshot["states"]}
        self._ahead: dict[str, dict[str, Json]] = {}
        """By its parent, a state whose parent is not known yet: a pool that is quick says so first."""
        self._beside: dict[str, dict[str, _Shown]] = {}
        """By state, what was written of those that wait for their parent."""
        self._runs: dict[str, dict[str, Json]] = {run["id"]: run for run in snapshot["runs"]}
        self._messages = {message["id"]: _Shown(message) for message in snapshot["messages"]}
        for written in snapshot["open"]:
            if written["message"]["state_id"] in self._path:
                self._messages[written["message"]["id"]] = _Shown(written["message"], written["n"])

    @property
    def run(self) -> dict[str, Json] | None:
        """The run that fills the end of the branch."""
        return next((run for run in self._runs.values() if run["output_state_id"] == self.tip), None)

    @property
    def active_run(self) -> dict[str, Json] | None:
        """The same, unless it has ended."""
        run = self.run
        return run if run is not None and run["status"] not in _ENDED else None

    @property
    def question(self) -> dict[str, Json] | None:
        """What the run asks and waits for: ``run_id``, and what the API calls its confirmation."""
        run = self.run
        if run is None or run["status"] != RunStatus.WAITING or not run["confirmation"]:
            return None
        return {**run["confirmation"], "run_id": run["id"]}

    @property
    def entries(self) -> list[Entry]:
        """The messages as the page shows them."""
        return entries(shown.message for shown in self._messages.values())

    @property
    def status(self) -> str:
        """How the last run is, in words; empty where there is nothing to say."""
        run = self.run
        if run is None:
            return ""
        match run["status"]:
            case RunStatus.QUEUED:
                failed = run.get("last_failure")
                return f"Is tried again: {failed['message']}" if failed else "Waits for a slot …"
            case RunStatus.RUNNING:
                return f"{self.step} …" if self.step else "Works …"
            case RunStatus.WAITING:
                return "Waits for your answer."
            case RunStatus.SUCCESS:
                return ""
            case RunStatus.CANCELLED:
                return "Was stopped."
            case ended:
                error = run["error"] or {}
                return f"Ended as {ended}: {error.get('message', '')}".rstrip(": ")

    @property
    def session_status(self) -> str:
        """How the session is, in words: its state, what it has used, and why it has stopped."""
        session = self.session
        if session is None:
            return ""
        used, limits = session["used"], session["limits"]
        figures = [
            f"{name} {_figure(used.get(name))}" + (f" of {_figure(limit)}" if limit is not None else "")
            for name in ("turns", "seconds", "tokens", "cost")
            for limit in [limits.get(f"max_{name}")]
        ]
        said = [f"Session: {session['status']}", *figures]
        if session["pausing"]:
            said.append("pauses after this turn")
        reason = session["stop_reason"]
        return " · ".join(said) + (f"\n\n{reason['message']}" if reason else "")

    def apply(self, event: StreamEvent) -> bool:
        """Take an event over. Returns False where a new snapshot is needed."""
        data = event.data
        match event.type:
            case events.RESET:
                return False
            case events.THREAD_UPDATED:
                self.thread = data["thread"]
            case events.THREAD_DELETED:
                self.deleted = True
            case "session.updated":
                if self.session is None or data["session"]["revision"] > self.session["revision"]:
                    self.session = data["session"]
            case events.STATE_CREATED:
                self._grow(data["state"])
            case events.MESSAGE_DELTA:
                self._write(data["state_id"], data["message_id"], data["n"], data["text"])
            case events.MESSAGE_CREATED:
                message = data["message"]
                self._messages_of(message["state_id"]).setdefault(message["id"], _Shown(message, 0))
            case events.MESSAGE_COMPLETED:
                message = data["message"]
                self._messages_of(message["state_id"])[message["id"]] = _Shown(message)
            case _:
                self._apply_to_run(event.type, data)
        return True

    def _messages_of(self, state_id: str) -> dict[str, _Shown]:
        if state_id in self._path:
            return self._messages
        return self._beside.get(state_id, {})

    def _apply_to_run(self, type: str, data: dict[str, Json]) -> None:
        is_shown = data.get("state_id") == self.tip
        match type:
            case events.RUN_QUEUED | events.RUN_STARTED if not self._has_ended(data["run"]["id"]):
                self._runs[data["run"]["id"]] = data["run"]
                self.step = "" if is_shown else self.step
            case events.RUN_RETRIED:
                self._runs[data["run"]["id"]] = data["run"]
                written = self._messages_of(data["run"]["output_state_id"])
                for message_id in data["discarded"]:
                    written.pop(message_id, None)
            case events.RUN_STEP if is_shown:
                self.step = data["description"]
            case events.RUN_WAITING:
                self._change(data, status=RunStatus.WAITING, confirmation=data["confirmation"])
            case events.RUN_COMPLETED:
                self._change(data, status=data["status"], error=data["error"])

    def _grow(self, state: dict[str, Json]) -> None:
        if state["parent_id"] != self.tip:
            if state["parent_id"] not in self._path:
                self._wait_for_parent(state)
            return
        self.tip = state["id"]
        self._path.add(self.tip)
        self.step = ""
        for message in state.get("messages") or ():
            self._messages[message["id"]] = _Shown(message)
        self._messages |= self._beside.pop(self.tip, {})
        if self.tip in self._ahead:
            self._grow(self._ahead.pop(self.tip))

    def _wait_for_parent(self, state: dict[str, Json]) -> None:
        """Keep a state and what is written in it; of those that wait too long, the oldest goes."""
        if state["parent_id"] in self._ahead:
            return
        self._ahead[state["parent_id"]] = state
        self._beside[state["id"]] = {}
        if len(self._ahead) > _MOST_AHEAD:
            oldest = self._ahead.pop(next(iter(self._ahead)))
            del self._beside[oldest["id"]]

    def _write(self, state_id: str, message_id: str, n: int, text: str) -> None:
        shown = self._messages_of(state_id).get(message_id)
        if shown is not None and shown.n is not None and n == shown.n + 1:
            shown.message = {**shown.message, "content": shown.message["content"] + text}
            shown.n = n

    def _has_ended(self, run_id: str) -> bool:
        run = self._runs.get(run_id)
        return run is not None and run["status"] in _ENDED

    def _change(self, data: Mapping[str, Json], **fields: Json) -> None:
        run = self._runs.get(data["run_id"])
        if run is not None and run["status"] not in _ENDED and data["attempt"] >= run["attempt"]:
            self._runs[run["id"]] = {**run, **fields, "attempt": data["attempt"]}


def _figure(number: float | None) -> str:
    return "unknown" if number is None else f"{number:,.6g}"
