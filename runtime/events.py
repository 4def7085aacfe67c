"""Events: the entries of a thread's log, as they are written, stored and sent.

An :class:`Event` is to be appended. Its ``payload`` is the JSON
of the ``data`` that clients read, without ``seq``, which only the log knows;
:func:`with_seq` puts the number in when an entry is sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from runtime.model import Message, MessageStatus, Run, RunStatus, State, Thread, encode_time, utc_now

THREAD_UPDATED: Final = "thread.updated"
THREAD_DELETED: Final = "thread.deleted"
STATE_CREATED: Final = "state.created"
STATE_UPDATED: Final = "state.updated"
RUN_QUEUED: Final = "run.queued"
RUN_STARTED: Final = "run.started"
RUN_RETRIED: Final = "run.retried"
RUN_STEP: Final = "run.step"
RUN_MESSAGE_DELIVERED: Final = "run.message_delivered"
RUN_CHILD: Final = "run.child"
RUN_WAITING: Final = "run.waiting"
RUN_COMPLETED: Final = "run.completed"
MESSAGE_CREATED: Final = "message.created"
MESSAGE_DELTA: Final = "message.delta"
MESSAGE_COMPLETED: Final = "message.completed"
RESET: Final = "reset"

TYPES: Final = (
    THREAD_UPDATED, THREAD_DELETED, STATE_CREATED, STATE_UPDATED, RUN_QUEUED, RUN_STARTED, RUN_RETRIED,
    RUN_STEP, RUN_MESSAGE_DELIVERED, RUN_CHILD, RUN_WAITING, RUN_COMPLETED, MESSAGE_CREATED, MESSAGE_DELTA,
    MESSAGE_COMPLETED, RESET,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """Something to append to a thread's log.

    ``key`` makes an event unique: the log refuses a second one with the same key.
    A delta has none; the run-local number keeps it single. ``message_id``,
    ``text`` and ``n`` are set where the log keeps the text of an open message.
    """

    type: str
    payload: bytes
    key: str = ""
    message_id: str = ""
    text: str = ""
    n: int = 0


def _payload(type: str, thread_id: str, run: Run | None, state_id: str | None, /, **more: Any) -> bytes:
    return one_line(
        {
            "type": type,
            "thread_id": thread_id,
            "run_id": run.id if run else None,
            "attempt": run.attempt if run else 0,
            "state_id": state_id,
            "at": encode_time(utc_now()),
            **more,
        }
    )


def one_line(data: Any) -> bytes:
    """``data`` as one line of JSON, also for readers that split lines at Unicode line separators."""
    payload = orjson.dumps(data)
    return payload if payload.isascii() else _LINE_BREAKS.sub(_escape, payload)


_LINE_BREAKS = re.compile("\u0085|\u2028|\u2029".encode())
"""Characters that JSON may contain, and that some readers of an event stream treat as line ends."""


def _escape(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match[0].decode())


def of_thread(type: str, thread_id: str, key: str, /, **more: Any) -> Event:
    """An event of a subsystem about a thread; ``key``: twice the same is appended once."""
    return Event(type, _payload(type, thread_id, None, None, **more), key)


def thread_updated(thread: Thread) -> Event:
    """The thread's own fields changed."""
    return Event(THREAD_UPDATED, _payload(THREAD_UPDATED, thread.id, None, None, thread=thread.encode()))


def thread_deleted(thread: Thread) -> Event:
    """The thread is gone; its streams end."""
    return Event(THREAD_DELETED, _payload(THREAD_DELETED, thread.id, None, None, thread=thread.encode()))


def state_created(state: State, run: Run | None = None) -> Event:
    """A node was added to the tree; ``run`` is the one that will fill it, if any."""
    payload = _payload(
        STATE_CREATED, state.thread_id, run and replace(run, attempt=0), state.id, state=state.encode()
    )
    return Event(STATE_CREATED, payload, f"{STATE_CREATED}:{state.id}")


def state_updated(state: State) -> Event:
    """A node was named or starred; its messages never change."""
    marked = replace(state, messages=None)
    return Event(
        STATE_UPDATED, _payload(STATE_UPDATED, state.thread_id, None, state.id, state=marked.encode())
    )


def _of_run(type: str, run: Run, key: object, /, **more: Any) -> Event:
    payload = _payload(type, run.thread_id, run, run.output_state_id, **more)
    return Event(type, payload, f"{type}:{key}")


