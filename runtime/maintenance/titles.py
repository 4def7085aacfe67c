"""Titles: a worker names threads that were given no title, after their first answer, if one is set for it.

Its run is a run like any other, of the thread's own user: admitted, limited, isolated,
retried. Only the helper thread that it works on is in no list. The reaper requests the
titles that are missing and applies those that are finished, so no title is lost with a
process that dies.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from runtime.dispatch import Dispatcher, IdempotencyKey, NewThread, RunRequest
from runtime.dispatch.titles import title_of
from runtime.duties import for_each
from runtime.errors import (
    BranchlineError,
    RequestError,
    TooMany,
    UnknownWorker,
    WorkerElsewhere,
    WorkerUnavailable,
)
from runtime.model import Channel, Message, MessageType, Role, RunStatus, Thread
from runtime.services import Services
from runtime.store import messages, states, titles, users

log = logging.getLogger(__name__)

_MAX_MESSAGES = 4
"""How many messages the worker is given: the question, and the first of those after it."""
_WINDOW = 200
"""Among how many messages these are searched."""
_MAX_CHARACTERS = 4000
"""Characters of each."""
_PRIORITY = -100
"""The priority among its user's runs: those that somebody waits for go first."""
_PROMPT = "Name this conversation: two to six words, in its own language. Answer with nothing but the name."
_REFUSALS = (UnknownWorker, WorkerElsewhere, WorkerUnavailable)
"""Of the title worker, whatever it is to name."""


class Titles:
    """Requests titles of the title worker, and gives them to their threads."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._worker = services.settings.run.title_worker
        self._dispatcher = Dispatcher(services)
        self._last_refusal = ""

    def request_missing(self) -> int:
        """Dispatch a run for each thread that wants a title. Returns how many."""
        missing = self._services.database.read(titles.wanted) if self._worker else []
        requested: list[bool] = []
        try:
            for_each(
                missing,
                lambda wanted: requested.append(self._request(wanted)),
                at_once=_REFUSALS,
            )
        except _REFUSALS as error:
            self._log_refusal(error)
        return sum(requested)

    def apply_finished(self) -> int:
        """Give threads the titles of the runs that have ended. Returns how many got one."""
        finished = self._services.database.read(titles.made)
        applied: list[bool] = []
        for_each(finished, lambda made: applied.append(self._apply(made)))
        return sum(applied)

    def _request(self, wanted: titles.Wanted) -> bool:
        database, thread = self._services.database, wanted.thread
        user = database.read(users.get, thread.user_id)
        opening = _opening(database.read(states.window, wanted.answer_id, _WINDOW))
        if not opening:
            return self._settle(thread, requested=False)
        request = RunRequest(
            messages=[*map(_excerpt, opening), states.NewMessage(Role.USER, _PROMPT)],
            worker_id=self._worker,
            args={"title_of": thread.id},
            priority=_PRIORITY,
        )
        # The key allows one run per thread, however many reapers request it, also after one has died.
        key = IdempotencyKey(f"title:{thread.id}", wanted.answer_id)
        try:
            self._dispatcher.create(user, NewThread(thread.title, titles=thread.id), request, key)
        except _REFUSALS:
            raise
        except RequestError as error:  # a user who has too many runs goes without titles
            self._log_refusal(error)
            return self._settle(thread, requested=False)
        return self._settle(thread, requested=True)

    def _settle(self, thread: Thread, *, requested: bool) -> bool:
        """Request no other title for this thread. One that was refused keeps its first words."""
        self._services.database.write(titles.asked_for, thread.id)
        return requested

    def _apply(self, made: titles.Made) -> bool:
        database = self._services.database
        name = ""
        if made.run.status is RunStatus.SUCCESS:
            output = database.read(messages.of_state, made.run.output_state_id)
            name = title_of(next((m.content for m in output if _is_text(m)), ""))
        thread = database.write(titles.settle, made, name)
        if thread is not None:
            self._services.announcer.thread(thread)
        return thread is not None

    def _log_refusal(self, error: BranchlineError) -> None:
        """Log once why no titles are made."""
        if not isinstance(error, TooMany) and str(error) != self._last_refusal:
            self._last_refusal = str(error)
            log.warning("No titles are made by the worker %r: %s", self._worker, error)


def _is_text(message: Message) -> bool:
    return message.type is MessageType.TEXT and message.channel is Channel.ANSWER and bool(message.content)


def _opening(window: Sequence[Message]) -> list[Message]:
    """The question of the user and the first texts after it. ``window`` ends with the first answer."""
    texts = [*filter(_is_text, window)]
    questions = [index for index, message in enumerate(texts) if message.role is Role.USER]
    return texts[questions[-1] if questions else 0 :][:_MAX_MESSAGES]


def _excerpt(message: Message) -> states.NewMessage:
    return states.NewMessage(message.role, message.content[:_MAX_CHARACTERS], author=message.author)
