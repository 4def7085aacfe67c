"""Executing a worker: attempt after attempt, as a pool would make them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass, field, replace

from .. import driver
from ..loader import Function, load
from ..messages import Json, Message
from ..protocol import Call
from ..run import Run
from ..version import PROTOCOL
from .calls import Called, Refused, SubRuns
from .transcript import Error, Fields, Question, SavedValue, Transcript, WrittenMessage
from .wire import Killed, LocalWire

Worker = Function | str | os.PathLike[str]
Said = str | Message | Mapping[str, Json]


@dataclass(frozen=True)
class _Order:
    """What a run is asked for; the same in all its attempts."""

    worker: Worker
    name: str
    line: Fields
    state: Json
    answers: Mapping[str, Json]
    inbox: Sequence[Fields | None]
    continues: bool
    max_attempts: int
    calls: Mapping[str, Worker]
    """The workers that it may call beside those in the folders next to its own, by id."""
    given: Worker
    """What the test was given: a folder, where ``worker`` is the file in it."""
    depth: int = 0
    """How many runs are above it."""


@dataclass(frozen=True)
class _Past:
    """What the attempts so far have left."""

    attempt: int = 0
    failures: int = 0
    answers: Sequence[Fields] = ()
    messages: Sequence[WrittenMessage] = ()
    """Those that count."""
    saved: Mapping[str, SavedValue] = field(default_factory=dict)
    usage: Fields = field(default_factory=dict)
    looks: int = 0
    """Looks into the inbox whose results count: later attempts find the same."""
    called: Mapping[str, Called] = field(default_factory=dict)
    """The sub-runs, by call."""

    @property
    def answered_by(self) -> int:
        """The last attempt whose question was answered; 0 if there is none."""
        return self.answers[-1]["attempt"] if self.answers else 0


@dataclass(frozen=True)
class Result:
    """How a run stands after an attempt. It never changes: what follows is another result."""

    status: str
    """success, error or cancelled; waiting: for an answer; queued: the attempt was lost, or failed
    for the moment, and another one follows."""
    messages: list[WrittenMessage]
    """What the run has written and that counts."""
    events: list[Fields]
    """What the last attempt has said, line by line."""
    state: Json
    """What the next run from here is given."""
    saved: dict[str, Json]
    """The results of its durable steps, by key."""
    usage: Fields
    """What all attempts together have used."""
    question: Question | None
    """What it waits for."""
    error: Error | None
    """Why it has failed, or its last attempt."""
    attempt: int
    """Which one was the last, from 1."""
    unread: list[Message]
    """What the worker has not read of its inbox: it would begin the next run."""
    log: str
    """What a pool would add to the run's log: which events it has ignored, and why."""
    _order: _Order = field(repr=False)
    _past: _Past = field(repr=False)

    @property
    def text(self) -> str:
        """The answer: its messages of the assistant that are text, a blank line between them."""
        kind = ("assistant", "text", "answer")
        return "\n\n".join(m.content for m in self.messages if (m.role, m.type, m.channel) == kind)

    @property
    def finish(self) -> str | None:
        """Why the session that the run is a turn of goes on no more; None where it does."""
        said = [event["reason"] for event in self.events if event["type"] == "finish"]
        return str(said[-1]) if said and self.status == "success" else None

    def answer(
        self, answer: Json, *, crash_after: int | None = None, cancel_after: int | None = None
    ) -> Result:
        """Answer the question; the worker starts again from its beginning."""
        if self.question is None:
            raise ValueError(f"the run waits for no answer; it is {self.status}")
        return _go_on(self._order, _answered(self._past, self.question, answer), crash_after, cancel_after)

    def resume(self, *, crash_after: int | None = None, cancel_after: int | None = None) -> Result:
        """Make the attempt that follows a lost one."""
        if self.status != "queued":
            raise ValueError(f"no other attempt follows; the run is {self.status}")
        return _go_on(self._order, self._past, crash_after, cancel_after)


