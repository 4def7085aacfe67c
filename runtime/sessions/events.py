"""The event of a session in the log of its thread."""

from __future__ import annotations

from typing import Final

from runtime.events import Event, of_thread
from runtime.sessions.model import Session

SESSION_UPDATED: Final = "session.updated"


def session_updated(session: Session) -> Event:
    """Anything of the session has changed. Of two the one with the greater ``revision`` is the later one."""
    key = f"{SESSION_UPDATED}:{session.id}:{session.revision}"
    return of_thread(SESSION_UPDATED, session.thread_id, key, session=session.encode())