def run_queued(run: Run) -> Event:
    """A run was accepted, was given its answer, or waits to go on with the text of a lost attempt."""
    return _of_run(RUN_QUEUED, run, run.attempt, run=run.encode())


def run_started(run: Run) -> Event:
    """An attempt has begun."""
    return _of_run(RUN_STARTED, run, run.attempt, run=run.encode())


def run_retried(run: Run, void: Sequence[str] = ()) -> Event:
    """An attempt was lost; the next one will be ``run.attempt + 1``.

    ``void`` are messages of the lost attempt that the database has. The log itself
    adds those that it knows to ``discarded``, which has to be the last field for that.
    """
    following = replace(run, attempt=run.attempt + 1)
    return _of_run(RUN_RETRIED, following, following.attempt, run=run.encode(), discarded=list(void))


def run_continued(run: Run, continued: Sequence[str], void: Sequence[str] = ()) -> Event:
    """An attempt was lost, and ``run.attempt`` goes on with its text: its messages stay, ``continued``
    are those that are open.

    The log adds nothing to ``discarded``, for that is not the last field here.
    """
    more = {"discarded": list(void), "continued": list(continued), "resume": "continue"}
    before = replace(run, attempt=run.attempt - 1, status=RunStatus.QUEUED)
    return _of_run(RUN_RETRIED, run, run.attempt, run=before.encode(), **more)


def run_step(run: Run, number: int, description: str) -> Event:
    """The worker reports what it is about to do; ``number`` counts the attempt's steps."""
    return _of_run(RUN_STEP, run, f"{run.attempt}:{number}", description=description)


def run_message_delivered(run: Run, message_id: str) -> Event:
    """The worker has read a message that was sent to its run; it is in the tree now, under the same id."""
    return _of_run(RUN_MESSAGE_DELIVERED, run, f"{message_id}:{run.attempt}", message_id=message_id)


def run_child(run: Run, child: Run) -> Event:
    """The run has called another worker, which is run below it."""
    about = {"child_run_id": child.id, "call_id": child.call_id, "worker_id": child.worker_id}
    return _of_run(RUN_CHILD, run, child.id, **about, child_thread_id=child.thread_id)


def run_waiting(run: Run) -> Event:
    """The run asks its user something."""
    return _of_run(RUN_WAITING, run, run.attempt, confirmation=dict(run.confirmation or {}))


def run_completed(run: Run) -> Event:
    """The run has ended; always its last event, and the only one of its kind."""
    return _of_run(
        RUN_COMPLETED,
        run,
        "",
        status=run.status,
        error=run.error.encode() if run.error else None,
        usage=run.usage,
        output_state_id=run.output_state_id,
    )


def message_created(run: Run, message: Message) -> Event:
    """A message begins; its content is empty as yet."""
    begun = {**message.encode(), "content": "", "status": MessageStatus.PARTIAL}
    payload = _payload(MESSAGE_CREATED, run.thread_id, run, message.state_id, message=begun)
    return Event(MESSAGE_CREATED, payload, f"{MESSAGE_CREATED}:{message.id}:{run.attempt}", message.id)


def message_delta(run: Run, message_id: str, n: int, text: str) -> Event:
    """``text`` is appended to an open message; ``n`` counts its deltas from 1."""
    payload = _payload(
        MESSAGE_DELTA, run.thread_id, run, run.output_state_id, message_id=message_id, n=n, text=text
    )
    return Event(MESSAGE_DELTA, payload, "", message_id, text, n)


def message_completed(run: Run, message: Message) -> Event:
    """A message is committed; this is all of it."""
    payload = _payload(MESSAGE_COMPLETED, run.thread_id, run, message.state_id, message=message.encode())
    return Event(MESSAGE_COMPLETED, payload, f"{MESSAGE_COMPLETED}:{message.id}:{run.attempt}", message.id)


def with_seq(payload: bytes, seq: int) -> bytes:
    """The ``data`` of an entry: its payload with its number in front."""
    return b'{"seq":%d,%b' % (seq, payload[1:])


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in a thread's log: everything up to ``seq`` of ``epoch`` was seen."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}"

    @classmethod
    def decode(cls, text: str) -> Cursor | None:
        """The cursor in an event id; None where it is malformed."""
        match = _CURSOR.fullmatch(text)
        return cls(match[1], int(match[2])) if match else None


_CURSOR = re.compile(r"([0-9a-z]{1,64}):([0-9]{1,15})")
