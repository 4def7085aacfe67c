"""The pool: which call is made next, and in which process."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from runtime.errors import LimitExceeded, TooMany, Unavailable
from runtime.process_pool.process import Function, Process, ProcessEnded

_CLOCK = 5.0
"""A call may take so many times its processor time by the clock, for other processes run too."""


class ProcessPool:
    """Calls one function in a few processes, for each caller one call at a time.

    Whoever asks for much waits for himself: his next call waits until his last one has
    ended, and the others' take turns.
    """

    def __init__(
        self,
        function: Function,
        size: int,
        seconds: float,
        patience: float,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """``seconds``: of the processor that a call may need; ``patience``: that it may wait to begin.

        ``environ``: the environment of the processes, beside what they need themselves.
        """
        self._environ = dict(environ or {})
        self._name = f"{function.__module__}:{function.__qualname__}"
        self._size = size
        self._seconds = seconds
        self._patience = patience
        self._turns: dict[str, _Turn] = {}
        self._lock = threading.Lock()
        self._open()

    def call(self, argument: Any, caller: str = "") -> Any:
        """What the function returns for ``argument``.

        ``caller``: for whom, such as a user's id. Raises LimitExceeded where the call
        needs more time or memory than it may, TooMany where it cannot begin in time, and
        Unavailable where no process can be had.
        """
        if self._owner != os.getpid():  # forked: the processes belong to the parent
            self._open()
        with self._turn(caller), self._place() as place:
            return place.call(argument)

    def start(self) -> None:
        """Start a process, so that the first call finds it warm."""
        with suppress(TooMany, Unavailable), self._place() as place:
            place.start()

    def close(self) -> None:
        """End the processes that have nothing to do; the next call starts another one."""
        for place in self._idle:
            place.close()

    def _open(self) -> None:
        self._owner = os.getpid()
        # Not a threading.Semaphore, see the pool of connections in runtime.stream.connection.
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._idle = [_Place(self._name, self._seconds, self._environ) for _ in range(self._size)]
        """The one that was used last comes last: it is warm, and others need not be started."""
        for _ in self._idle:
            self._free.put(None)

    @contextmanager
    def _place(self) -> Iterator[_Place]:
        self._get(self._free)
        place = self._idle.pop()
        try:
            yield place
        finally:
            self._idle.append(place)
            self._free.put(None)

    @contextmanager
    def _turn(self, caller: str) -> Iterator[None]:
        with self._lock:
            turn = self._turns.setdefault(caller, _Turn())
            turn.wanted += 1
        try:
            self._get(turn.free)
            try:
                yield
            finally:
                turn.free.put(None)
        finally:
            with self._lock:
                turn.wanted -= 1
                if not turn.wanted:
                    self._turns.pop(caller, None)

    def _get(self, free: queue.SimpleQueue[Any]) -> Any:
        try:
            return free.get(timeout=self._patience)
        except queue.Empty:
            raise TooMany("Too much is being checked at the moment; try again.") from None


class _Turn:
    """One caller's right to have one call at a time."""

    def __init__(self) -> None:
        self.wanted = 0
        self.free: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.free.put(None)


class _Place:
    """Room for one process, which is started when it is first needed."""

    def __init__(self, name: str, seconds: float, environ: Mapping[str, str]) -> None:
        self._name = name
        self._seconds = seconds
        self._environ = environ
        self._process: Process | None = None

    def call(self, argument: Any) -> Any:
        """What the function returns; a process that has ended while it waited is replaced."""
        try:
            return self._call(argument)
        except ProcessEnded:
            pass
        try:
            return self._call(argument)
        except ProcessEnded as error:  # a new one too: this very argument ends it
            raise LimitExceeded from error

    def start(self) -> Process:
        """The process, which may still be starting. Raises Unavailable."""
        self._process = self._process or Process(self._name, self._seconds, self._environ)
        return self._process

    def _call(self, argument: Any) -> Any:
        process = self.start()
        try:
            return process.call(argument, self._seconds * _CLOCK)
        except LimitExceeded:
            self.close()
            with suppress(Unavailable):
                self.start()  # warm for the next caller
            raise
        except BaseException:
            # Whatever interrupted the call, its answer must not become that of the next one.
            self.close()
            raise

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()
        self._process = None
