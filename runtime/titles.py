"""Titles: a thread whose title nobody gave is named by a worker after its first answer, if one is set.

That worker's run is a run like any other, of the thread's own user: accepted, bounded,
isolated, tried again. Only the thread that it works on is in no list. The reaper asks
for what is wanted and takes what was made, so no process that dies takes a title along.
"""

from __future__ import annotations

import logging

from runtime.dispatch import Dispatcher, IdempotencyKey, NewThread, RunRequest
from runtime.errors import RequestError, TooMany, UnknownWorker, WorkerUnavailable
from runtime.model import Channel, Message, MessageType, Role, RunStatus
from runtime.services import Services
from runtime.store import messages, states, threads, titles, users

log = logging.getLogger(__name__)

_SAID = 4
"""Messages of the conversation that the worker is given: the last ones up to the first answer."""
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
        said = database.read(states.window, wanted.answer_id, _SAID)
        request = RunRequest(
            messages=[*map(_excerpt, filter(_is_said, said)), states.NewMessage(Role.USER, _WISH)],
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
        except RequestError as error:
            self._refused(error)
            return False
        database.write(titles.asked_for, thread.id)
        return True

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
        """Say once why no title is made; it is asked for again in the next round."""
        if not isinstance(error, TooMany) and str(error) != self._told:
            self._told = str(error)
            log.warning("No titles are made by the worker %r: %s", self._worker, error)


def _is_said(message: Message) -> bool:
    return message.type is MessageType.TEXT and message.channel is Channel.ANSWER and bool(message.content)


def _excerpt(message: Message) -> states.NewMessage:
    return states.NewMessage(message.role, message.content[:_LONGEST], author=message.author)
