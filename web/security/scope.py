"""What a token reaches that is for one thread: its routes, of each what is of that thread.

All routes are asked here, before their views. One that is not named in this table is refused, so
a new one is closed to such tokens until somebody opens it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import g, request

from runtime.errors import Forbidden, NotFound
from runtime.sessions import tokens
from runtime.store import files
from runtime.tokens import ThreadGrant
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
"""Names nothing. What it makes is reached once a message of the thread names it."""

_READS = {endpoint: kind for kind, endpoints in _READ.items() for endpoint in endpoints}
_WRITES = {endpoint: kind for kind, endpoints in _WRITE.items() for endpoint in endpoints}


def check(grant: ThreadGrant) -> None:
    """Raise Forbidden for a route that ``grant`` does not permit, NotFound for what is not of its thread."""
    endpoint = request.endpoint or ""
    kind = _READS.get(endpoint)
    if kind is None:
        kind = _WRITES.get(endpoint)
        if kind is None and endpoint != _UPLOAD:
            raise Forbidden("This token is for one thread, and does not reach this.")
        if not grant.writes:
            raise Forbidden("This token only reads.")
    if kind is not None:
        id = (request.view_args or {})[f"{kind}_id"]
        if not core.database.read(tokens.reaches, grant.thread_id, kind, id):
            raise NotFound


def check_given(given: Any) -> None:
    """Raise NotFound where messages of a request's body name files that are not of the token's thread."""
    credential = g.get("credential")
    if credential is None or credential.grant is None or not isinstance(given, dict):
        return
    ids = files.ids_of(given.get("messages") or ())
    missing = core.database.read(tokens.unnameable, g.user, credential.grant.thread_id, ids) if ids else None
    if missing is not None:
        raise NotFound(f"There is no file {missing}; upload it first.")
