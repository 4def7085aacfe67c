"""The outbox's loop: takes tasks that are due and calls what carries them out.

The reaper does it in each of its rounds, so a task waits some seconds for it if the process dies that
has written it. That process does not wait: it carries out its own tasks behind the commit, where
:meth:`Outbox.take_own` was called.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import gevent

from runtime import logs
from runtime.errors import BranchlineError, TooMany, Unavailable, WorkerElsewhere, WorkerUnavailable
from runtime.model import Json
from runtime.store import Database, outbox

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Later:
    """What carries out a task returns it where the task waits for something, such as the end of a run."""

    seconds: float
    """After which it is due again, unless it is woken before (:func:`runtime.store.outbox.wake`)."""
    why: str
    """A sentence for operators."""


Handlers = Mapping[str, Callable[[Json], object]]
"""The kind of a task → what is called with its payload. It may be called again for the same task."""

_ROUND = 5.0
"""Seconds after which a round begins no more tasks: who calls it has other duties, too."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 600.0
"""Seconds until a task is tried again: twice as many after each try."""
_NO_WORKER_PAUSE = 5.0
"""Seconds until a task is tried again whose worker cannot run now."""
_MOMENT = 0.2
"""Seconds in which own tasks that are carried out are gathered, to be removed together; a small part of
the head start that this process has for them."""
_TRIES = 12
"""Tries after which a task is given up; the last ones are half an hour after the first."""


class Outbox:
    """Carries out what is to happen after commits."""

    def __init__(self, database: Database, handlers: Handlers) -> None:
        self._database = database
        self._handlers = handlers
        self._done: list[tuple[str, str]] = []
        """Own tasks that are carried out, and not removed yet."""

    def handle_due(self, seconds: float = _ROUND) -> int:
        """Carry out what is due, until nothing is or the time is over. Returns how many tasks were carried
        out.

        What has been due longest is first, so one round after the other carries out all. A task that
        fails is tried again later and keeps no other waiting. Raises Unavailable where a service is
        away that it needs; it is tried again in a second then.
        """
        handled = 0
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at and self._database.read(outbox.is_due, self._handlers):
            tasks = self._database.write(outbox.take, self._handlers)
            away: Unavailable | None = None
            for number, task in enumerate(tasks):
                if number and time.monotonic() > ends_at:
                    self._database.change(outbox.put_back, task, 0.0, "It was left to the next round.")
                    continue
                try:
                    handled += self._handle(task)
                except Unavailable as error:
                    away = error
            if away is not None:
                raise away
        return handled

    def take_own(self) -> None:
        """From now on carry out what this process puts into the outbox, in a greenlet for each task."""
        self._database.carry_out(lambda task: gevent.spawn(logs.same(self._handle_own), *task))

    def _handle_own(self, kind: str, key: str, payload: Json) -> None:
        """Nothing is raised: what cannot be done now is due in a moment, for whoever takes it then."""
        try:
            if not isinstance(self._handlers[kind](payload), Later):
                self._forget(kind, key)
        except (TooMany, WorkerUnavailable, Unavailable):
            pass
        except Exception:
            log.exception("the task %s %s has failed; it is tried again in a moment", kind, key)

    def _forget(self, kind: str, key: str) -> None:
        """Remove a task that is carried out, with those that are in the same moment."""
        self._done.append((kind, key))
        if len(self._done) == 1:
            gevent.spawn_later(_MOMENT, logs.same(self._forget_done))

    def _forget_done(self) -> None:
        done, self._done = self._done, []
        with suppress(Unavailable):  # then they are carried out again, which does no harm
            self._database.change(outbox.forget, done)

    def _handle(self, task: outbox.Task) -> bool:
        """Carry out one task. Returns whether that is done."""
        try:
            later = self._handlers[task.kind](task.payload)
        # There is no room for it now, which is no failure, and keeps no other task waiting.
        except (TooMany, WorkerUnavailable, WorkerElsewhere) as error:
            pause = float(error.retry_after) if isinstance(error, TooMany) else _NO_WORKER_PAUSE
            self._database.write(outbox.put_back, task, pause, str(error))
            return False
        except Unavailable as away:
            self._database.write(outbox.put_back, task, _FIRST_PAUSE, str(away))
            raise
        except Exception as error:
            self._note_failure(task, error)
            return False
        if isinstance(later, Later):
            self._database.change(outbox.put_back, task, later.seconds, later.why)
            return False
        self._database.change(outbox.done, task)
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
