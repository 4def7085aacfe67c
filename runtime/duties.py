"""Duties: what a process does beside its requests or runs for as long as it lives, and its supervision.

A duty that ends is not noticed by anybody: the process lives on, answers, and claims
nothing more, or renews nothing. So every one of them runs under :class:`Duties`. What it
raises is logged with its name, and it begins again after a pause, as Erlang's supervisors
have it. One that fails again and again, without a success in between, ends the process,
which its guardian replaces: the reason may be in the process.

A service that is away is no failure. It is waited for, however long it takes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import gevent

from runtime.errors import Unavailable

log = logging.getLogger(__name__)
T = TypeVar("T")

EXIT_CODE = 70
"""Of a process that ends because one of its duties cannot be done; ``EX_SOFTWARE`` of sysexits.h."""

_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds until a duty begins again, after each of its failures in a row."""
_LONGEST_PAUSE = 5.0
"""Seconds, for a duty that the process can do without."""
_AWAY_PAUSE = 0.5
"""Seconds until a duty begins again whose database, Redis or broker is away."""
_SETTLED = 5.0
"""Seconds without a failure after which the pauses begin with the shortest again."""

Body = Callable[[], Iterable[object]]
"""What a duty does: each item is one success. It may wait for its next item as long as it likes."""


class Duty:
    """One duty of this process, and how it fares."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """``name`` is for people, in logs and metrics: ``renew leases``."""
        self.name = name
        self._clock = clock
        self.succeeded_at = clock()
        """When it last succeeded, or began."""
        self.failures = 0
        """How often it has failed since its last success."""
        self._failed_at = float("-inf")
        self._pauses = 0
        self._away = False

    @property
    def due_at(self) -> float:
        """When it may be tried again after a failure."""
        return self._failed_at + self._pause() if self.failures else float("-inf")

    def succeeded(self) -> None:
        """It has done something, or found nothing to do."""
        now = self.succeeded_at = self._clock()
        self.failures = 0
        self._away = False
        if now - self._failed_at > _SETTLED:
            self._pauses = 0

    def was_away(self, error: Unavailable) -> None:
        """It needs a service that is away. Logged once, until it succeeds."""
        if not self._away:
            self._away = True
            log.warning("%s: %s", self.name, error)

    def failed(self) -> float:
        """It has raised the error that is being handled. Returns the seconds until it may begin again."""
        self.failures += 1
        self._failed_at = self._clock()
        self._pauses += 1
        pause = self._pause()
        log.exception("the duty %r failed; it begins again in %g s", self.name, pause)
        return pause

    @property
    def hopeless(self) -> bool:
        """Whether it has failed so often in a row that another try makes no sense."""
        return self.failures > len(_PAUSES)

    def _pause(self) -> float:
        further = self._pauses - len(_PAUSES)
        return min(_PAUSES[-1] * 2**further, _LONGEST_PAUSE) if further > 0 else _PAUSES[self._pauses - 1]


class Duties:
    """The duties of one process, supervised."""

    def __init__(self, give_up: Callable[[str], None] | None = None) -> None:
        """``give_up`` is called with the name of a duty that cannot be done, and ends the process."""
        self.give_up = give_up or (lambda name: None)
        self._duties: list[Duty] = []

    def start(
        self, name: str, body: Body, *, essential: bool = True, once: bool = False
    ) -> gevent.Greenlet[..., None]:
        """Do ``body()`` again and again, in a greenlet that is returned; kill it to end the duty.

        A name may be used for several. ``essential``: whether the process ends if it cannot be
        done. ``once``: whether it is done when ``body()`` has ended.
        """
        duty = self._add(name)
        return gevent.spawn(self._supervise, duty, body, essential, once)

    def attempt(self, name: str, work: Callable[[], object]) -> bool:
        """Call ``work()``, unless it failed a moment ago. Returns whether it succeeded.

        For a process that does its duties in rounds, without greenlets.
        """
        duty = next((duty for duty in self._duties if duty.name == name), None) or self._add(name)
        if time.monotonic() < duty.due_at:
            return False
        try:
            work()
        except Unavailable as error:
            duty.was_away(error)
        except Exception:
            duty.failed()
        else:
            duty.succeeded()
            return True
        return False

    def ages(self) -> Mapping[str, float]:
        """For the name of each duty, the seconds since its last success."""
        now, latest = time.monotonic(), dict[str, float]()
        for duty in self._duties:
            latest[duty.name] = max(latest.get(duty.name, 0.0), duty.succeeded_at)
        return {name: max(0.0, now - at) for name, at in latest.items()}

    def failing(self) -> list[str]:
        """The names of the duties that have failed, and not succeeded since.

        One that waits for a service that is away has not failed.
        """
        return sorted({duty.name for duty in self._duties if duty.failures})

    def _add(self, name: str) -> Duty:
        duty = Duty(name)
        self._duties.append(duty)
        return duty

    def _supervise(self, duty: Duty, body: Body, essential: bool, once: bool) -> None:
        try:
            while not self._do(duty, body, once):
                if essential and duty.hopeless:
                    log.critical("the duty %r fails again and again; this process ends", duty.name)
                    return self.give_up(duty.name)
                gevent.sleep(max(0.0, duty.due_at - time.monotonic()) if duty.failures else _AWAY_PAUSE)
        finally:
            if not duty.hopeless:  # one that was given up stays among those that fail
                self._duties.remove(duty)

    def _do(self, duty: Duty, body: Body, once: bool) -> bool:
        """Do it until it ends or fails. Returns whether nothing is left to do."""
        try:
            for _ in body():
                duty.succeeded()
            if once:
                return True
            raise RuntimeError("it has ended, which it never should")
        except Unavailable as error:
            duty.was_away(error)
        except (Exception, gevent.Timeout):
            duty.failed()
        return False


def every(seconds: float, work: Callable[[], object]) -> Body:
    """The body of a duty that is done at an interval: ``work()`` after each ``seconds``."""

    def body() -> Iterator[None]:
        while True:
            gevent.sleep(seconds)
            work()
            yield

    return body


def for_each(
    items: Iterable[T], work: Callable[[T], object], at_once: tuple[type[Exception], ...] = ()
) -> None:
    """Do ``work`` for each item, whatever it raises for one of them, then raise the first such error.

    What one of many brings about must not keep the others waiting, and must be noticed
    nevertheless. Unavailable is raised at once, and so are errors of the classes ``at_once``:
    the others would meet them as well.
    """
    first: Exception | None = None
    for item in items:
        try:
            work(item)
        except Exception as error:
            if isinstance(error, (Unavailable, *at_once)):
                raise
            if first is not None:
                log.exception("another one failed as well")
            first = first or error
    if first is not None:
        raise first
