"""Logging: config/logging.toml, applied once per process; and what a record says it is about.

A record is one line of text, or one JSON object, as ``LOG_FORMAT`` says. Both have what
:func:`about` and :func:`begin` have named: ``request_id``, ``run_id``, ``attempt``, ``worker_id``,
``user_id`` and ``thread_id``. Each greenlet has its own, and begins with none.
"""

from __future__ import annotations

import logging.config
import re
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import orjson

from runtime.settings import CHECKOUT, Settings
from runtime.system import greenlets

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_FILE = CHECKOUT / "config" / "logging.toml"

_BIDIRECTIONAL = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x2070))
"""What changes the direction of a text, so that it reads as something else than it is."""
CONTROL = (
    *range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *_BIDIRECTIONAL, 0xFEFF, *range(0xFFF9, 0xFFFC),
    *range(0xD800, 0xE000),
)  # fmt: skip
"""C0, DEL and C1, separators of lines, marks that are not seen, and surrogates, which cannot be written."""
_ESCAPES = {number: f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" for number in CONTROL}
_ESCAPES_IN_PROSE = {number: escape for number, escape in _ESCAPES.items() if chr(number) not in "\n\t"}


def printable(text: str, prose: bool = False) -> str:
    """``text`` with its control characters shown as ``\\x1b``.

    Whoever wrote it can then neither imitate another line nor control the terminal on
    which it is printed. ``prose``: it may have lines and tabs, which stay.
    """
    if text.isprintable():  # nearly always, and much quicker to find out
        return text
    return text.translate(_ESCAPES_IN_PROSE if prose else _ESCAPES)


_about: ContextVar[Mapping[str, Any]] = ContextVar("about", default={})  # noqa: B039 - it is never changed


def begin(**fields: Any) -> None:
    """From now on records of this greenlet are about ``fields``, and nothing else."""
    _about.set(fields)


def add(**fields: Any) -> None:
    """From now on records of this greenlet are about ``fields`` as well."""
    _about.set({**_about.get(), **fields})


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Within this, records are about ``fields`` as well."""
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def fields() -> Mapping[str, Any]:
    """What records of this greenlet are about."""
    return _about.get()


def same(function: Callable[P, T]) -> Callable[P, T]:
    """``function``, for another greenlet whose records are to be about the same as those of this one."""
    context = copy_context()
    return lambda *args, **kwargs: context.run(function, *args, **kwargs)


class OneLine(logging.Formatter):
    """One line per record, what it is about at its end; a traceback below it is indented.

    Control characters are escaped, so text from outside can neither imitate a record nor
    control the terminal.
    """

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """As RFC 3339 in UTC."""
        return _time(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line, with control characters escaped."""
        known = "".join(f" {name}={value}" for name, value in fields().items())
        return printable(super().formatMessage(record) + (f" [{known[1:]}]" if known else ""))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """The traceback, indented."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  {printable(line)}" for line in lines)

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        """The stack, indented."""
        return "\n".join(f"  {printable(line)}" for line in stack_info.split("\n"))


class Json(logging.Formatter):
    """One JSON object per record, on one line; a traceback is its ``traceback``."""

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        entry = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
            **fields(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            entry["stack"] = self.formatStack(record.stack_info)
        try:
            return orjson.dumps(entry, default=str).decode()
        except orjson.JSONEncodeError:  # half a surrogate pair, which has no encoding
            return orjson.dumps({name: printable(str(value), True) for name, value in entry.items()}).decode()


class OncePerMinute(logging.Filter):
    """Lets a warning or an error pass that was logged a minute ago, or never; the same again is counted.

    What is tried again and again, because a broker is away or refuses the password, says so
    once a minute, and then how often it was.
    """

    def __init__(self, of: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        """``of``: the packages whose records these are."""
        super().__init__()
        self._of = tuple(f"{name}." for name in of)
        self._clock = clock
        self._seen: dict[tuple[Any, ...], tuple[float, int]] = {}
        """When each was let pass, and how often it was not since."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be logged."""
        if record.levelno < logging.WARNING or not f"{record.name}.".startswith(self._of):
            return True
        text = _NUMBER.sub("#", record.getMessage())  # which may be the seconds until the next try
        now, key = self._clock(), (record.name, text, fields().get("run_id"))
        at, times = self._seen.get(key, (None, 0))
        if at is not None and now - at < _PAUSE:
            self._seen[key] = at, times + 1
            return False
        if times:
            record.msg, record.args = f"{record.getMessage()} ({times} times more in the last minutes)", ()
        self._seen.pop(key, None)
        self._seen[key] = now, 0
        if len(self._seen) > _MOST_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True


_NUMBER = re.compile(r"\d+")
_PAUSE = 60.0
"""Seconds in which the same is not logged again."""
_MOST_REMEMBERED = 1000


def configuration(settings: Settings) -> dict[str, Any]:
    """config/logging.toml, with the format that ``LOG_FORMAT`` names."""
    found = tomllib.loads(_FILE.read_text())
    found["handlers"]["stderr"]["formatter"] = settings.service.log_format
    return found


def configure(settings: Settings) -> None:
    """Configure logging from config/logging.toml, and log what nothing handles.

    Where a record comes from is in none of the formats, so nothing looks for it.
    """
    logging._srcfile = None  # as "Optimization" in Python's Logging HOWTO has it
    logging.logThreads = logging.logMultiprocessing = False
    logging.config.dictConfig(configuration(settings))
    log_uncaught()


def log_uncaught() -> None:
    """Have the log show what ends a thread, a greenlet or this process.

    Otherwise it is printed as it is, with whatever text from outside the error repeats.
    """
    sys.excepthook = _log_end_of_process
    threading.excepthook = _log_end_of_thread
    if greenlets.patched():
        _log_ends_of_greenlets()


def _log_end_of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        log.critical("this process ends by an error that nothing handles", exc_info=(kind, error, trace))


def _log_end_of_thread(end: threading.ExceptHookArgs) -> None:
    if end.exc_value is not None and not issubclass(end.exc_type, SystemExit):
        error = end.exc_type, end.exc_value, end.exc_traceback
        log.error("a thread ended by an error that nothing handles", exc_info=error)


def _log_ends_of_greenlets() -> None:
    import gevent

    hub: Any = gevent.get_hub()
    gevents_own = hub.handle_error

    def handle(context: object, kind: Any, error: Any, trace: Any) -> None:
        if context is None or not isinstance(error, Exception):  # it may have to end the process
            gevents_own(context, kind, error, trace)
        else:
            log.error("a greenlet ended by an error that nothing handles", exc_info=(kind, error, trace))

    hub.handle_error = handle


def _time(record: logging.LogRecord) -> str:
    return timestamp(datetime.fromtimestamp(record.created, UTC))


def timestamp(moment: datetime) -> str:
    """A time in UTC as records have it: RFC 3339."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
