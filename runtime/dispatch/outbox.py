"""The outbox's loop: takes tasks that are due and calls what carries them out.

The reaper does it in each of its rounds, so a task waits a second for it if the process dies that
has written it. That process does not wait: it calls :meth:`Outbox.handle_due` after the commit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from runtime.dispatch.dispatcher import Dispatcher
from runtime.errors import BranchlineError, TooMany, Unavailable
from runtime.model import Json
from runtime.services import Services
from runtime.store import Database, outbox, queued_messages

log = logging.getLogger(__name__)

Handlers = Mapping[str, Callable[[Json], object]]
"""The kind of a task → what is called with its payload. It may be called again for the same task."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 600.0
"""Seconds until a task is tried again: twice as many after each try."""
_TRIES = 12
"""Tries after which a task is given up; the last ones are half an hour after the first."""


def outbox_of(services: Services) -> Outbox:
    """The outbox of a process. What a task of a new kind is carried out by is registered here."""
    dispatcher = Dispatcher(services)
    handlers: Handlers = {
        queued_messages.NEXT_RUN: lambda task: dispatcher.begin_next(task["run_id"]),
    }
    return Outbox(services.database, handlers)


class Outbox:
    """Carries out what is to happen after commits."""

    def __init__(self, database: Database, handlers: Handlers) -> None:
        self._database = database
        self._handlers = handlers

    def handle_due(self) -> int:
        """Carry out what is due, until nothing is. Returns how many tasks were carried out.

        A task that fails is tried again later and keeps no other waiting. Raises Unavailable
        where a service is away that it needs; it is tried again in a second then.
        """
        handled = 0
        while self._database.read(outbox.is_due, self._handlers):
            tasks = self._database.write(outbox.take, self._handlers)
            away: Unavailable | None = None
            for task in tasks:
                try:
                    handled += self._handle(task)
                except Unavailable as error:
                    away = error
            if away is not None:
                raise away
        return handled

    def _handle(self, task: outbox.Task) -> bool:
        """Carry out one task. Returns whether that is done."""
        try:
            self._handlers[task.kind](task.payload)
        except Unavailable:
            self._database.write(outbox.put_back, task, _FIRST_PAUSE)
            raise
        except TooMany as error:
            self._database.write(outbox.put_back, task, float(error.retry_after))
            return False
        except Exception as error:
            self._note_failure(task, error)
            return False
        self._database.write(outbox.done, task)
        return True

    def _note_failure(self, task: outbox.Task, error: Exception) -> None:
        about = (task.kind, task.key, task.tries)
        expected = isinstance(error, BranchlineError)
        if task.tries >= _TRIES:
            pause = None
            log.error("the task %s %s is given up after %d tries: %s", *about, error, exc_info=not expected)
        else:
            pause = min(_FIRST_PAUSE * 2 ** (task.tries - 1), _LONGEST_PAUSE)
            log.warning(
                "the task %s %s has failed, try %d; the next one is in %g s: %s",
                *about,
                pause,
                error,
                exc_info=not expected,
            )
        self._database.write(outbox.failed, task, f"{type(error).__name__}: {error}", pause)
