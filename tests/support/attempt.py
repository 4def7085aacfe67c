"""An attempt of a run, made by a test step by step as an executor would make it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from runtime import events
from runtime.model import Json, Message, MessageStatus, MessageType, Role, Run, RunError, RunStatus, new_id
from runtime.services import Services
from runtime.store import attempts, pools, runs, states

INCARNATION = "pool-of-a-test"
LEASE = 10.0


class Attempt:
    """One attempt that the test holds the lease of."""

    def __init__(self, services: Services, run_id: str) -> None:
        self._services = services
        claim = services.database.engine.claim(run_id, INCARNATION, LEASE, {"": 200})
        assert claim is not None, "there is nothing to claim"
        self.claim = claim
        self.run = claim.run
        self._local = 1
        self._n: dict[str, int] = {}
        self._messages: dict[str, Message] = {}
        started = [events.run_started(self.run)]
        services.log.begin(self.run.thread_id, self.run.id, self.run.attempt, started)

    def begin_message(self, type: MessageType = MessageType.TEXT, data: dict[str, Json] | None = None) -> str:
        """Open a message of the assistant; its id."""
        message = Message(
            new_id(), self.run.output_state_id, len(self._messages), Role.ASSISTANT, "", type,
            author=self.run.worker_id, status=MessageStatus.PARTIAL, run_id=self.run.id,
            attempt=self.run.attempt, created_at=self.run.created_at, data=data or {},
        )  # fmt: skip
        self._messages[message.id] = message
        self._append(events.message_created(self.run, message))
        return message.id

    def write(self, message_id: str, *texts: str) -> None:
        """Append deltas, each a call of its own."""
        for text in texts:
            message = self._messages[message_id]
            self._messages[message_id] = replace(message, content=message.content + text)
            self._n[message_id] = self._n.get(message_id, 0) + 1
            self._append(events.message_delta(self.run, message_id, self._n[message_id], text))

    def end_message(self, message_id: str) -> None:
        """Commit the message, then say so."""
        message = replace(self._messages[message_id], status=MessageStatus.COMPLETE)
        self._messages[message_id] = message
        self._services.database.write(attempts.save_messages, self.run, [message])
        self._append(events.message_completed(self.run, message))

    def say(
        self, *texts: str, type: MessageType = MessageType.TEXT, data: dict[str, Json] | None = None
    ) -> str:
        """A complete message, written piece by piece."""
        message_id = self.begin_message(type, data)
        self.write(message_id, *texts)
        self.end_message(message_id)
        return message_id

    def save(self) -> None:
        """Renew the lease, which saves the open text."""
        open_now = [m for m in self._messages.values() if m.status is MessageStatus.PARTIAL]
        held = attempts.HeldLease(self.run.id, self.run.attempt, open_now)
        self._services.database.write(attempts.renew, INCARNATION, [held], LEASE)

    def reopen(self) -> None:
        """Tell the log again what it has lost, as it is done before the next append."""
        from runtime.stream import OpenMessage

        open_now = [
            OpenMessage(
                m.id, self.run.id, self.run.attempt, {**m.encode(), "content": ""}, m.content, self._n[m.id]
            )
            for m in self._messages.values()
            if m.status is MessageStatus.PARTIAL
        ]
        self._services.log.reopen(self.run.thread_id, self.run.id, self.run.attempt, self._local, open_now)

    def ask(self, prompt: str, **more: Any) -> None:
        """Wait for an answer."""
        question = {"id": new_id(), "prompt": prompt, "options": ["yes", "no"], "message_id": None, **more}
        self.run = self._services.database.write(attempts.wait, self.run, question, attempts.AttemptResult())
        self._append(events.run_waiting(self.run))

    def finish(
        self,
        status: RunStatus = RunStatus.SUCCESS,
        error: RunError | None = None,
        usage: Json = None,
        log: str = "",
        finish: str | None = None,
        sent: Sequence[Json] = (),
    ) -> Run:
        """End the attempt and announce it; what is open stays partial."""
        left = [m for m in self._messages.values() if m.status is MessageStatus.PARTIAL]
        remains = attempts.AttemptResult(
            left,
            [(1, "thinking", 0.0)],
            log,
            usage=usage,
            finish=finish,
            sent=sent,
            title_wanted=self.claim.title_wanted,
        )
        run = self._services.database.engine.finish(self.run, status, remains, error=error)
        assert self._services.announcer.ended(run, left)
        return run

    def _append(self, *new: events.Event) -> None:
        self._services.log.append(
            self.run.thread_id, self.run.id, self.run.attempt, self._local + 1, list(new)
        )
        self._local += len(new)


def report_pool(services: Services, name: str = "exec", slots: int = 2, **workers: Any) -> None:
    """A pool says that it is alive."""
    known = {
        worker_id: {"digest": "", "available": reason is None, "reason": reason}
        for worker_id, reason in workers.items()
    }
    services.database.write(pools.report, name, INCARNATION, slots, known)


def stored_text(services: Services, run: Run) -> Sequence[str]:
    """The texts of the state that a run has filled."""
    state = services.database.read(states.get, run.workspace_id, run.output_state_id)
    return [message.content for message in state.messages or ()]


def stored_run(services: Services, run_id: str) -> Run:
    """The run as it is."""
    run = services.database.read(runs.find, run_id)
    assert run is not None
    return run
