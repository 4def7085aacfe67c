"""Titles: a thread whose title nobody gave is named by a worker after its first answer, if one is set.

That worker's run is a run like any other, of the thread's own user: accepted, bounded,
isolated, tried again. Only the thread that it works on is in no list. The reaper asks
for what is wanted and takes what was made, so no process that dies takes a title along.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from runtime.dispatch import Dispatcher, IdempotencyKey, NewThread, RunRequest
from runtime.errors import RequestError, TooMany, UnknownWorker, WorkerUnavailable
from runtime.model import Channel, Message, MessageType, Role, RunStatus, Thread
from runtime.services import Services
from runtime.store import messages, states, threads, titles, users

log = logging.getLogger(__name__)

_SAID = 4
"""Messages of the conversation that the worker is given: the question, and the first of what follows."""
_LOOKED_AT = 200
"""Messages among which these are found."""
_LONGEST = 4000
"""Characters of each."""
_LAST = -100
"""The priority among its user's runs: whoever waits for an answer goes first."""
_WISH = "Name this conversation: two to six words, in its own language. Answer with nothing but the name."


class Titles:
    """Asks the title worker for titles, and gives them to their threads."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._worker = services.settings.run.title_worker
        self._dispatcher = Dispatcher(services)
        self._told = ""

    def ask(self) -> int:
        """Have the titles made that are wanted. Returns for how many threads it was asked."""
        wanted = self._services.database.read(titles.wanted) if self._worker else []
        asked = 0
        try:
            for one in wanted:
                asked += self._ask(one)
        except (UnknownWorker, WorkerUnavailable) as error:  # no better for the others
            self._refused(error)
        return asked

    def take(self) -> int:
        """Give threads the titles that were made. Returns how many got one."""
        made = self._services.database.read(titles.made)
        return sum(self._take(one) for one in made)

    def _ask(self, wanted: titles.Wanted) -> bool:
        database, thread = self._services.database, wanted.thread
        user = database.read(users.get, thread.user_id)
        said = _beginning(database.read(states.window, wanted.answer_id, _LOOKED_AT))
        if not said:
            return self._settled(thread, False)
        request = RunRequest(
            messages=[*map(_excerpt, said), states.NewMessage(Role.USER, _WISH)],
            worker_id=self._worker,
            args={"title_of": thread.id},
            priority=_LAST,
        )
        # The key keeps it to one run per thread, however many reapers ask, and whatever becomes of them.
        key = IdempotencyKey(f"title:{thread.id}", wanted.answer_id)
        try:
            self._dispatcher.create(user, NewThread(thread.title, titles=thread.id), request, key)
        except (UnknownWorker, WorkerUnavailable):
            raise
        except RequestError as error:  # where there is too much to do, titles are the first to go
            self._refused(error)
            return self._settled(thread, False)
        return self._settled(thread, True)

    def _settled(self, thread: Thread, asked: bool) -> bool:
        """The thread wants no title any more, whether it gets one or keeps its first words."""
        self._services.database.write(titles.asked_for, thread.id)
        return asked

    def _take(self, made: titles.Made) -> bool:
        database = self._services.database
        name = ""
        if made.run.status is RunStatus.SUCCESS:
            said = database.read(messages.of_state, made.run.output_state_id)
            name = threads.title_of(next((one.content for one in said if _is_said(one)), ""))
        thread = database.write(titles.settle, made, name)
        if thread is not None:
            self._services.announcer.thread(thread)
        return thread is not None

    def _refused(self, error: RequestError) -> None:
        """Say once why no title is made."""
        if not isinstance(error, TooMany) and str(error) != self._told:
            self._told = str(error)
            log.warning("No titles are made by the worker %r: %s", self._worker, error)


def _is_said(message: Message) -> bool:
    return message.type is MessageType.TEXT and message.channel is Channel.ANSWER and bool(message.content)


def _beginning(found: Sequence[Message]) -> list[Message]:
    """The question and what was said first in answer to it, of all up to the end of the first answer."""
    said = [*filter(_is_said, found)]
    asked = [place for place, message in enumerate(said) if message.role is Role.USER]
    return said[asked[-1] if asked else 0 :][:_SAID]


def _excerpt(message: Message) -> states.NewMessage:
    return states.NewMessage(message.role, message.content[:_LONGEST], author=message.author)
