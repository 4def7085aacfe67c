"""A run without a server: a worker is executed as a pool would, and what it says stays in this process.

What decides is the pool's own: how lines are decoded, what becomes of an attempt, how a
worker is started and kept in its place.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import orjson
from rich.console import Console

from runtime import events
from runtime.child import Child, Children, protocol
from runtime.cli.reply import Reply
from runtime.errors import ChildFailed, Invalid, OutputTooLarge, WorkerUnavailable
from runtime.logs import printable
from runtime.model import Json, Message, MessageStatus, Run, RunError, RunStatus, State, new_id, utc_now
from runtime.pool.attempt import StopReason
from runtime.pool.first_line import first_line
from runtime.pool.outcome import AttemptEnd, Finish, HandBack, Outcome, Wait, decide, exit_error
from runtime.pool.transcript import Transcript
from runtime.registry import Worker, discover
from runtime.sdk.requests import NO_SERVER
from runtime.sdk.testing.calls import Refused, SubRuns
from runtime.settings import Settings
from runtime.store.attempts import Claim
from runtime.store.messages import divided
from runtime.store.saved_values import MAX_SIZE, SavedValue
from runtime.thread_api.streams import StreamEvent

_LAST_SECONDS = 0.5
"""That a child is given to exit after its last event."""


class LocalRun:
    """One run, and all its attempts."""

    def __init__(
        self,
        worker: Worker,
        messages: Sequence[Message],
        config: Mapping[str, Json],
        settings: Settings,
        children: Children,
        reply: Reply,
        depth: int = 0,
    ) -> None:
        """``messages``: its input. ``config`` is checked already. ``reply`` shows what it says.
        ``depth``: how many runs are above it."""
        self._worker = worker
        self._settings = settings
        self._children = children
        self._reply = reply
        self.run = _new_run(worker, config, settings)
        self._input = list(messages)
        self._depth = depth
        self._calls = SubRuns(self._execute_call, {}, depth)
        self._written: dict[str, Message] = {}
        """By id, what the run has written and that counts."""
        self._saved: dict[str, SavedValue] = {}
        self._transcript = self._new_transcript(0)
        self._stopped: StopReason | None = None
        self._continued = False

    def execute(self) -> None:
        """Make attempts until the run ends or waits for an answer."""
        while self.run.status not in (RunStatus.WAITING, *_TERMINAL):
            self._attempt()

    def answer(self, answer: Json) -> None:
        """Answer what it waits for."""
        asked = self.run.confirmation or {}
        message = self._written[asked["message_id"]]
        self._written[message.id] = replace(message, data={**message.data, "answer": answer})
        reply = {"confirmation_id": asked["id"], "answer": answer, "attempt": self.run.attempt}
        self.run = replace(
            self.run,
            status=RunStatus.QUEUED,
            confirmation=None,
            answers=(*self.run.answers, {**reply, "digest": asked["digest"]}),
        )
        for call_id, called in self._calls.made.items():
            if called.run_id == asked.get("run_id"):
                self._calls.made[call_id] = replace(called, result=called.result.answer(answer))

    @property
    def written(self) -> list[Message]:
        """What it has written and that counts, in order."""
        return sorted(self._written.values(), key=lambda message: message.position)

    def cancel(self) -> None:
        """End it while it waits."""
        self.run = replace(self.run, status=RunStatus.CANCELLED)

    def _attempt(self) -> None:
        self.run = replace(self.run, attempt=self.run.attempt + 1, status=RunStatus.RUNNING)
        earlier, left_open = divided(self.written)
        claim = Claim(
            run=self.run, output_state=_state(self.run), messages=self._input, earlier=earlier,
            open=left_open, saved=list(self._saved.values()), data=None,
            thread={"id": self.run.thread_id, "title": None, "metadata": {}},
        )  # fmt: skip
        self._transcript = self._new_transcript(claim.first_position)
        if self._continued:
            self._transcript.go_on_with([(message, 1 if message.content else 0) for message in left_open])
        self._stopped = None
        outcome = self._outcome(first_line(claim, left_open if self._continued else None, self._settings))
        self._settle(outcome)

    def _new_transcript(self, position: int) -> Transcript:
        return Transcript(self.run, position, self._settings.run)

    def _outcome(self, line: bytes) -> Outcome:
        environ = {"BRANCHLINE_API_URL": self._settings.api_url, "BRANCHLINE_RUN_TOKEN": NO_SERVER}
        error = None
        try:
            child = self._children.start(self._worker, run_id=self.run.id, environ=environ, line=line)
        except ChildFailed as failed:
            error = RunError("start_failed", str(failed))
        except KeyboardInterrupt:
            self._stopped = StopReason.CANCELLED
        else:
            with closing(child):
                error = self._relay(child)
        end = AttemptEnd(self.run, self._stopped, self._transcript.result, error)
        return decide(end, self._settings.run, self._transcript.log)

    def _relay(self, child: Child) -> RunError | None:
        """Show what the worker says until it ends; why it has failed, if it did."""
        log = threading.Thread(target=self._read_log, args=(child,), daemon=True)
        log.start()
        timer = threading.Timer(self.run.timeout_seconds, self._stop, (child, StopReason.TIMEOUT))
        timer.daemon = True
        timer.start()
        decoder = protocol.Decoder()
        try:
            try:
                self._read(child, decoder)
            except KeyboardInterrupt:
                child.send(b'{"type":"cancel"}')
                self._stop(child, StopReason.CANCELLED)
                self._read(child, decoder)
            error = self._error(child)
            child.wait(_LAST_SECONDS)
        finally:
            timer.cancel()
            child.stop(self._settings.pool.kill_grace)
        log.join(self._settings.pool.kill_grace)
        return error

    def _error(self, child: Child) -> RunError | None:
        result = self._transcript.result
        if result is not None or self._stopped is not None:
            return result.error if result else None
        code = child.wait(self._settings.pool.kill_grace)
        return exit_error(code, child.oom_killed, self._worker.limits, child.exceeded)

    def _stop(self, child: Child, reason: StopReason) -> None:
        self._stopped = self._stopped or reason
        if reason is StopReason.TIMEOUT:
            child.show_stack()
        grace = 0.0 if reason is StopReason.TOO_LARGE else self._settings.pool.kill_grace
        threading.Thread(target=child.stop, args=(grace,), daemon=True).start()

    def _read(self, child: Child, decoder: protocol.Decoder) -> None:
        try:
            while self._transcript.result is None and (chunk := child.read()):
                self._receive(child, decoder.feed(chunk))
            self._receive(child, decoder.end())
        except OutputTooLarge:
            self._stop(child, StopReason.TOO_LARGE)

    def _read_log(self, child: Child) -> None:
        while chunk := child.read_log():
            self._transcript.log.write(chunk)
            sys.stderr.write(printable(chunk.decode("utf-8", "replace"), prose=True))
            sys.stderr.flush()

    def _receive(self, child: Child, worker_events: Iterable[protocol.WorkerEvent]) -> None:
        for event in worker_events:
            match event:
                case protocol.Save():
                    child.send(orjson.dumps(self._save(event)))
                case protocol.ReadInbox():
                    child.send(protocol.NO_MESSAGE)
                case protocol.Call() if self._transcript.result is None:
                    for line in self._calls.call(event):
                        child.send(orjson.dumps(line))
                case protocol.Call() | protocol.Follow():
                    pass  # its text comes with its end
                case protocol.Refused(type, key, reason):
                    child.send(orjson.dumps(_refusal(key, reason, type)))
                case protocol.Log(text):
                    sys.stderr.write(printable(text, prose=True))
                case _:
                    self._transcript.apply([event])
                    self._show()

    def _show(self) -> None:
        while True:
            batch = self._transcript.next_batch()
            self._reply.follow(StreamEvent(one.type, orjson.loads(one.payload)) for one in batch.events)
            if not batch.to_commit:
                return
            self._keep(batch.to_commit)

    def _keep(self, messages: Iterable[Message]) -> None:
        messages = list(messages)
        self._written |= {message.id: message for message in messages}
        self._transcript.mark_committed(messages)

    def _save(self, asked: protocol.Save) -> dict[str, Json]:
        """Keep a value, as :class:`runtime.pool.durable_steps.DurableSteps` does; the answer."""
        new = SavedValue(asked.key, asked.value, asked.digest)
        counts = self._saved.get(new.key)
        if counts is None:
            if sum(saved.size for saved in (new, *self._saved.values())) > MAX_SIZE:
                return _refusal(new.key, f"a run may save {MAX_SIZE >> 20} MiB")
            self._saved[new.key] = counts = new
            if asked.usage and (usage := self._transcript.usage_with(asked.usage)) is not None:
                self._transcript.mark_used(usage)
        if counts.digest != new.digest:
            return _refusal(new.key, "this key was saved before for something else")
        answer: dict[str, Json] = {"type": "saved", "key": new.key}
        return answer if counts.value == new.value else {**answer, "value": orjson.Fragment(counts.value)}

    def _execute_call(self, asked: protocol.Call) -> _SubRun:
        """Execute a sub-run: of a worker beside this one, or of an installed one. Raises Refused."""
        try:
            worker = discover([self._worker.folder.parent, *self._settings.worker_folders]).get(
                asked.worker_id
            )
            config = worker.check_config(asked.config or {})
        except (WorkerUnavailable, Invalid) as error:
            raise Refused(str(error)) from error
        messages = [
            Message(
                id=new_id(), state_id="input", position=position, role=said.role, content=said.content,
                type=said.type, channel=said.channel, author=said.author, data=said.data or {},
            )
            for position, said in enumerate(asked.messages)
        ]  # fmt: skip
        silent = Reply(Console(quiet=True))
        local = LocalRun(worker, messages, config, self._settings, self._children, silent, self._depth + 1)
        return _SubRun(local).executed()

    def _settle(self, outcome: Outcome) -> None:
        """What becomes of the run, and of what the attempt has written."""
        complete = isinstance(outcome, Wait) or (isinstance(outcome, Finish) and outcome.complete)
        self._keep(self._transcript.close(MessageStatus.COMPLETE if complete else MessageStatus.PARTIAL))
        self._show()
        run = replace(self.run, usage=self._transcript.usage)
        match outcome:
            case Finish(status, error):
                self.run = replace(run, status=status, error=error)
                self._tell(events.run_completed(self.run))
            case Wait(confirmation):
                self.run = replace(run, status=RunStatus.WAITING, confirmation=confirmation)
                self._continued = False
                self._tell(events.run_waiting(self.run))
            case _:
                self._queue_again(run, isinstance(outcome, HandBack))

    def _queue_again(self, run: Run, discarded: bool) -> None:
        self.run = replace(run, status=RunStatus.QUEUED, failures=run.failures + (not discarded))
        answered = run.answers[-1]["attempt"] if run.answers else 0
        self._continued = self._worker.continues and not discarded
        if not self._continued:
            void = [message.id for message in self._written.values() if message.attempt > answered]
            for id in void:
                del self._written[id]
            self._tell(events.run_retried(self.run, void))

    def _tell(self, event: events.Event) -> None:
        self._reply.follow([StreamEvent(event.type, orjson.loads(event.payload))])


@dataclass(frozen=True)
class _Written:
    message: Message

    def fields(self) -> dict[str, Json]:
        return self.message.encode()


class _SubRun:
    """A sub-run, as its caller is told of it."""

    def __init__(self, local: LocalRun) -> None:
        self._local = local

    @property
    def status(self) -> str:
        return str(self._local.run.status)

    @property
    def messages(self) -> list[_Written]:
        return [_Written(message) for message in self._local.written]

    @property
    def usage(self) -> dict[str, Json]:
        return dict(self._local.run.usage or {})

    @property
    def error(self) -> RunError | None:
        return self._local.run.error

    def answer(self, answer: Json) -> _SubRun:
        """The same after an answer to what it has asked."""
        self._local.answer(answer)
        return self.executed()

    def executed(self) -> _SubRun:
        """Execute it. Raises KeyboardInterrupt where that has cancelled it: it is for its caller too."""
        self._local.execute()
        if self._local.run.status is RunStatus.CANCELLED:
            raise KeyboardInterrupt
        return self


_TERMINAL = tuple(status for status in RunStatus if status.terminal)


def _refusal(key: str, reason: str, type: str = "save") -> dict[str, Json]:
    return {"type": "refused", "of": type, "key": key, "message": reason}


def _new_run(worker: Worker, config: Mapping[str, Json], settings: Settings) -> Run:
    return Run(
        id=new_id(), thread_id=new_id(), workspace_id=new_id(), user_id=new_id(), parent_run_id=None,
        input_state_id=new_id(), output_state_id=new_id(), worker_id=worker.id, worker_digest=worker.digest,
        pool=worker.pool, config=config, args=None, status=RunStatus.QUEUED, attempt=0, failures=0,
        max_attempts=worker.max_attempts or settings.run.max_attempts,
        timeout_seconds=worker.timeout_seconds or settings.run.timeout, priority=0, created_at=utc_now(),
    )  # fmt: skip


def _state(run: Run) -> State:
    return State(
        run.output_state_id, run.thread_id, run.input_state_id, 1, 0, 0, run.id, None, False, run.created_at
    )
