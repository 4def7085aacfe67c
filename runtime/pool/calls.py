"""Calls: the sub-runs that the worker of one attempt calls, and what it is told of them.

A call is made in one transaction and answered; what follows is told as it comes: the text, if
that is wanted, questions, and the end. Nothing is kept here that another attempt would miss: it
finds the same sub-run by the same call, and is told the same.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import gevent
import gevent.lock
import orjson

from runtime import logs
from runtime.child import protocol
from runtime.dispatch import call_lines
from runtime.dispatch.accept import Acceptance
from runtime.errors import (
    CallChanged,
    CallRefused,
    RequestError,
    StaleAttempt,
    StoreUnavailable,
    StreamUnavailable,
    Unavailable,
)
from runtime.model import Json, Message, MessageType, Run, RunError, RunStatus
from runtime.pool.attempt import Attempt, StopReason
from runtime.pool.first_line import encoded
from runtime.sdk.protocol import Answer
from runtime.services import Services
from runtime.store import calls, files, usage
from runtime.store.states import NewMessage
from runtime.stream import Hub

log = logging.getLogger(__name__)
T = TypeVar("T")

_RETRY_PAUSE = 0.25
"""Seconds between two tries while the database is away."""
_DEAF = b"[branchline] this worker is a web service, which calls by the Worker API\n"
_LEAST_TIME = 1.0
"""Seconds that a sub-run is given at least."""


class CallHost(Protocol):
    """What a pool process does for the calls of its attempts."""

    def reserve(self, pool: str, *, waits: bool) -> bool:
        """Keep a slot for a sub-run of that pool, if this process may begin it at once.

        ``waits``: whether its caller waits for another one already.
        """

    def release(self) -> None:
        """The slot is not needed."""

    def begin(self, run: Run, *, reserved: bool) -> None:
        """Have a new sub-run executed: here, in the slot that was kept for it, or by whoever has one."""

    def calls_changed(self) -> None:
        """An attempt waits for a sub-run now, or does no more."""


@dataclass(slots=True)
class _OpenCall:
    """A sub-run that has not ended, or whose end was not told."""

    call_id: str
    run: Run
    told: set[str] = field(default_factory=set)
    """Ids of the questions that the worker was told of, as messages of the sub-run."""


class Calls:
    """The calls of one attempt."""

    def __init__(self, attempt: Attempt, services: Services, hub: Hub, host: CallHost) -> None:
        self._attempt = attempt
        self._services = services
        self._database = services.database
        self._hub = hub
        self._host = host
        limits = services.settings.limits
        self._limits = calls.CallLimits(limits.call_depth, limits.calls)
        self._open: dict[str, _OpenCall] = {}
        """By the id of the sub-run."""
        self._runs: dict[str, Run] = {}
        """By call, all sub-runs of this attempt."""
        self._followers: list[gevent.Greenlet[..., None]] = []
        self._looking = gevent.lock.BoundedSemaphore()
        self._closed = False

    @property
    def are_open(self) -> bool:
        """Whether the worker waits for a sub-run."""
        return bool(self._open)

    @property
    def were_made(self) -> bool:
        """Whether it has called any."""
        return bool(self._runs)

    def handle(
        self, asked: protocol.Call | protocol.Follow | protocol.Refused, send: Callable[[bytes], None] | None
    ) -> None:
        """Do what the worker asks, and answer it. Waits until a sub-run is committed, not for its end.

        ``send`` is None where the worker reads no answer.
        """
        transcript = self._attempt.transcript
        if send is None:
            return transcript.log.write(_DEAF)
        if transcript.result is not None or self._closed:
            return
        match asked:
            case protocol.Call():
                self._call(asked, send)
            case protocol.Follow(call_id):
                self._follow(call_id)
            case protocol.Refused(_, call_id, reason):
                send(_refusal(call_id, reason))

    def look(self) -> None:
        """Tell the worker what is new of the sub-runs that have not ended. Raises StoreUnavailable."""
        with self._looking:
            for run in self._database.read(calls.find, list(self._open)) if self._open else ():
                self._tell(run)

    def close(self) -> None:
        """The attempt has ended."""
        self._closed = True
        self._open.clear()
        gevent.killall(self._followers, block=False)

    # ── calling ─────────────────────────────────────────────────────────────

    def _call(self, asked: protocol.Call, send: Callable[[bytes], None]) -> None:
        try:
            called, is_new = self._make(asked)
        except (CallRefused, RequestError, Unavailable) as error:
            return send(_failure(asked.id, error))
        except CallChanged:
            return send(_refusal(asked.id, "this call was made before, and asked for something else"))
        except StaleAttempt:
            return self._attempt.stop(StopReason.LOST)
        if called is None:
            return  # the run is to end, and its worker is told so
        run = called.run
        self._runs[asked.id] = run
        self._open[run.id] = _OpenCall(asked.id, run)
        send(orjson.dumps({"type": "called", "id": asked.id, "run_id": run.id}))
        self._attempt.transcript.note_child(run)
        self._attempt.wake.set()
        self._host.calls_changed()
        if is_new:
            gevent.spawn(logs.same(self._services.announcer.created), run, *called.states)
        else:
            self._persist(self.look)

    def _make(self, asked: protocol.Call) -> tuple[calls.Called | None, bool]:
        """The sub-run, and whether it is new; it is under way then."""
        caller = self._attempt.run
        digest = _digest(asked)
        said = [_new_message(message) for message in asked.messages]
        try:
            left = max(_LEAST_TIME, self._attempt.deadline - time.monotonic())
            spec = self._persist(
                Acceptance(self._services).call_spec,
                caller, asked.worker_id, asked.config or {}, asked.args, files.ids_of(said), left,
            )  # fmt: skip
        except (RequestError, Unavailable):
            # An earlier attempt may have been luckier, and its sub-run is what counts.
            found = self._persist(self._database.read, calls.called, caller.id, asked.id)
            if found is None or found.call_digest != digest:
                raise
            return calls.Called(found), False
        reserved = self._host.reserve(spec.pool, waits=self.are_open)
        called = None
        try:
            called = self._persist(
                self._database.write,
                calls.create,
                caller, asked.id, digest, said, spec, self._limits,
                taken=reserved,
            )  # fmt: skip
        finally:
            is_new = called is not None and bool(called.states)
            if called is not None and is_new:
                self._host.begin(called.run, reserved=reserved)
            elif reserved:
                self._host.release()
        return called, is_new

    # ── what becomes of them ────────────────────────────────────────────────

    def _tell(self, run: Run) -> None:
        """Tell of a sub-run its questions, each once, and its end."""
        call = self._open.get(run.id)
        ended = run.status.terminal
        if call is None or not (ended or run.status is RunStatus.WAITING or run.answers):
            return
        written = self._database.read(calls.output, run)
        for place, message in enumerate(written):
            if message.type is MessageType.CONFIRMATION and message.id not in call.told:
                call.told.add(message.id)
                self._send(call_lines.question(call.call_id, message, written[:place]))
        named = files.ids_of(written) if ended else []
        if named:  # from now on the caller reads them as its own
            self._database.write(files.use, self._attempt.run.thread_id, named)
        if ended and self._open.pop(run.id, None) is not None:
            below = self._database.read(usage.below, [run]).get(run.id)
            self._send(call_lines.result(call.call_id, run, map(self._encoded, written), below))
            self._host.calls_changed()

    def _follow(self, call_id: str) -> None:
        run = self._runs.get(call_id)
        if run is not None and not self._closed:
            self._followers.append(gevent.spawn(logs.same(self._send_text), call_id, run))

    def _send_text(self, call_id: str, run: Run) -> None:
        """Send the text of a sub-run as it comes. What is missed of it, its end makes up for."""
        try:
            for text in texts(self._hub, run):
                self._send({"type": "delta", "id": call_id, "text": text})
        except StreamUnavailable:
            log.info("the text of the sub-run %s is not followed: Redis is away", run.id)

    def _encoded(self, message: Message) -> dict[str, Json]:
        return encoded(message, self._attempt.run, self._services.settings)

    def _persist(self, access: Callable[..., T], *args: object, **kwargs: object) -> T:
        """Ask the database, and again while it is away and the lease is held. Raises StaleAttempt."""
        while True:
            try:
                return access(*args, **kwargs)
            except StoreUnavailable:
                if self._attempt.lost:
                    raise StaleAttempt from None
                gevent.sleep(_RETRY_PAUSE)

    def _send(self, line: Mapping[str, Json]) -> None:
        child = self._attempt.child
        if child is not None and not self._closed:
            child.send(orjson.dumps(line))


def texts(hub: Hub, run: Run) -> Iterator[str]:
    """The answer of a run as it comes, a blank line between its messages, for as long as it stays as it is.

    It ends where the run ends, where an attempt is lost and its text with it, and where the log no
    longer has it. Raises StreamUnavailable.
    """
    follower = hub.follow_run(run.thread_id, run.id)
    if follower is None:
        return
    answer = Answer()
    try:
        for batch in follower:
            for entry in batch.records if batch is not None else ():
                if answer.is_void(entry.type, entry.fields):
                    return
                if text := answer.add(entry.type, entry.fields):
                    yield text
    finally:
        follower.close()


def _failure(call_id: str, error: Exception) -> bytes:
    """There is no sub-run; the worker gets that as a result, as it gets any other failure."""
    retryable = isinstance(error, Unavailable)
    failure = RunError("call_refused", str(error), retryable=retryable).encode()
    nothing: dict[str, Json] = {"run_id": None, "messages": [], "usage": None, "usage_below": None}
    return orjson.dumps(
        {"type": "result", "id": call_id, **nothing, "status": RunStatus.ERROR, "error": failure}
    )


def _refusal(call_id: str, reason: str) -> bytes:
    return orjson.dumps({"type": "refused", "of": "call", "id": call_id, "message": reason})


def _new_message(said: Any) -> NewMessage:
    named = [{"id": file_id} for file_id in said.files] or None
    return NewMessage(said.role, said.content, said.type, said.channel, said.author, said.data, files=named)


def _digest(asked: protocol.Call) -> str:
    said = [
        [m.role, m.type, m.channel, m.author, m.content, m.data, *([m.files] if m.files else [])]
        for m in asked.messages
    ]
    request = [asked.worker_id, said, asked.config, asked.args]
    return hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()
