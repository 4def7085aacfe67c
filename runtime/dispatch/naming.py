"""Titles: a worker names threads that were given no title, after their first answer, if one is set for it.

Its run is a run like any other, of the thread's own user: admitted, limited, isolated,
retried. Only the helper thread that it works on is in no list. A task of the outbox, written with
the end of the first run that has answered, begins it and waits for its end.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from runtime.dispatch.dispatcher import Dispatcher
from runtime.dispatch.outbox import Later
from runtime.dispatch.request import NewThread, RunRequest
from runtime.dispatch.titles import title_of
from runtime.errors import (
    BranchlineError,
    RequestError,
    TooMany,
    UnknownWorker,
    WorkerElsewhere,
    WorkerUnavailable,
)
from runtime.model import Channel, Message, MessageType, Role, RunStatus
from runtime.services import Services
from runtime.store import follow_ups, messages, outbox, states, titles, users

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
_PATIENCE = 60.0
"""Seconds until a run is looked at that makes a title; its end wakes the task."""
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 600.0
"""Seconds until a title is tried again whose worker cannot run now: longer, the longer it waits."""
_A_DAY = 86_400.0
"""Seconds after which a thread keeps its first words."""


class Naming:
    """Carries out the tasks to name threads."""

    def __init__(self, services: Services, dispatcher: Dispatcher) -> None:
        self._services = services
        self._worker = services.settings.run.title_worker
        self._dispatcher = dispatcher
        self._last_refusal = ""

    def name(self, thread_id: str) -> Later | None:
        """Have a thread named, or give it the title that was made."""
        database = self._services.database
        helper = database.read(titles.helper, thread_id)
        if helper is None:
            wanted = database.read(titles.wanted, thread_id)
            return self._begin(wanted) if wanted is not None else None
        if not follow_ups.has_stopped(helper.run):
            return Later(_PATIENCE, f"The run {helper.run.id} makes the title.")
        self._apply(thread_id, helper)
        return None

    def _begin(self, wanted: titles.Wanted) -> Later | None:
        database, thread = self._services.database, wanted.thread
        opening = _opening(database.read(states.window, wanted.answer_id, _WINDOW))
        if not opening:
            self._forgo(thread.id)
            return None
        if not self._worker:
            return self._wait(wanted, "No worker for titles is set here (BRANCHLINE_RUN_TITLE_WORKER).")
        request = RunRequest(
            messages=[*map(_excerpt, opening), states.NewMessage(Role.USER, _PROMPT)],
            worker_id=self._worker,
            args={"title_of": thread.id},
            priority=_PRIORITY,
        )
        user = database.read(users.get, thread.user_id)
        task = outbox.name_of(follow_ups.NAME, thread.id)
        try:
            self._dispatcher.create(user, NewThread(thread.title, helps=thread.id, awaited_by=task), request)
        except _REFUSALS as error:
            self._log_refusal(error)
            return self._wait(wanted, str(error))
        except RequestError as error:  # a user who has too many runs goes without titles
            self._log_refusal(error)
            self._forgo(thread.id)
            return None
        return Later(_PATIENCE, "Its run has begun.")

    def _wait(self, wanted: titles.Wanted, why: str) -> Later | None:
        if wanted.age > _A_DAY:
            self._forgo(wanted.thread.id)
            return None
        return Later(min(_LONGEST_PAUSE, max(_FIRST_PAUSE, wanted.age / 4)), why)

    def _forgo(self, thread_id: str) -> None:
        """The thread keeps its first words."""
        self._services.database.change(titles.forgo, thread_id)

    def _apply(self, thread_id: str, helper: titles.Helper) -> None:
        database = self._services.database
        name = ""
        if helper.run.status is RunStatus.SUCCESS:
            output = database.read(messages.of_state, helper.run.output_state_id)
            name = title_of(next((m.content for m in output if _is_text(m)), ""))
        thread = database.write(titles.settle, thread_id, helper, name)
        if thread is not None:
            self._services.announcer.thread(thread)

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
