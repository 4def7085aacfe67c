"""The records that all other modules use, and the values of their fields.

Records are frozen. ``encode`` gives the JSON shape that the Thread API and the
event log share; times are RFC 3339 in UTC. Ids are UUIDv7 strings (RFC 9562,
section 5.7). They sort by the time they were made only among those of one process, whose
clock they are made from; what is listed in order is sorted by the database's times.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from runtime.sdk.protocol.values import Channel as Channel
from runtime.sdk.protocol.values import MessageType as MessageType
from runtime.sdk.protocol.values import Role as Role
from runtime.system import clock

Json = Any
"""What ``json.loads`` may return."""


def new_id() -> str:
    """A UUIDv7: 48 bits of milliseconds, 12 of the fraction below, 62 random ones.

    With the fraction (RFC 9562, section 6.2, method 3) ids of one process sort in
    the order in which they were made.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    high = milliseconds << 16 | 0x7000 | (rest << 12) // 1_000_000
    low = int.from_bytes(os.urandom(8), "big") & ~(0x3 << 62) | 0x2 << 62
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def encode_time(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC with milliseconds: ``2026-01-31T12:00:00.000Z``."""
    if moment is None:
        return None
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[: -len("+00:00")] + "Z"


def utc_now() -> datetime:
    """The time, for display only: see :mod:`runtime.system.clock`. Decisions use the database's clock."""
    return datetime.fromtimestamp(clock.time(), UTC)


class ThreadStatus(StrEnum):
    """Whether a thread is in its owner's list."""

    ACTIVE = "active"
    """In the list. Set at creation, and by the owner."""
    ARCHIVED = "archived"
    """Kept, out of the list. Set by the owner."""


class RunStatus(StrEnum):
    """The state of a run. docs/architecture.md draws the transitions."""

    QUEUED = "queued"
    """Accepted, waiting for a slot. Set by dispatch, by the reaper after a lost
    attempt, by a draining pool, and by the answer to a confirmation."""
    RUNNING = "running"
    """An attempt holds the lease. Set by the pool that claims."""
    WAITING = "waiting"
    """Has asked its user a question and occupies no process. Set by the executor."""
    SUCCESS = "success"
    """Succeeded. Set by the executor."""
    ERROR = "error"
    """Failed, and will not be tried again. Set by the executor or the reaper."""
    TIMEOUT = "timeout"
    """Ran longer than it may. Set by the executor or the reaper."""
    CANCELLED = "cancelled"
    """Cancelled by its user. Set by web while it waits, else by the executor or the
    reaper."""

    @property
    def terminal(self) -> bool:
        """Whether the run has ended and will never change again."""
        return self in TERMINAL


TERMINAL = frozenset({RunStatus.SUCCESS, RunStatus.ERROR, RunStatus.TIMEOUT, RunStatus.CANCELLED})


class QueueReason(StrEnum):
    """Why a queued run has not started."""

    BACKOFF = "backoff"
    """An attempt has failed; the next one waits a while."""
    POOL_NOT_SEEN = "pool_not_seen"
    """No process of its pool is alive."""
    WORKER_NOT_SEEN = "worker_not_seen"
    """Processes of its pool are alive, and none of them has its worker."""
    QUEUE_REFUSED = "queue_refused"
    """The broker refuses the queue of its pool."""
    USER_LIMIT = "user_limit"
    """Its user has as many active runs as the settings permit."""
    WORKER_LIMIT = "worker_limit"
    """Its worker has as many active runs as its worker.toml permits."""
    AHEAD = "ahead"
    """The slots of its pool are busy, or go to runs ahead of it."""
    STARTING = "starting"
    """A slot is free for it."""


class MessageStatus(StrEnum):
    """Whether a message is complete."""

    COMPLETE = "complete"
    """Written to its end. Set by whoever wrote it."""
    PARTIAL = "partial"
    """Still being written, or cut off when its run ended. Set by the executor
    and the reaper."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a state."""

    id: str
    state_id: str
    position: int
    role: Role
    content: str
    type: MessageType = MessageType.TEXT
    channel: Channel = Channel.ANSWER
    author: str | None = None
    data: Mapping[str, Json] = field(default_factory=dict)
    status: MessageStatus = MessageStatus.COMPLETE
    run_id: str | None = None
    attempt: int = 0
    created_at: datetime | None = None
    files: Sequence[Mapping[str, Json]] | None = None
    """The files that it names, each as :meth:`File.mention` has it; None where it names none."""

    def encode(self) -> dict[str, Json]:
        """The message as API and events show it."""
        return {
            "id": self.id,
            "state_id": self.state_id,
            "position": self.position,
            "role": self.role,
            "type": self.type,
            "channel": self.channel,
            "author": self.author,
            "content": self.content,
            "data": dict(self.data),
            "files": list(self.files or ()),
            "status": self.status,
            "run_id": self.run_id,
            "created_at": encode_time(self.created_at),
        }


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message that was sent to a run while that was under way, and that waits to be read."""

    id: str
    run_id: str
    role: Role
    content: str
    type: MessageType = MessageType.TEXT
    channel: Channel = Channel.ANSWER
    author: str | None = None
    data: Mapping[str, Json] = field(default_factory=dict)
    created_at: datetime | None = None
    files: Sequence[Mapping[str, Json]] | None = None

    def encode(self) -> dict[str, Json]:
        """The message as the API shows it."""
        return {
            "id": self.id,
            "run_id": self.run_id,
            "role": self.role,
            "type": self.type,
            "channel": self.channel,
            "author": self.author,
            "content": self.content,
            "data": dict(self.data),
            "files": list(self.files or ()),
            "created_at": encode_time(self.created_at),
        }


@dataclass(frozen=True, slots=True)
class State:
    """A node of a thread: a parent and the messages that are new here."""

    id: str
    thread_id: str
    parent_id: str | None
    depth: int
    ordinal: int
    """Position among its siblings, from 0, in order of creation."""
    children: int
    """How many child states there are."""
    run_id: str | None
    label: str | None
    starred: bool
    created_at: datetime
    messages: tuple[Message, ...] | None = None
    """None if they were not requested."""

    def encode(self) -> dict[str, Json]:
        """The state as API and events show it."""
        out: dict[str, Json] = {
            "id": self.id,
            "thread_id": self.thread_id,
            "parent_id": self.parent_id,
            "depth": self.depth,
            "ordinal": self.ordinal,
            "children": self.children,
            "run_id": self.run_id,
            "label": self.label,
            "starred": self.starred,
            "created_at": encode_time(self.created_at),
        }
        if self.messages is not None:
            out["messages"] = [message.encode() for message in self.messages]
        return out


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation, owned by a user's workspace."""

    id: str
    workspace_id: str
    user_id: str
    title: str | None
    worker_id: str | None
    config: Mapping[str, Json]
    metadata: Mapping[str, Json]
    status: ThreadStatus
    root_state_id: str
    latest_state_id: str
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None

    def encode(self) -> dict[str, Json]:
        """The thread as API and events show it."""
        return {
            "id": self.id,
            "title": self.title,
            "worker_id": self.worker_id,
            "config": dict(self.config),
            "metadata": dict(self.metadata),
            "status": self.status,
            "root_state_id": self.root_state_id,
            "latest_state_id": self.latest_state_id,
            "created_at": encode_time(self.created_at),
            "updated_at": encode_time(self.updated_at),
        }


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run did not succeed."""

    code: str
    """One of: worker_error, worker_crashed, output_too_large, internal_error, start_failed,
    config_invalid, timeout, lost, cancelled (only of a run that an import ended)."""
    message: str
    retryable: bool = False
    log_tail: str = ""

    def encode(self) -> dict[str, Json]:
        """The error as API and events show it."""
        return {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            "log_tail": self.log_tail,
        }

    @classmethod
    def decode(cls, data: Mapping[str, Json] | None) -> RunError | None:
        """The error back from the database; None stays None."""
        return None if data is None else cls(**data)


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a worker on an input state; it fills one output state."""

    id: str
    thread_id: str
    workspace_id: str
    user_id: str
    parent_run_id: str | None
    input_state_id: str
    output_state_id: str
    worker_id: str
    worker_digest: str
    pool: str
    config: Mapping[str, Json]
    args: Json
    status: RunStatus
    attempt: int
    failures: int
    max_attempts: int
    timeout_seconds: float
    priority: int
    created_at: datetime
    lease_until: datetime | None = None
    claimed_by: str | None = None
    cancel_requested_at: datetime | None = None
    published_at: datetime | None = None
    announced_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: RunError | None = None
    last_failure: RunError | None = None
    """Why the attempt before failed, which is the last one of a run that is queued again."""
    usage: Mapping[str, Json] | None = None
    confirmation: Mapping[str, Json] | None = None
    """The open question of a waiting run: ``{id, prompt, options, schema?, message_id, digest}``."""
    answers: tuple[Mapping[str, Json], ...] = ()
    """The answers so far, oldest first: ``{confirmation_id, answer, digest, attempt}``."""
    sandbox: Mapping[str, Json] | None = None
    """What kept its last attempt in its place: ``{level, in_force}``."""
    steered: bool = False
    """Whether messages were sent to it while it was under way."""
    call_id: str | None = None
    """Of a sub-run: by what its parent calls it. None: a run that a client has asked for."""
    call_digest: str | None = None
    """Of a sub-run: what stands for all that its parent has asked for."""
    root_run_id: str | None = None
    """Of a sub-run: the run that a client has asked for, above it and all between them."""
    call_depth: int = 0
    """How many runs are above it."""
    calls: int = 0
    """How many sub-runs it has made; where it is none itself, with all that those have made."""
    inbox_reads: int = 0
    """How often its worker has looked for such messages, in all attempts."""
    window: Mapping[str, Json] | None = None
    """Of what conversation it is given: ``{size, pinned, summary}`` where that was asked for it, as of a
    turn of a session, and once it was claimed and something was left out, ``{size, given, left_out, goal,
    pinned, system, summary, summed_up}``: numbers of messages, then ids of what a person said last, of the
    message that is the goal in place of that, and of system messages; then the worker that sums up what is
    left out, and how many messages the summary covers that it was given."""
    session_id: str | None = None
    """Of a turn of a session: that."""
    turn: int | None = None
    """Which turn of its session it is, from 1."""
    finish_reason: str | None = None
    """Why its session is to go on no more, if its worker has said so."""
    awaited_by: str | None = None
    """The task of the outbox that its end wakes, by :func:`runtime.store.outbox.name_of`."""
    message: Mapping[str, Json] | None = None
    """The message of a system that it handles, as its worker is told of it."""

    @property
    def about(self) -> dict[str, Json]:
        """What log records of it are about."""
        ids: dict[str, Json] = {"run_id": self.id, "attempt": self.attempt, "worker_id": self.worker_id}
        return {**ids, "user_id": self.user_id, "thread_id": self.thread_id}

    @property
    def failure(self) -> str | None:
        """How it has failed, if it has ended so: its status and the code of its error."""
        return f"{self.status}: {self.error.code}" if self.status.terminal and self.error else None

    def encode(self) -> dict[str, Json]:
        """The run as API and events show it."""
        return {
            "id": self.id,
            "thread_id": self.thread_id,
            "parent_run_id": self.parent_run_id,
            "call_id": self.call_id,
            "has_children": self.calls > 0,
            "session_id": self.session_id,
            "turn": self.turn,
            "finish_reason": self.finish_reason,
            "input_state_id": self.input_state_id,
            "output_state_id": self.output_state_id,
            "worker_id": self.worker_id,
            "worker_digest": self.worker_digest,
            "pool": self.pool,
            "config": dict(self.config),
            "args": self.args,
            "status": self.status,
            "attempt": self.attempt,
            "failures": self.failures,
            "max_attempts": self.max_attempts,
            "timeout_seconds": self.timeout_seconds,
            "priority": self.priority,
            "error": self.error.encode() if self.error else None,
            "last_failure": self.last_failure.encode() if self.last_failure else None,
            "usage": dict(self.usage) if self.usage is not None else None,
            "confirmation": dict(self.confirmation) if self.confirmation is not None else None,
            "sandbox": dict(self.sandbox) if self.sandbox is not None else None,
            "steered": self.steered,
            "window": self._shown_window(),
            "cancel_requested_at": encode_time(self.cancel_requested_at),
            "created_at": encode_time(self.created_at),
            "started_at": encode_time(self.started_at),
            "finished_at": encode_time(self.finished_at),
        }

    def _shown_window(self) -> dict[str, Json] | None:
        if self.window is None or "left_out" not in self.window:
            return None
        return {"summary": None, "summed_up": 0, **self.window}  # without these: of an earlier version


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with an account; owns a personal workspace."""

    id: str
    workspace_id: str
    email: str
    name: str | None
    created_at: datetime

    def encode(self) -> dict[str, Json]:
        """The user as API and events show it."""
        return {
            "id": self.id,
            "email": self.email,
            "name": self.name,
            "created_at": encode_time(self.created_at),
        }


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A program's credential. The secret itself is never stored."""

    id: str
    user_id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None = None

    def encode(self) -> dict[str, Json]:
        """The token as the API lists it."""
        return {
            "id": self.id,
            "name": self.name,
            "created_at": encode_time(self.created_at),
            "last_used_at": encode_time(self.last_used_at),
        }


@dataclass(frozen=True, slots=True)
class PoolToken:
    """The credential of a machine elsewhere that executes the runs of a pool."""

    id: str
    pool: str
    name: str
    created_at: datetime
    last_used_at: datetime | None = None

    def encode(self) -> dict[str, Json]:
        """The token as `branchline token list` has it."""
        return {
            "id": self.id,
            "pool": self.pool,
            "name": self.name,
            "created_at": encode_time(self.created_at),
            "last_used_at": encode_time(self.last_used_at),
        }


@dataclass(frozen=True, slots=True)
class File:
    """What a user has uploaded, or a run has made. Its content is kept apart, by its hash."""

    id: str
    """Random, so that nobody can guess it."""
    workspace_id: str
    user_id: str
    name: str
    """What its owner calls it; no path."""
    type: str
    """What its content is, as ``image/png``; found by looking at it."""
    size: int
    """Bytes."""
    hash: str
    """SHA-256 of the content, in hexadecimal digits. It stays inside: who knows it may not have the file."""
    run_id: str | None = None
    """The run that has made it."""
    created_at: datetime | None = None

    def mention(self) -> dict[str, Json]:
        """The file as messages name it."""
        return {"id": self.id, "name": self.name, "type": self.type, "size": self.size}

    def encode(self) -> dict[str, Json]:
        """The file as the API shows it."""
        return {
            **self.mention(),
            "run_id": self.run_id,
            "created_at": encode_time(self.created_at),
        }


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool process, as it has reported itself."""

    name: str
    incarnation: str
    slots: int
    busy: int
    seen_at: datetime
    alive: bool
    """Whether it reported itself within the lease."""
    workers: Mapping[str, Json]
    """Worker id → ``{"digest": …, "available": bool, "reason": str | None}``."""
    clock_skew: float | None = None
    """Seconds by which its clock is ahead of the database's; None where it has not said."""
    dropped_messages: int = 0
    """Messages of its queue that were none of ours."""
    queue_refusal: str | None = None
    """Why the broker refuses its queue; None where it does not."""