def execute(
    worker: Worker,
    messages: Said | Iterable[Said] = (),
    *,
    config: Mapping[str, Json] | None = None,
    args: Json = None,
    state: Json = None,
    thread: Mapping[str, Json] | None = None,
    answers: Mapping[str, Json] | None = None,
    inbox: Iterable[Said | None] = (),
    calls: Mapping[str, Worker] | None = None,
    passages: Iterable[Mapping[str, Json]] = (),
    resume: str | None = None,
    max_attempts: int | None = None,
    crash_after: int | None = None,
    cancel_after: int | None = None,
) -> Result:
    """Execute a run of ``worker`` until it ends, waits for an answer, or is lost.

    ``worker``: its function, its file, or its folder with a worker.toml. A text among the
    ``messages`` is one of the user. ``config`` and answers are given to it as they are: only a
    server checks them, and fills in the defaults of a schema. ``answers``: by the id of the
    question, which is ``"1"`` for the first where the worker names none. ``inbox``: what each look
    of the worker into its inbox finds, in order, None being nothing. ``calls``: the workers that it
    calls, by id; those in folders beside its own, and itself, are found. ``passages``: among
    which the worker searches, each with its ``text`` and if wanted ``titles``, ``source`` and
    ``document``. ``resume``, ``max_attempts``: as in worker.toml, where they count otherwise.

    ``crash_after``: the process dies after that many lines of it, each event and each saved
    value being one; 0: before it begins. ``cancel_after``: the run is cancelled then.

    An exception of the worker is the error of the result, its traceback on stderr.
    """
    order = _order(worker, messages, config, args, calls or {})
    line = {**order.line, "passages": [dict(one) for one in passages]}
    line = {**line, "thread": {**order.line["thread"], **(thread or {})}}
    order = replace(
        order,
        line=_copy(line),
        state=_copy(state),
        answers=_copy(dict(answers or {})),
        inbox=[
            None if said is None else {**_fields(said), "id": f"inbox-{number}"}
            for number, said in enumerate(inbox, 1)
        ],
        continues=resume == "continue" if resume else order.continues,
        max_attempts=max_attempts or order.max_attempts,
    )
    return _go_on(order, _Past(), crash_after, cancel_after)


def _order(
    worker: Worker,
    messages: Said | Iterable[Said],
    config: Mapping[str, Json] | None,
    args: Json,
    calls: Mapping[str, Worker],
) -> _Order:
    manifest = _manifest(worker)
    name = str(manifest.get("id") or getattr(worker, "__name__", "worker"))
    run_id, thread_id = str(uuid.uuid4()), str(uuid.uuid4())
    line = {
        "run": {"id": run_id, "thread_id": thread_id, "worker_id": name, "status": "running"},
        "config": dict(config or {}),
        "args": args,
        "messages": _conversation(messages),
        "thread": {"id": thread_id, "title": None, "metadata": {}},
    }
    return _Order(
        worker=manifest.get("path", worker),
        name=name,
        line=_copy(line),
        state=None,
        answers={},
        inbox=[],
        continues=manifest.get("resume") == "continue",
        max_attempts=manifest.get("max_attempts", 3),
        calls=calls,
        given=worker,
    )


def _go_on(order: _Order, past: _Past, crash_after: int | None, cancel_after: int | None) -> Result:
    """Make an attempt, and those that follow it without anybody's doing."""
    result = _attempt(order, past, crash_after, cancel_after)
    while True:
        if result.question is not None and result.question.id in order.answers:
            past = _answered(result._past, result.question, order.answers[result.question.id])
        elif result.status == "queued" and result.events and result.events[-1]["type"] == "discard":
            past = result._past
        else:
            return result
        result = _attempt(order, past, None, None)


