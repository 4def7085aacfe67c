"""What a token reaches that is for one thread, or for the agent chats of one embedder's user: its routes,
of each what is of those threads.

All routes are asked here, before their views. One that is not named in these tables is refused, so
a new one is closed to such tokens until somebody opens it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import g, request

from runtime.errors import Forbidden, NotFound
from runtime.knowledge import citations
from runtime.knowledge.model import Found
from runtime.model import Run
from runtime.panel import store as chats
from runtime.panel import tokens as agent_tokens
from runtime.sessions import tokens as thread_tokens
from runtime.store import files
from runtime.tokens import Grant, ThreadGrant
from web.core import core

_READ: Mapping[str, frozenset[str]] = {
    "thread": frozenset(
        {
            "threads.get_thread",
            "threads.snapshot",
            "threads.export_thread",
            "events.thread_events",
            "tree.list_states",
            "sessions.get_session",
            "sessions.list_transitions",
            "sessions.get_summary",
        }
    ),
    "state": frozenset({"states.get_state", "states.list_messages"}),
    "run": frozenset(
        {
            "runs.get_run",
            "runs.wait_for_run",
            "runs.get_log",
            "runs.list_attempts",
            "runs.list_children",
            "events.run_events",
            "queued messages.list_messages",
        }
    ),
    "file": frozenset({"files.get_file", "files.get_content"}),
    "document": frozenset({"knowledge.read_passages"}),
}
"""Endpoints that read, by what their path names: ``thread`` is its ``thread_id``, and so on."""

_WRITE: Mapping[str, frozenset[str]] = {
    "thread": frozenset(
        {
            "threads.update_thread",
            "tree.add_state",
            "thread runs.create_runs",
            "sessions.change_session",
            "sessions.send_to_session",
            "sessions.pause_session",
            "sessions.resume_session",
            "sessions.step_session",
            "sessions.stop_session",
        }
    ),
    "state": frozenset({"states.update_state"}),
    "run": frozenset(
        {
            "runs.cancel_run",
            "runs.answer_run",
            "queued messages.send_messages",
            "queued messages.remove_message",
        }
    ),
}
"""Those that write. Not among them: to delete or restore the thread, to make, close or end the tokens
of a session."""

_UPLOAD = "files.upload_file"
"""Names nothing. What it makes is reached once a message of a thread of the token's names it."""

_READS_OF_RUNS = frozenset(
    {
        "runs.get_run",
        "runs.wait_for_run",
        "runs.list_children",
        "events.run_events",
        "queued messages.list_messages",
    }
)

_Table = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class _Reach:
    """The routes of one kind of token."""

    what: str
    reads: _Table
    writes: _Table
    by_themselves: frozenset[str] = frozenset()
    """Routes whose views look who asks."""

    def kind_of(self, endpoint: str, writes: bool) -> str | None:
        """What a route's path names; None where it names nothing of a thread. Raises Forbidden."""
        for table, may in ((self.reads, True), (self.writes, writes)):
            kind = next((kind for kind, endpoints in table.items() if endpoint in endpoints), None)
            if kind is not None and not may:
                raise Forbidden("This token only reads.")
            if kind is not None:
                return kind
        if endpoint not in self.by_themselves and endpoint != _UPLOAD:
            raise Forbidden(f"This token is for {self.what}, and does not reach this.")
        if not writes:
            raise Forbidden("This token only reads.")
        return None


_OF_THREAD = _Reach("one thread", _READ, _WRITE)
_OF_AGENTS = _Reach(
    "agent chats",
    {
        "state": _READ["state"],
        "run": _READS_OF_RUNS,
        "file": _READ["file"],
        "document": _READ["document"],
    },
    {"run": _WRITE["run"]},
    frozenset(
        f"agent chat.{view}"
        for view in ("create_chat", "list_chats", "get_chat", "send_message", "delete_chat")
    ),
)


def check(grant: Grant) -> None:
    """Raise Forbidden for a route that ``grant`` does not permit, NotFound for what is not of its threads."""
    reach, writes = (_OF_THREAD, grant.writes) if isinstance(grant, ThreadGrant) else (_OF_AGENTS, True)
    kind = reach.kind_of(request.endpoint or "", writes)
    if kind is not None and not _reaches(grant, kind, (request.view_args or {})[f"{kind}_id"]):
        raise NotFound


def project_of(run: Run) -> tuple[str | None] | None:
    """The label of the agent chat that a run is of, which may have none; None: it is of no chat."""
    return core.database.read(chats.project_of, run.thread_id)


def cited(document_id: str, found: Sequence[Found]) -> Sequence[Found]:
    """The passages of a document that the request's credential may read: all, unless it is such a token,
    which reads those that answers in its threads cite. Raises NotFound.
    """
    grant = current_grant()
    if grant is None:
        return found
    threads = (
        thread_tokens.threads_of(grant)
        if isinstance(grant, ThreadGrant)
        else agent_tokens.threads_of(g.user, grant)
    )
    return core.database.snapshot(citations.cited, threads, document_id, found)


def current_grant() -> Grant | None:
    """What the request's token permits; None where its credential is for all of an account."""
    credential = g.get("credential")
    return None if credential is None else credential.grant


def _reaches(grant: Grant, kind: str, id: str) -> bool:
    if kind == "document":
        return True  # its view shows of it what is cited
    if isinstance(grant, ThreadGrant):
        return core.database.read(thread_tokens.reaches, grant, kind, id)
    return core.database.read(agent_tokens.reaches, g.user, grant, kind, id)


def check_given(given: Any) -> None:
    """Raise NotFound where messages of a request's body name files that are not of the token's threads."""
    grant = current_grant()
    if grant is None or not isinstance(given, dict):
        return
    ids = files.ids_of(given.get("messages") or ())
    missing = _unnameable(grant, ids) if ids else None
    if missing is not None:
        raise NotFound(f"There is no file {missing}; upload it first.")


def _unnameable(grant: Grant, ids: list[str]) -> str | None:
    if isinstance(grant, ThreadGrant):
        return core.database.read(thread_tokens.unnameable, g.user, grant, ids)
    return core.database.read(agent_tokens.unnameable, g.user, grant.subject, ids)
