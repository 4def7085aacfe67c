"""What a socket is told of one chat: a view of the log of its thread, read from the socket's own cursor.

It reads on only once the socket has taken what was sent before. So a slow socket holds a
position in the log, and no queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Protocol

from runtime import events
from runtime.errors import SessionExpired, StoreUnavailable, StreamUnavailable
from runtime.events import Cursor
from runtime.panel.model import AgentChat, Caller
from runtime.panel.service import AgentChats
from runtime.stream import Chunk, Entry, OpenMessage
from web.core import Core
from web.panel.frames import Discarded, Frames, FrameWriter, discards
from web.panel.translation import Told, chunk, is_streamed, typing

_SHOWN = 50
"""Messages that are shown again after a reset; those before are read over REST."""
_READ = 1000
_READ_BYTES = 8 << 20
_RETRIED, _BEHIND = "retried", "behind"


class Socket(Protocol):
    """Whom a room tells."""

    caller: Caller

    def send(self, told: Iterable[Told]) -> bool:
        """Send, once what was sent before is taken. False where the socket is closed."""
        ...

    def writer(self, frames: Frames) -> FrameWriter:
        """What sends to it without a switch to the room's greenlet."""
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

    def __init__(
        self, core: Core, chats: AgentChats, chat: AgentChat, socket: Socket, frames: Frames
    ) -> None:
        """``frames``: of this chat, the same for all sockets."""
        self._core = core
        self._chats = chats
        self._chat = chat
        self._socket = socket
        self._frames = frames

    def follow(self, shown: str | None) -> None:
        """Tell the socket what comes after the event ``shown``; None: from now on.

        A message that is being written now is told from its beginning then.
        """
        try:
            self._follow(shown)
        except (StreamUnavailable, StoreUnavailable):
            self._socket.close()  # its client joins again with the last id that it has
        except SessionExpired:
            self._socket.send([expired(self._chat.session_id)])

    def _follow(self, shown: str | None) -> None:
        cursor = None if shown is None else Cursor.decode(shown)
        reason = "malformed" if shown is not None and cursor is None else None
        if cursor is not None:
            reason = self._note_since(cursor)
        while True:
            if cursor is None or reason is not None:
                cursor = self._begin(reason)
            reason = self._tell_from(cursor)
            if reason is None:
                return

    def _tell_from(self, cursor: Cursor) -> str | None:
        """Tell what is after ``cursor`` until the socket is gone; else why it has to begin anew."""
        writer = self._socket.writer(self._frames)
        source = self._core.hub.follow(self._chat.thread_id, cursor, writer=writer)
        try:
            for batch in source:
                if batch is None:
                    if not self._socket.is_open():
                        return None
                    if not self._socket.may_read():
                        self._socket.close()
                        return None
                    continue
                if discards(batch):
                    return _RETRIED
                self._core.metrics.delivered(batch)
                entries = [record for record in batch.records if isinstance(record, Entry)]
                told = [one for entry in entries for one in self._frames.translation.of(entry)]
                if not self._socket.send(told):
                    return None
                if any(entry.type == events.THREAD_DELETED for entry in entries):
                    self._socket.send([expired(self._chat.session_id)])
                    return None
        except Discarded:
            return _RETRIED
        except OSError:
            return None  # the socket is gone
        finally:
            source.close()
            with suppress(OSError):
                writer.finish()  # a frame that was begun
        if source.reset is None:
            self._socket.close()  # this process is about to stop
        return source.reset

    def _note_since(self, cursor: Cursor) -> str | None:
        """Note what messages are whose text comes after ``cursor``, though they were begun before it.

        Why the socket has to begin anew, where it has to: all of a long log would be read for this at once,
        however slowly the socket takes it.
        """
        log, translation = self._core.log, self._frames.translation
        translation.note(one.message for one in log.open_messages(self._chat.thread_id))
        found = log.read(self._chat.thread_id, cursor, _READ, _READ_BYTES)
        completed = (one for one in found.entries if one.type == events.MESSAGE_COMPLETED)
        translation.note(one.fields["message"] for one in completed)
        return found.reset or (None if _is_whole(found, cursor) else _BEHIND)

    def _begin(self, reason: str | None) -> Cursor:
        """Where to go on from: after a reset the newest messages, and always the open ones, are told.

        And whether the agent is at work, which is looked up last: what it does from ``cursor`` on comes then.
        """
        log, thread_id, session_id = self._core.log, self._chat.thread_id, self._chat.session_id
        told: list[Told] = []
        known: set[str] = set()
        before = None
        if reason is not None:
            before = log.cursor(thread_id)
            told.append(("reset", {"reason": reason, "session_id": session_id}))
            history = self._chats.history(self._socket.caller, session_id, limit=_SHOWN, cursor=None)
            for one in history["messages"]:
                known.add(one["id"])
                told.append(("message", {"type": "message", "data": one, "message_id": one["id"]}))
        cursor = log.cursor(thread_id)
        open_now = log.open_messages(thread_id)
        self._frames.translation.note(one.message for one in open_now)
        if before is not None:
            told += self._told_between(before, cursor, known)
        since = self._read_all(cursor)
        for one in open_now:
            text = _text_before(one, since)
            if text and is_streamed(one.message) and one.message_id not in known:
                told.append(chunk(text, one.message_id, one.run_id))
        run_id = self._chats.working(self._socket.caller, session_id)
        if run_id is not None or reason is not None:
            told.append(typing(run_id is not None, run_id))
        if told:
            told[-1][1]["id"] = str(cursor)
        self._socket.send(told)
        return cursor

    def _told_between(self, before: Cursor, cursor: Cursor, known: set[str]) -> Iterator[Told]:
        """What has happened while the history was read, without text that was being written.

        And without ids: who joined again with one of these would miss the text so far, which comes after.
        """
        for entry in self._read_all(before):
            if entry.seq > cursor.seq:
                return
            for name, data in self._frames.translation.of(entry):
                data.pop("id", None)
                if name != "stream_chunk" and (name != "message" or data["message_id"] not in known):
                    yield name, data

    def _read_all(self, cursor: Cursor) -> list[Entry]:
        """The entries after ``cursor``, of a moment ago. Raises StreamUnavailable where some are lost."""
        found = self._core.log.read(self._chat.thread_id, cursor, _READ, _READ_BYTES)
        if found.reset is not None or not _is_whole(found, cursor):
            raise StreamUnavailable
        return found.entries


def expired(session_id: str) -> Told:
    """That there is no such session, or not any more."""
    why = "There is no such session, or it has expired; begin a new one."
    return "error", {"type": "error", "error": why, "code": "session_expired", "session_id": session_id}


def _is_whole(found: Chunk, cursor: Cursor) -> bool:
    """Whether the entries are all that the log has after ``cursor``."""
    return (found.entries[-1].seq if found.entries else cursor.seq) >= found.head


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
