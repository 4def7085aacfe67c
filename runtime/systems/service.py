"""What a person may do with systems, and what follows a message.

Each change is one transaction; what is to happen after it is a task of the outbox. So nothing of a
system lives in a process, and what two processes do at once is done once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from runtime.dispatch import Dispatcher, NewThread, RunRequest, after_commit
from runtime.dispatch.outbox import Later
from runtime.errors import (
    FieldError,
    Invalid,
    NotFound,
    TooMany,
    WorkerElsewhere,
    WorkerInvalid,
    WorkerUnavailable,
)
from runtime.model import Channel, Json, Message, MessageType, Role, Run, RunStatus, User, new_id
from runtime.registry.config_schema import ConfigSchema
from runtime.store import Connection, Database, outbox, runs, users
from runtime.store.states import NewMessage
from runtime.systems import mailboxes, routing, store
from runtime.systems.check import check
from runtime.systems.definition import Definition, Kind
from runtime.systems.mailboxes import Settlement
from runtime.systems.model import Entity, Letter, MessageStatus, Reason, System
from runtime.systems.problems import Problem, Severity
from runtime.systems.routing import Handled, Outgoing, error_body
from runtime.systems.store import Context, Next

log = logging.getLogger(__name__)

_TRIES = 3
"""How often a message is looked at that changes meanwhile."""
_NO_WORKER_PAUSE = 5.0
"""Seconds until a message is tried again whose entity cannot handle it now."""
_CHECKED_IN = 5.0
"""Seconds in which all that follows from one message is checked against what its receivers accept."""
_SOON = 1.0
"""Seconds until it is looked at again then."""


class Systems:
    """The systems of all users."""

    def __init__(self, dispatcher: Dispatcher, database: Database) -> None:
        self._dispatcher = dispatcher
        self._database = database

    # ── what a person does ──────────────────────────────────────────────────

    def check(self, user: User, definition: Definition) -> list[Problem]:
        """What is wrong with a definition. Raises what :func:`runtime.systems.check.check` does."""

        def prepare(worker_id: str, config: Mapping[str, Json]) -> None:
            self._dispatcher.prepare(user, NewThread(), RunRequest(worker_id=worker_id, config=config))

        return check(definition, prepare)

    def create(self, user: User, given: Mapping[str, Json]) -> System:
        """Start a system. Raises Invalid where its definition has errors, and Conflict."""
        definition = Definition.decode(given)
        errors = [one for one in self.check(user, definition) if one.severity is Severity.ERROR]
        if errors:
            fields = [FieldError(one.path, one.message) for one in errors]
            raise Invalid("The system cannot be started: its definition has errors.", fields)
        return self._database.write(store.create, user.workspace_id, user.id, definition, given)

    def send(
        self,
        user: User,
        system_id: str,
        to: str,
        kind: Kind,
        body: Mapping[str, Json],
        *,
        reply_to: str | None = None,
        priority: int = 0,
        deadline: float | None = None,
    ) -> tuple[Letter, Sequence[Entity]]:
        """Send a message to an entity from outside; the entities of the system with it.

        ``deadline``: seconds. Raises NotFound, Invalid where the body does not fit, Conflict where the
        system is stopped, and TooMany where the mailbox is full.
        """

        def find(c: Connection) -> tuple[System, list[Entity]]:
            system = store.get(c, user.workspace_id, system_id)
            return system, store.entities_of(c, system.id)

        system, entities = self._database.read(find)
        receiver = _named(entities, to, "to")
        replied = _named(entities, reply_to, "reply_to") if reply_to is not None else None
        Accepted(user.id).check(receiver, body)
        limit = Definition.decode(system.definition).limits.time or routing.MOST_TIME
        accepted = self._database.write(
            mailboxes.accept,
            system,
            receiver,
            kind,
            body,
            reply_to=replied.id if replied else None,
            priority=priority,
            seconds=min(deadline or limit, limit),
        )
        return accepted, entities

    def stop(self, user: User, system_id: str, *, drain: bool) -> System:
        """Take no more messages from outside, and end what there is, or drop it. Raises NotFound."""
        system, cancelled = self._database.write(store.stop, user.workspace_id, system_id, drain=drain)
        after_commit(self._dispatcher.announce_cancelled, cancelled)
        return system

    def delete(self, user: User, system_id: str) -> None:
        """Delete a system with all that it has. Raises NotFound."""
        cancelled = self._database.write(store.remove, user.workspace_id, system_id)
        after_commit(self._dispatcher.announce_cancelled, cancelled)

    # ── what the outbox has done ────────────────────────────────────────────

    def advance(self, entity_id: str) -> None:
        """Have an entity handle what waits for it, as far as it may. Twice does no harm.

        Where there is no room for it now it is tried again later. Raises Unavailable.
        """
        while (chosen := self._database.read(store.next_message, entity_id)) is not None:
            if chosen.seconds is not None and chosen.seconds <= 0:
                self._fail(chosen.letter.id, MessageStatus.WAITING, Reason.EXPIRED, "The deadline is over.")
                continue
            try:
                self._begin(chosen)
            except (TooMany, WorkerUnavailable, WorkerElsewhere) as error:
                pause = float(error.retry_after) if isinstance(error, TooMany) else _NO_WORKER_PAUSE
                self._database.write(mailboxes.try_again, chosen, pause)
                return
            except (Invalid, NotFound) as error:
                self._fail(chosen.letter.id, MessageStatus.WAITING, "invalid", str(error))
            except Exception as error:
                if not store.comes_again(error):
                    raise
                log.warning("the message %s cannot be handled", chosen.letter.id, exc_info=error)
                self._fail(chosen.letter.id, MessageStatus.WAITING, "invalid", "It cannot be handled.")

    def again(self, entity_id: str, message_id: str) -> Later | None:
        """Try again to have a message handled, until it is taken or has ended."""
        self.advance(entity_id)
        if self._database.read(mailboxes.waits, message_id):
            return Later(_NO_WORKER_PAUSE, "Its entity cannot handle the message now.")
        return None

    def handled(self, message_id: str) -> Later | None:
        """Look at a message whose run may have ended; its entity takes the next one then."""
        for _ in range(_TRIES):
            found = self._database.read(store.context, message_id)
            if found is None:
                return None
            if found.letter.status is not MessageStatus.WORKING or self._settle_or_end(found):
                self.advance(found.entity.id)
                return None
            if found.run is not None and found.run.finished_at is None:
                return Later(mailboxes.WATCHED_EVERY, f"The run {found.run.id} handles it.")
        return Later(_SOON, "It has changed while it was looked at.")

    def expire(self, correlation_id: str) -> None:
        """End what waits though its deadline is over."""
        for message_id in self._database.read(mailboxes.expiring, correlation_id):
            for status in (MessageStatus.WAITING, MessageStatus.HELD):
                self._fail(message_id, status, Reason.EXPIRED, "The deadline is over.")

    def let_pass(self, system_id: str) -> None:
        """Where entities wait for each other, have them go on."""
        while self._database.write(mailboxes.let_one_pass, system_id):
            pass

    def _begin(self, chosen: Next) -> None:
        """Queue the run that handles a message. Raises what :meth:`Dispatcher.create` raises."""
        letter, entity = chosen.letter, chosen.entity
        names = {one.id: one.name for one in self._database.read(store.entities_of, entity.system_id)}
        author = names.get(letter.sender_id or "")
        content, data = str(letter.body.get("content") or ""), letter.body.get("data") or {}
        said = NewMessage(Role.USER, content, author=author, data=data)
        user = self._database.read(users.get, chosen.system.user_id)
        request = RunRequest(
            worker_id=entity.worker_id, config=entity.config, messages=[said], timeout=chosen.seconds
        )
        prepared = self._dispatcher.prepare(user, chosen.thread, request)
        run_id = new_id()
        start = entity.tip_state_id if entity.concurrency == 1 else chosen.thread.root_state_id

        def begin(c: Connection) -> runs.Created | None:
            if not mailboxes.take(c, chosen, run_id):
                return None
            return prepared.queue(
                c,
                start,
                [said],
                run_id=run_id,
                awaited_by=outbox.name_of(mailboxes.HANDLED, letter.id),
                message=letter.told(names),
            )

        created = self._database.write(begin)
        if created is not None:
            self._dispatcher.announce(created)

    def _settle_or_end(self, found: Context) -> bool:
        """End a message whose run has ended, badly where what follows from it can never be sent."""
        try:
            return self._settle(found)
        except Exception as error:
            if not store.comes_again(error):
                raise
            log.warning("what follows from the message %s cannot be sent", found.letter.id, exc_info=error)
            why = "What follows from it cannot be sent."
            return self._end_badly(found, MessageStatus.WORKING, "invalid", why, quietly=True)

    def _settle(self, found: Context) -> bool:
        """End a message whose run has ended. Returns whether that is done now."""
        run = found.run
        if run is not None and run.finished_at is None:
            return False
        if run is None or run.status is not RunStatus.SUCCESS:
            return self._end_badly(found, MessageStatus.WORKING, *_why(run))
        answer = _answer(found.written)
        handled = _handled(found)
        outgoing = routing.after_success(handled, answer, found.sent, late=found.is_late)
        is_query = found.letter.kind is Kind.QUERY
        end = Settlement(
            MessageStatus.DONE,
            Reason.LATE if is_query and found.is_late else None,
            answer if is_query else None,
            run.output_state_id if found.entity.concurrency == 1 else None,
        )
        accepted = Accepted(f"{found.system.user_id}:systems")
        outgoing = [accepted.fitting(one) for one in outgoing]
        return self._database.write(mailboxes.settle, found, MessageStatus.WORKING, end, outgoing)

    def _fail(self, message_id: str, status: MessageStatus, reason: str, why: str) -> None:
        found = self._database.read(store.context, message_id)
        if found is not None and found.letter.status is status:
            self._end_badly(found, status, reason, why)

    def _end_badly(
        self, found: Context, expected: MessageStatus, reason: str, why: str, *, quietly: bool = False
    ) -> bool:
        """``quietly``: only its asker is told, by the error alone."""
        error = error_body(reason, why)
        is_dead = expected is not MessageStatus.WORKING
        end = Settlement(
            MessageStatus.DEAD if is_dead else MessageStatus.FAILED,
            reason,
            error if found.letter.kind is Kind.QUERY else None,
        )
        handled = _handled(found)
        if quietly:
            handled = replace(handled, definition=replace(handled.definition, channels=()))
        outgoing = routing.after_failure(handled, error)
        return self._database.write(mailboxes.settle, found, expected, end, outgoing)


class Accepted:
    """What entities accept, with a bound on the time that the checks of one message's followers take."""

    def __init__(self, caller: str) -> None:
        """``caller``: see :meth:`ConfigSchema.check`."""
        self._caller = caller
        self._ends_at = time.monotonic() + _CHECKED_IN
        self._schemas: dict[str, ConfigSchema] = {}

    def check(self, receiver: Entity, body: Mapping[str, Json]) -> None:
        """Raises Invalid where an entity does not take a body, and what :meth:`ConfigSchema.check` does."""
        if receiver.accepts is None:
            return
        if time.monotonic() > self._ends_at:
            raise Invalid("The bodies could not all be checked in time.")
        schema = self._schemas.get(receiver.id)
        try:
            schema = schema or ConfigSchema(receiver.accepts, "body", "entity")
        except WorkerInvalid as error:
            message = f"The entity {receiver.name} takes no messages: {error}."
            raise Invalid(message, [FieldError(("body",), message)]) from error
        self._schemas[receiver.id] = schema
        schema.check(body, self._caller)

    def fitting(self, one: Outgoing) -> Outgoing:
        """The message, dead from the beginning if its receiver does not take it."""
        if one.reason is None and one.to is not None:
            try:
                self.check(one.to, one.body)
            except Invalid:
                return one.refused(Reason.NOT_ACCEPTED)
        return one


def _handled(found: Context) -> Handled:
    definition = Definition.decode(found.system.definition)
    return Handled(found.letter, found.entity, definition, found.entities, found.waiting)


def _answer(written: Sequence[Message]) -> dict[str, Json]:
    """What a worker has answered: its texts, and the data of the last one."""
    answers = [message for message in written if _is_answer(message)]
    data: Mapping[str, Any] = answers[-1].data if answers else {}
    return {"content": "\n\n".join(message.content for message in answers), "data": dict(data)}


def _is_answer(message: Message) -> bool:
    return (message.role, message.type, message.channel) == (
        Role.ASSISTANT,
        MessageType.TEXT,
        Channel.ANSWER,
    )


def _why(run: Run | None) -> tuple[str, str]:
    """Code and sentence of a run that has not succeeded."""
    if run is None:
        return "lost", "The run was deleted."
    if run.error is not None:
        return run.error.code, run.error.message
    return str(run.status), f"The run ended: {run.status}."


def _named(entities: Sequence[Entity], name: str, field: str) -> Entity:
    """The entity of that name. Raises Invalid."""
    for entity in entities:
        if entity.name == name:
            return entity
    message = f"The system has no entity {name}."
    raise Invalid(message, [FieldError((field,), message)])
