"""The ledger: what was requested, accepted, broken and observed, kept apart from what is tested."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.plan import Ask, Fault
from tests.chaos.view import View

RunRequest = tuple[str, dict[str, Any], str]
"""A request for runs: path, body and Idempotency-Key."""


@dataclass
class Accepted:
    """What was answered to an ask: the promise that is held against what is stored."""

    ask: Ask
    thread_id: str
    input_state_id: str
    run_ids: list[str]
    state_ids: list[str]
    at: float
    request: RunRequest = ("", {}, "")


@dataclass(frozen=True, slots=True)
class Sent:
    """A message to a run that is under way, and what it was answered."""

    text: str
    accepted: bool
    in_doubt: bool
    """Whether a try of it got no answer, so that it may have been accepted."""


@dataclass
class Injection:
    """A fault that was carried out."""

    fault: Fault
    began: float
    ended: float | None = None
    hit: set[str] = field(default_factory=set)
    """Incarnations of the pool processes that it may have cost their leases."""
    skipped: str | None = None
    """Why there was nothing to break."""


@dataclass
class Observation:
    """What one reader has received of a run."""

    run_id: str
    watch: str
    view: View = field(default_factory=View)
    events: list[tuple[float, str, str]] = field(default_factory=list)
    """When, which event, and what of it."""
    reconnects: int = 0
    resets: int = 0
    done: bool = False
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ServerError:
    """An answer 5xx that is no 503: a fault of ours, whatever was broken."""

    request: str
    """Its method and where it went."""
    status: int
    request_id: str
    text: str


class Ledger:
    """Everything that the harness knows; any thread may write."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.accepted: dict[int, Accepted] = {}
        """By number of the ask."""
        self.lines: list[tuple[float, int, str]] = []
        """When, of which ask, and what happened."""
        self.injections: list[Injection] = []
        self.observations: list[Observation] = []
        self.reported: dict[str, str] = {}
        """Run → the terminal status that an answer has reported."""
        self.sent: dict[str, list[Sent]] = {}
        """What was sent to each run while it was under way."""
        self.cancelled: set[str] = set()
        """Runs that somebody asked to end."""
        self.wrong: list[tuple[int, str]] = []
        """Asks of which something false was answered, and what."""
        self.server_errors: list[ServerError] = []
        self.counts: Counter[str] = Counter()

    def note(self, ask: Ask, text: str) -> None:
        """Something happened to an ask."""
        with self._lock:
            self.lines.append((time.time(), ask.number, text))

    def accept(self, ask: Ask, answer: dict[str, Any], request: RunRequest) -> Accepted:
        """An ask was answered 202; the same request again must get the same runs."""
        runs = answer["runs"]
        entry = Accepted(
            ask, runs[0]["thread_id"], answer["input_state"]["id"], [run["id"] for run in runs],
            [state["id"] for state in answer["states"]], time.time(), request,
        )  # fmt: skip
        with self._lock:
            before = self.accepted.setdefault(ask.number, entry)
        if before.run_ids != entry.run_ids:
            self.fail(ask, f"asked again with its key it got other runs: {before.run_ids}, {entry.run_ids}")
        return before

    def report(self, ask: Ask, run: dict[str, Any]) -> None:
        """An answer contained a run: once that has ended, its status must not change."""
        if run["finished_at"] is None:
            return
        with self._lock:
            before = self.reported.setdefault(run["id"], run["status"])
        if before != run["status"]:
            self.fail(ask, f"run {run['id']} was reported as {before}, then as {run['status']}")

    def fail(self, ask: Ask, text: str) -> None:
        """Something that must never be."""
        self.note(ask, f"WRONG: {text}")
        with self._lock:
            self.wrong.append((ask.number, text))

    def fault_of_ours(self, error: ServerError) -> None:
        """A web process has failed at a request."""
        with self._lock:
            self.server_errors.append(error)

    def count(self, what: str, by: int = 1) -> None:
        """For the summary."""
        with self._lock:
            self.counts[what] += by

    def inject(self, fault: Fault) -> Injection:
        """A fault begins."""
        entry = Injection(fault, time.time())
        with self._lock:
            self.injections.append(entry)
        return entry

    def watch(self, observation: Observation) -> None:
        """A reader joins."""
        with self._lock:
            self.observations.append(observation)
