"""The pool's ends of a child's pipes.

Under gevent a wait lets other greenlets run, with one watcher per pipe; otherwise it
blocks the thread. Both look the same to the caller.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

# gevent's os.close closes after the next event of whatever kind; until then a child
# whose stdin is closed would not notice.
from posix import close
from typing import Any

from runtime.errors import ChildLost
from runtime.system import greenlets

_CHUNK = 64 * 1024


@contextmanager
def pipes() -> Iterator[tuple[list[int], list[int]]]:
    """Pipes for stdin, stdout and stderr: our ends and the child's.

    They are closed at the end, unless they were taken out of the lists. Raises
    ChildLost where there are no more descriptors.
    """
    ours: list[int] = []
    theirs: list[int] = []
    try:
        for write in (True, False, False):
            reader, writer = os.pipe()
            ours.append(writer if write else reader)
            theirs.append(reader if write else writer)
        yield ours, theirs
    except OSError as error:
        raise ChildLost(f"no pipe could be made: {error.strerror}") from error
    finally:
        for descriptor in (*ours, *theirs):
            close(descriptor)


class ReadPipe:
    """The end that reads what a child writes. For one reader at a time."""

    def __init__(self, descriptor: int) -> None:
        """Takes over ``descriptor``: it is closed at the end of the output."""
        self._descriptor = descriptor
        self._ready = _readiness(descriptor, write=False)

    def read(self) -> bytes:
        """The next chunk, of at most 64 KiB; empty at the end and from then on."""
        while self._descriptor >= 0:
            try:
                chunk = os.read(self._descriptor, _CHUNK)
            except BlockingIOError:
                self._ready.wait()
                continue
            if chunk:
                self._ready.give_way()
                return chunk
            self.close()
        return b""

    def close(self) -> None:
        """Stop reading; what is unread is lost."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._ready.close()

    def __del__(self) -> None:
        self.close()


class WritePipe:
    """The end that writes what a child reads. A write never waits: what does not fit is queued."""

    def __init__(self, descriptor: int) -> None:
        """Takes over ``descriptor``."""
        self._descriptor = descriptor
        self._queue: deque[bytes] = deque()
        self._ready: _Blocking | _Cooperative | None = None
        """Needed once something does not fit, which is rare."""
        os.set_blocking(descriptor, False)
        self._closing = False
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None

    def send(self, data: bytes) -> None:
        """Write now what fits, the rest when there is room. A child that has ended is no error."""
        with self._lock:
            if self._closing or self._descriptor < 0:
                return
            self._queue.append(data)
            if self._writer is None and not self._write():
                self._ready = self._ready or _readiness(self._descriptor, write=True)
                self._writer = threading.Thread(target=self._write_on, daemon=True)
                self._writer.start()

    def close(self) -> None:
        """Close now; what is queued is dropped."""
        with self._lock:
            self._closing = True
            self._queue.clear()
            if self._writer is None:
                self._close()
            else:
                assert self._ready is not None
                self._ready.interrupt()

    def _write(self) -> bool:
        """Write what fits; True if that was all."""
        while self._queue:
            try:
                written = os.write(self._descriptor, self._queue[0])
            except BlockingIOError:
                return False
            except OSError:  # the child has ended, or closed its stdin
                self._queue.clear()
                return True
            data = self._queue.popleft()
            if written < len(data):
                self._queue.appendleft(data[written:])
        return True

    def _write_on(self) -> None:
        assert self._ready is not None
        while True:
            self._ready.wait()
            with self._lock:
                if self._write():
                    self._writer = None
                    if self._closing:
                        self._close()
                    return

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        if self._ready is None:
            close(descriptor)
        else:
            self._ready.close()

    def __del__(self) -> None:
        self._close()


class _Blocking:
    """A descriptor that the thread waits for."""

    _TICK_MS = 500
    """How soon a wait on a pipe that another thread closed is over."""

    def __init__(self, descriptor: int, write: bool) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT if write else select.POLLIN)

    def wait(self) -> None:
        self._poll.poll(self._TICK_MS)

    def give_way(self) -> None:
        """Threads take turns by themselves."""

    def interrupt(self) -> None:
        """The tick does."""

    def close(self) -> None:
        close(self._descriptor)


class _Cooperative:
    """A descriptor that the greenlet waits for."""

    def __init__(self, descriptor: int, write: bool) -> None:
        import gevent

        self._descriptor = descriptor
        self._sleep = gevent.sleep
        self._hub: Any = gevent.get_hub()
        self._watcher = self._hub.loop.io(descriptor, 2 if write else 1)

    def wait(self) -> None:
        try:
            self._hub.wait(self._watcher)
        except _Interrupted:
            pass

    def give_way(self) -> None:
        """A child that writes faster than it is read must not keep the others waiting."""
        self._sleep(0)

    def interrupt(self) -> None:
        self._hub.cancel_wait(self._watcher, _Interrupted)

    def close(self) -> None:
        """Close it after its waiters were woken, and before another pipe can get its number."""
        self._hub.cancel_waits_close_and_then([self._watcher], _Interrupted, close, self._descriptor)


class _Interrupted(Exception):
    """The pipe was closed by another greenlet."""


def _readiness(descriptor: int, write: bool) -> _Blocking | _Cooperative:
    os.set_blocking(descriptor, False)
    return (_Cooperative if greenlets.patched() else _Blocking)(descriptor, write)
