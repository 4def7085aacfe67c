"""What a socket is told of one chat: a view of the log of its thread, read from the socket's own cursor.

It reads on only once the socket has taken what was sent before. So a slow socket holds a
position in the log, and no queue.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from runtime import events
from runtime.errors import StoreUnavailable, StreamUnavailable
from runtime.events import Cursor
from runtime.panel.model import AgentChat, Caller
from runtime.panel.service import AgentChats
from runtime.stream import Entry, OpenMessage
from web.core import Core
from web.panel.translation import Told, Translation, chunk, is_streamed

_SHOWN = 50
"""Messages that are shown again after a reset; those before are read over REST."""
_READ = 1000
_READ_BYTES = 8 << 20


class Socket(Protocol):
    """Whom a room tells."""

    caller: Caller

    def send(self, told: Iterable[Told]) -> bool:
        """Send, once what was sent before is taken. False where the socket is closed."""
        ...

    def is_open(self) -> bool:
        """Whether it is still there."""
        ...

    def may_read(self) -> bool:
        """Whether its credential still counts."""
        ...

    def close(self) -> None:
        """Close it; its client connects again, perhaps to another process."""
        ...


class Room:
    """One socket in one chat."""

    def __init__(self, core: Core, chats: AgentChats, chat: AgentChat, socket: Socket) -> None:
        self._core = core
        self._chats = chats
        self._chat = chat
        self._socket = socket

    def follow(self, shown: str | None) -> None:
        """Tell the socket what comes after the event ``shown``; None: from now on.

        A message that is being written now is told from its beginning then.
        """
        try:
            self._follow(shown)
        except (StreamUnavailable, StoreUnavailable):
            self._socket.close()  # its client joins again with the last id that it has

    def _follow(self, shown: str | None) -> None:
        cursor = None if shown is None else Cursor.decode(shown)
        reason = "malformed" if shown is not None and cursor is None else None
        translation = Translation(self._core.log.open_messages(self._chat.thread_id))
        while True:
            if cursor is None:
                cursor, translation = self._begin(reason)
            reason = self._tell_from(cursor, translation)
            if reason is None:
                return
            cursor = None

    def _tell_from(self, cursor: Cursor, translation: Translation) -> str | None:
        """Tell what is after ``cursor`` until the socket is gone; else why it has to begin anew."""
        source = self._core.hub.follow(self._chat.thread_id, cursor)
        try:
            for batch in source:
                if batch is None:
                    if not self._socket.is_open():
                        return None
                    if not self._socket.may_read():
                        self._socket.close()
                        return None
                    continue
                entries = [record for record in batch.records if isinstance(record, Entry)]
                if any(_discards(entry) for entry in entries):
                    return "retried"
                told = [one for entry in entries for one in translation.of(entry)]
                if not self._socket.send(told):
                    return None
                if any(entry.type == events.THREAD_DELETED for entry in entries):
                    self._socket.send([expired(self._chat.session_id)])
                    return None
        finally:
            source.close()
        if source.reset is None:
            self._socket.close()  # this process is about to stop
        return source.reset

    def _begin(self, reason: str | None) -> tuple[Cursor, Translation]:
        """Where to go on from: after a reset the newest messages, and always the open ones, are told."""
        thread_id, session_id = self._chat.thread_id, self._chat.session_id
        cursor = self._core.log.cursor(thread_id)
        open_now = self._core.log.open_messages(thread_id)
        since = self._core.log.read(thread_id, cursor, _READ, _READ_BYTES)
        if since.reset is not None:
            raise StreamUnavailable
        told: list[Told] = []
        committed: set[str] = set()
        if reason is not None:
            told.append(("reset", {"reason": reason, "session_id": session_id}))
            history = self._chats.history(self._socket.caller, session_id, limit=_SHOWN, cursor=None)
            for one in history["messages"]:
                committed.add(one["id"])
                told.append(("message", {"type": "message", "data": one, "message_id": one["id"]}))
        for one in open_now:
            text = _text_before(one, since.entries)
            if text and is_streamed(one.message) and one.message_id not in committed:
                told.append(chunk(text, one.message_id, one.run_id))
        if told:
            told[-1][1]["id"] = str(cursor)
        self._socket.send(told)
        return cursor, Translation(open_now)


def expired(session_id: str) -> Told:
    """That there is no such session, or not any more."""
    why = "There is no such session, or it has expired; begin a new one."
    return "error", {"type": "error", "error": why, "code": "session_expired", "session_id": session_id}


def _discards(entry: Entry) -> bool:
    """Whether text that was told does not count any more: its attempt is lost, and begins anew."""
    return entry.type == events.RUN_RETRIED and bool(entry.fields.get("discarded"))


def _text_before(one: OpenMessage, since: Iterable[Entry]) -> str:
    """The text of a message without what was appended since: that will be told by its entries."""
    later = sum(
        len(entry.fields["text"])
        for entry in since
        if entry.type == events.MESSAGE_DELTA
        and entry.fields["message_id"] == one.message_id
        and entry.fields["n"] <= one.n
    )
    return one.text[: len(one.text) - later]