def _attempt(order: _Order, past: _Past, crash_after: int | None, cancel_after: int | None) -> Result:
    messages = [message.copy() for message in past.messages]
    sub_runs = SubRuns(lambda asked: _call(order, asked), dict(past.called), order.depth)
    transcript = Transcript(
        attempt=past.attempt + 1,
        author=order.name,
        answered={answer["confirmation_id"]: answer["digest"] for answer in past.answers},
        messages=messages,
        saved=dict(past.saved),
        earlier_usage=past.usage,
        sub_runs=sub_runs,
        inbox=order.inbox,
        looked_before=past.looks,
    )
    wire = LocalWire(_line(order, past), transcript, crash_after, cancel_after)
    with _loaded(order.worker) as function:
        _drive(function, wire)
    return _result(order, past, transcript, wire)


@contextmanager
def _outside_of_event_loops() -> Iterator[None]:
    """The test may be made within an event loop, and a worker's process has its own."""
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(running)


def _drive(function: Function, wire: LocalWire) -> None:
    begun: list[object] = []

    def worker(run: Run) -> object:
        begun.append(function(run))
        return begun[0]

    try:
        with _outside_of_event_loops():
            driver.execute(worker, wire)
    except BaseException as error:  # of a process that is dead already: perhaps a group of exceptions
        if not wire.killed or isinstance(error, KeyboardInterrupt):
            raise
    for left in begun:
        if isinstance(left, Generator):
            with suppress(Killed):
                left.close()


def _line(order: _Order, past: _Past) -> Fields:
    """What the worker is given."""
    attempt = past.attempt + 1
    written = [message.fields() for message in past.messages]
    begins_anew = past.answered_by == past.attempt or not order.continues
    continued = not begins_anew and any(fields["attempt"] > past.answered_by for fields in written)
    run = {
        **order.line["run"],
        "attempt": attempt,
        "failures": past.failures,
        "max_attempts": order.max_attempts,
    }
    line: Fields = _copy(
        {
            "type": "run",
            "protocol": PROTOCOL,
            **order.line,
            "run": run,
            "earlier": [fields for fields in written if fields["status"] == "complete"],
            "open": [fields for fields in written if fields["status"] == "partial"],
            "continued": continued,
            "answers": list(past.answers),
            "saved": {key: json.loads(saved.value) for key, saved in past.saved.items()},
            "digests": {key: saved.digest for key, saved in past.saved.items() if saved.digest},
            "state": order.state,
        }
    )
    return line


def _result(order: _Order, past: _Past, transcript: Transcript, wire: LocalWire) -> Result:
    status, error = _outcome(order, past, transcript, wire)
    transcript.close("complete" if status in ("success", "waiting") else "partial")
    count = transcript.ended != "discard" and status == "queued"
    messages = transcript.messages
    if status == "queued" and (transcript.ended == "discard" or not order.continues):
        messages = [message for message in messages if message.attempt <= past.answered_by]
    after = _Past(
        attempt=past.attempt + 1,
        failures=past.failures + count,
        answers=past.answers,
        messages=messages,
        saved=transcript.saved,
        usage=transcript.usage,
        looks=max(past.looks, transcript.looks),
        called=transcript.sub_runs.made,
    )
    read = {message.id for message in messages}
    return Result(
        status=status,
        messages=[message.copy() for message in messages],
        events=transcript.events,
        state=_copy(transcript.state[0] if transcript.state else order.state),
        saved={key: json.loads(saved.value) for key, saved in transcript.saved.items()},
        usage=_copy(transcript.usage),
        question=transcript.question if status == "waiting" else None,
        error=error,
        unread=[Message(fields) for fields in order.inbox if fields and fields["id"] not in read],
        attempt=after.attempt,
        log=transcript.log,
        _order=order,
        _past=after,
    )


def _outcome(order: _Order, past: _Past, transcript: Transcript, wire: LocalWire) -> tuple[str, Error | None]:
    """What becomes of the run, as :func:`runtime.pool.outcome.decide` says it."""
    if wire.cancelled:
        return "cancelled", None
    if wire.too_large is not None:
        return "error", Error("output_too_large", wire.too_large)
    error = transcript.error
    if wire.killed:
        error = Error("lost", f"Attempt {transcript.attempt} was lost.", retryable=True)
    if error is not None:
        again = error.retryable and past.failures + 1 < order.max_attempts
        return "queued" if again else "error", error
    if transcript.ended == "discard":
        return "queued", None
    return "waiting" if transcript.ended == "confirm" else "success", None


