"""What a session is, its states, and the legal transitions between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from runtime.errors import Conflict
from runtime.model import Json, encode_time

MAX_MESSAGES: Final = "max_messages"
"""Among the limits of agent chats: how many messages the thread may have; further ones are refused."""


class Status(StrEnum):
    """What a session does."""

    INIT = "init"
    """No turn has begun."""
    RUNNING = "running"
    WAITING = "waiting"
    """Its turn waits for the answer to a question."""
    STOP = "stop"
    """The last turn has ended, and ``stop_reason`` says why no other one has begun."""
    CLOSED = "closed"


TRANSITIONS: Final[Mapping[Status, frozenset[Status]]] = {
    Status.INIT: frozenset({Status.RUNNING, Status.CLOSED}),
    Status.RUNNING: frozenset({Status.WAITING, Status.STOP, Status.CLOSED}),
    Status.WAITING: frozenset({Status.RUNNING, Status.STOP, Status.CLOSED}),
    Status.STOP: frozenset({Status.RUNNING, Status.CLOSED}),
    Status.CLOSED: frozenset(),
}
"""The legal transitions; a constraint of the database holds them, too."""


class Reason(StrEnum):
    """Why a session has stopped; the codes of ``stop_reason``."""

    TURN_ENDED = "turn_ended"
    FINISHED = "finished"
    MAX_TURNS = "max_turns"
    MAX_SECONDS = "max_seconds"
    MAX_TOKENS = "max_tokens"
    MAX_COST = "max_cost"
    UNKNOWN_FIGURE = "unknown_figure"
    NO_PROGRESS = "no_progress"
    ERROR = "error"
    PAUSED = "paused"
    STEPPED = "stepped"
    STOPPED = "stopped"
    CLOSED = "closed"
    THREAD_DELETED = "thread_deleted"


class By(StrEnum):
    """What has moved a session."""

    PERSON = "person"
    TURN = "turn"
    """What has become of the run."""
    AUTO = "auto"
    SYSTEM = "system"


class Wish(StrEnum):
    """What a person wants at the end of the turn."""

    PAUSE = "pause"
    STEP = "step"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Session:
    """The session of a thread."""

    id: str
    """A UUIDv4: unlike other ids it tells nothing of when it was made."""
    thread_id: str
    workspace_id: str
    user_id: str
    worker_id: str | None
    """None: the thread's own."""
    config: Mapping[str, Json] | None
    status: Status
    turn: int
    """How many turns have begun."""
    transition: int
    """How many transitions there were; it only grows."""
    revision: int
    """How often anything of it has changed."""
    tip_state_id: str
    """Where it goes on."""
    tip_is_set: bool
    """Whether a person has set that while the turn runs, whose end then leaves it."""
    run_id: str | None
    """The run of the last turn."""
    wish: Wish | None
    auto: Mapping[str, Json]
    """``{enabled, prompt}``"""
    window: Mapping[str, Json]
    limits: Mapping[str, Json]
    """``{max_turns, max_seconds, max_tokens, max_cost}``, each a number or null; of an agent chat also
    ``max_messages``."""
    used: Mapping[str, Json]
    """``{turns, seconds, tokens, cost}``; turns since the last message of a person. null: unknown."""
    progress: Mapping[str, Json]
    stop_reason: Mapping[str, Json] | None
    """``{code, message}``"""
    held: str | None
    """Why the next turn has not begun yet, though it is to."""
    running_since: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def is_open(self) -> bool:
        """Whether a turn is under way."""
        return self.status in (Status.RUNNING, Status.WAITING)

    def encode(self) -> dict[str, Json]:
        """The session as API and events show it."""
        return {
            "id": self.id,
            "thread_id": self.thread_id,
            "worker_id": self.worker_id,
            "config": None if self.config is None else dict(self.config),
            "status": self.status,
            "turn": self.turn,
            "transition": self.transition,
            "revision": self.revision,
            "tip_state_id": self.tip_state_id,
            "run_id": self.run_id,
            "pausing": self.wish is not None and self.status in (Status.RUNNING, Status.WAITING),
            "auto": dict(self.auto),
            "window": dict(self.window),
            "limits": dict(self.limits),
            "used": dict(self.used),
            "stop_reason": None if self.stop_reason is None else dict(self.stop_reason),
            "held": self.held,
            "created_at": encode_time(self.created_at),
            "updated_at": encode_time(self.updated_at),
        }


@dataclass(frozen=True, slots=True)
class Transition:
    """One entry of a session's history."""

    number: int
    from_status: Status
    to_status: Status
    by: By
    user_id: str | None
    run_id: str | None
    code: str | None
    message: str | None
    created_at: datetime = field()

    def encode(self) -> dict[str, Json]:
        """The transition as the API shows it."""
        return {
            "number": self.number,
            "from": self.from_status,
            "to": self.to_status,
            "by": self.by,
            "user_id": self.user_id,
            "run_id": self.run_id,
            "code": self.code,
            "message": self.message,
            "created_at": encode_time(self.created_at),
        }


def check(before: Status, after: Status) -> None:
    """Raises Conflict for a transition that is not legal."""
    if after not in TRANSITIONS[before]:
        raise Conflict(f"The session is {before}; it cannot become {after} from there.")
