"""Systems that live: what they are, their entities, and the messages in their mailboxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from runtime.model import Json, encode_time
from runtime.systems.definition import Kind, WhenFull


class SystemStatus(StrEnum):
    """What a system does."""

    RUNNING = "running"
    STOPPING = "stopping"
    """It takes no messages from outside, and ends what it has."""
    STOPPED = "stopped"


class MessageStatus(StrEnum):
    """Where a message is."""

    HELD = "held"
    """It rests with its sender: the mailbox that it is for is full."""
    WAITING = "waiting"
    """It is in the mailbox of its entity."""
    WORKING = "working"
    """A run handles it."""
    DONE = "done"
    FAILED = "failed"
    """Its run has not succeeded."""
    DEAD = "dead"
    """It could not be delivered, and ``reason`` says why."""


class Reason(StrEnum):
    """Why a message is a dead letter."""

    HOPS = "hops"
    """It has passed as many entities as it may."""
    MESSAGES = "messages"
    """As many messages have followed from one as may."""
    EXPIRED = "expired"
    """Its deadline was over before it was handled."""
    LATE = "late"
    """An answer that came after the deadline, or after another one that counts."""
    UNKNOWN_ENTITY = "unknown_entity"
    NOT_ACCEPTED = "not_accepted"
    """Its body does not fit the schema of its receiver, or is larger than a map may make one."""
    MAILBOX_FULL = "mailbox_full"
    DROPPED = "dropped"
    """A later message has taken its place in a mailbox."""
    STOPPED = "stopped"
    """The system was stopped."""


@dataclass(frozen=True, slots=True)
class System:
    """A system of somebody's."""

    id: str
    workspace_id: str
    user_id: str
    name: str
    status: SystemStatus
    version: int
    definition: Mapping[str, Json]
    thread_id: str
    """The thread, in no list, that the threads of its entities are kept with."""
    created_at: datetime
    updated_at: datetime

    def encode(self) -> dict[str, Json]:
        """The system as the API shows it, without its entities."""
        return {
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "version": self.version,
            "created_at": encode_time(self.created_at),
            "updated_at": encode_time(self.updated_at),
        }


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity of a system that lives."""

    id: str
    system_id: str
    name: str
    worker_id: str
    config: Mapping[str, Json]
    components: Mapping[str, Json]
    accepts: Mapping[str, Json] | None
    mailbox_size: int
    when_full: WhenFull
    concurrency: int
    entry: bool
    thread_id: str
    """Where its messages are handled; in no list."""
    tip_state_id: str
    """Where it goes on, if it handles one message at a time."""
    last_number: int
    """Of the messages that have come into its mailbox."""

    def encode(self, waiting: int = 0, working: int = 0) -> dict[str, Json]:
        """The entity as the API shows it, with how many messages wait for it and are handled."""
        return {
            "id": self.id,
            "name": self.name,
            "worker_id": self.worker_id,
            "config": dict(self.config),
            "components": dict(self.components),
            "mailbox": {"size": self.mailbox_size, "when_full": self.when_full, "waiting": waiting},
            "concurrency": self.concurrency,
            "working": working,
            "entry": self.entry,
        }


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to one entity, with its way through the mailbox."""

    id: str
    system_id: str
    entity_id: str | None
    """To whom; None: to nobody that there is."""
    correlation_id: str
    cause_id: str | None
    """The message from whose handling it has come."""
    sender_id: str | None
    """None: from outside."""
    number: int | None
    """In the mailbox, from 1; None: it has not come there."""
    kind: Kind
    body: Mapping[str, Json]
    error: bool
    """Whether it says that a query has failed."""
    reply_to: str | None
    """The entity that alone gets the answer."""
    race_id: str | None
    """Shared by queries of which the first answer counts."""
    priority: int
    hops: int
    status: MessageStatus
    reason: str | None
    answer: Mapping[str, Json] | None
    """To a query: the body of its answer, or of its error."""
    run_id: str | None
    created_at: datetime
    deadline: datetime | None
    started_at: datetime | None
    ended_at: datetime | None

    def encode(self, names: Mapping[str, str]) -> dict[str, Json]:
        """The message as the API shows it; ``names``: of the entities, by their ids."""
        return {
            "id": self.id,
            "correlation_id": self.correlation_id,
            "cause_id": self.cause_id,
            "from": names.get(self.sender_id or ""),
            "to": names.get(self.entity_id or ""),
            "kind": self.kind,
            "body": dict(self.body),
            "error": self.error,
            "reply_to": names.get(self.reply_to or ""),
            "priority": self.priority,
            "hops": self.hops,
            "number": self.number,
            "status": self.status,
            "reason": self.reason,
            "answer": None if self.answer is None else dict(self.answer),
            "run_id": self.run_id,
            "created_at": encode_time(self.created_at),
            "deadline": encode_time(self.deadline),
            "started_at": encode_time(self.started_at),
            "ended_at": encode_time(self.ended_at),
        }

    def told(self, names: Mapping[str, str]) -> dict[str, Json]:
        """What a worker is told of the message that it handles."""
        return {
            "id": self.id,
            "correlation_id": self.correlation_id,
            "cause_id": self.cause_id,
            "sender": names.get(self.sender_id or ""),
            "to": names.get(self.entity_id or ""),
            "kind": self.kind,
            "body": dict(self.body),
            "error": self.error,
            "hops": self.hops,
            "deadline": encode_time(self.deadline),
        }