def _answered(past: _Past, question: Question, answer: Json) -> _Past:
    """The answer belongs to its question, and is in the message that has asked."""
    messages = [message.copy() for message in past.messages]
    asked = [m for m in messages if m.type == "confirmation" and m.attempt == past.attempt][-1]
    asked.data["answer"] = _copy(answer)
    reply = {
        "confirmation_id": question.id,
        "answer": _copy(answer),
        "attempt": past.attempt,
        "digest": question.digest,
    }
    called = {
        id: replace(one, result=one.result.answer(answer)) if one.run_id == question.call else one
        for id, one in past.called.items()
    }
    return replace(past, answers=[*past.answers, reply], messages=messages, called=called)


def _call(order: _Order, asked: Call) -> Result:
    """Execute a sub-run until it ends or asks. Raises Refused where there is no such worker."""
    worker = order.calls.get(asked.worker_id) or _neighbour(order, asked.worker_id)
    if worker is None:
        raise Refused(f"There is no worker named {asked.worker_id!r}; give the test one, by `calls`.")
    said = [
        {"role": m.role, "type": m.type, "channel": m.channel, "author": m.author, "data": m.data,
         "content": m.content} for m in asked.messages
    ]  # fmt: skip
    below = _order(worker, said, asked.config, asked.args, order.calls)
    line = {**below.line, "run": {**below.line["run"], "worker_id": asked.worker_id}}
    below = replace(below, name=asked.worker_id, line=line, depth=order.depth + 1)
    result = _go_on(below, _Past(), None, None)
    while result.status == "queued":
        result = result.resume()
    return result


def _neighbour(order: _Order, worker_id: str) -> Worker | None:
    """The worker itself, or the one in the folder beside its own."""
    if worker_id == order.name:
        return order.given
    if callable(order.given) or not os.path.isdir(order.given):
        return None
    folder = os.path.join(os.path.dirname(os.path.abspath(order.given)), worker_id)
    return folder if os.path.isfile(os.path.join(folder, "worker.toml")) else None


def _manifest(worker: Worker) -> Fields:
    """What counts of the worker.toml of a folder, and its entrypoint as ``path``."""
    if callable(worker) or not os.path.isdir(worker):
        return {}
    import tomllib

    with open(os.path.join(worker, "worker.toml"), "rb") as file:
        manifest = tomllib.load(file)
    if manifest.get("type") != "python":
        raise ValueError(f"{worker} is no python worker; its type is {manifest.get('type')!r}")
    return {**manifest, "path": os.path.join(worker, manifest["entrypoint_path"])}


@contextmanager
def _loaded(worker: Worker) -> Iterator[Function]:
    """The worker's function. A file is imported anew, in its folder: attempts share nothing."""
    if callable(worker):
        yield worker
        return
    path = os.path.abspath(worker)
    folder = os.path.dirname(path)
    sys.path.insert(0, folder)
    try:
        with chdir(folder):
            loaded = load(path)
            loaded.start_up()
            yield loaded.function
    finally:
        sys.path.remove(folder)


def _conversation(messages: Said | Iterable[Said]) -> list[Fields]:
    said = [messages] if isinstance(messages, str | Message | Mapping) else messages
    return [_fields(message) for message in said]


def _fields(message: Said) -> Fields:
    if isinstance(message, str):
        return {"role": "user", "content": message}
    if isinstance(message, Message):
        return {name: getattr(message, name) for name in Message.__slots__}
    return dict(message)


def _copy(value: Json) -> Json:
    """As JSON has it, which is all that reaches a worker and comes from one."""
    return json.loads(json.dumps(value))
