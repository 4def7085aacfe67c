"""What a client asks to be run, and what it is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runtime.model import Json, Run
from runtime.store.states import NewMessage


@dataclass(frozen=True, slots=True)
class NewThread:
    """The thread to make for a run that names none."""

    title: str | None = None
    """None: the beginning of the first message, until a worker names it if one is set."""
    metadata: Mapping[str, Json] = field(default_factory=dict)
    helps: str | None = None
    """The thread that this one, which is in no list, is made to name, or to sum up."""
    awaited_by: str | None = None
    """The task of the outbox that waits for its run."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a client asks for; its shape is checked, its meaning is not."""

    input_state_id: str | None = None
    """None: the root of a new thread."""
    messages: Sequence[NewMessage] = ()
    worker_id: str | None = None
    """None: the thread's own worker, and then also its config."""
    config: Mapping[str, Json] | None = None
    args: Json = None
    count: int = 1
    priority: int = 0
    timeout: float | None = None
    """Seconds; None: the worker's."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's own name for its request, and a digest of the request's body."""

    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was asked for is stored, and will be executed."""

    answer: dict[str, Json]
    """As JSON: runs, states, input_state, and for a new thread thread and root_state."""
    runs: Sequence[Run] = ()
    """Those that are new."""
    announced: bool = True
    """Whether Redis and the broker have answered in time."""
