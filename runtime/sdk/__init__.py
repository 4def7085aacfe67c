"""What the author of a Python worker imports.

A worker is a function of a :class:`Run`, plain or generator, sync or async::

    def run(run):
        yield "You said: " + run.messages[-1].content

What it yields or returns is a piece of the answer (str) or an event of the protocol
(dict). docs/writing-workers.md explains the rest. This module needs the standard
library only and imports fast, for it is a part of every worker's start. It does without
threading, whose preparations for a fork's child double what a fork costs.
"""

from __future__ import annotations

import _thread
import binascii
import fcntl
import io
import json
import os
import signal
import sys

# What the signal module puts around this one, enums of what is given and answered, costs
# each child twenty pages of memory that it would share otherwise.
from _signal import signal as _handle  # type: ignore[import-not-found]
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from json.encoder import encode_basestring as _quote
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from types import ModuleType

Json = Any
Function = Callable[["Run"], Any]
_F = TypeVar("_F", bound=Callable[..., Any])

_MARK = "__branchline_worker__"
_STOPPED = 128 + signal.SIGTERM
_SIGNALS = (signal.SIGTERM, signal.SIGIO)
_SIGTERM, _SIGIO = map(int, _SIGNALS)
_scan: Callable[[str, int], tuple[Json, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
"""What ``json.loads`` comes to; what it does before and after costs a child forty pages."""


class Cancelled(BaseException):
    """The run is to stop now. Raised in the worker; clean up and let it pass."""


class Failure(Exception):
    """Raise it to fail the run with a text that its user reads, without a traceback."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        """``retryable``: another attempt may succeed (a busy service, a lost connection)."""
        super().__init__(message)
        self.retryable = retryable


class _Waiting(BaseException):
    """The worker has asked something; this process ends."""


def worker(function: _F) -> _F:
    """Mark a function as the worker of its file, whatever its name."""
    setattr(function, _MARK, True)
    return function


class Message:
    """A message of the thread, as the worker is given it."""

    __slots__ = ("author", "channel", "content", "data", "id", "role", "type")

    def __init__(self, fields: Mapping[str, Json]) -> None:
        self.id: str | None = fields.get("id")
        self.role: str = fields.get("role", "user")
        """system, user, assistant or tool."""
        self.type: str = fields.get("type", "text")
        """text, code, console, image, function or confirmation."""
        self.channel: str = fields.get("channel", "answer")
        """answer, or reasoning: what a model thought and did not say."""
        self.author: str | None = fields.get("author")
        self.content: str = fields.get("content", "")
        self.data: dict[str, Json] = fields.get("data") or {}

    def as_text(self) -> str:
        """The message for a model that reads text only."""
        if self.type == "code":
            return f"```{self.data.get('language', '')}\n{self.content}\n```"
        if self.type == "console":
            return f"```console\n{self.content}\n```"
        if self.type == "function":
            arguments = json.dumps(self.data.get("arguments", self.content), ensure_ascii=False)
            called = f"{self.data.get('name', 'function')}({arguments})"
            return f"{called} = {json.dumps(self.data['result'])}" if "result" in self.data else called
        if self.type == "confirmation" and "answer" in self.data:
            return f"{self.content}\nAnswer: {self.data['answer']}"
        return self.content

    def __repr__(self) -> str:
        return f"Message({self.role}, {self.type}, {self.content[:60]!r})"


class OpenMessage:
    """A message that the worker writes piece by piece. As a context it ends by itself."""

    def __init__(self, run: Run, ref: str) -> None:
        self._run = run
        self._ref: str | None = ref

    def delta(self, text: str) -> None:
        """Append ``text``."""
        if self._ref is None:
            raise RuntimeError("the message has ended")
        self._run._delta(text, self._ref)

    def end(self, data: Mapping[str, Json] | None = None) -> None:
        """The message is whole; ``data`` is added to what it was started with. Twice is once."""
        ref, self._ref = self._ref, None
        if ref is not None:
            self._run.emit(_without_none({"type": "end", "ref": ref, "data": data}))

    def __enter__(self) -> OpenMessage:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Run:
    """The run that a worker executes, and how it answers."""

    def __init__(self, line: Mapping[str, Json], output: Callable[[bytes], None]) -> None:
        """``line``: the first line from the pool. ``output`` takes what goes back, in lines."""
        self.fields: dict[str, Json] = line.get("run") or {}
        """The run as the API shows it."""
        self.config: dict[str, Json] = line.get("config") or {}
        """Checked against the worker's schema, defaults filled in."""
        self.args: Json = line.get("args")
        """What the client sent along, unchecked."""
        self.messages = [Message(fields) for fields in line.get("messages") or ()]
        """The conversation, oldest first."""
        self.earlier = [Message(fields) for fields in line.get("earlier") or ()]
        """What this run had written before it last waited for an answer."""
        self.cancelled = False
        """Whether the run is to stop. Cancelled is raised as well, where Python allows it."""
        self._answers = {
            answer.get("confirmation_id"): answer.get("answer") for answer in line.get("answers") or ()
        }
        self._unasked = set(self._answers)
        """Answered questions that this process has not come to. Until then it repeats itself."""
        self._refs = 0
        self._questions = 0
        self._ended = False
        self._output = output

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.fields.get("id", ""))

    @property
    def thread_id(self) -> str:
        """The id of the thread that it answers in."""
        return str(self.fields.get("thread_id", ""))

    @property
    def attempt(self) -> int:
        """Which try this is, from 1."""
        return int(self.fields.get("attempt", 1))

    def conversation(self) -> list[tuple[str, str]]:
        """The messages as chat models take them: role (system, user or assistant) and text.

        What a model only thought is left out, and so are empty messages.
        """
        told = [
            ("assistant" if message.role == "tool" else message.role, message.as_text())
            for message in self.messages
            if message.channel != "reasoning"
        ]
        return [(role, text) for role, text in told if text.strip()]

    def delta(self, text: str) -> None:
        """Append to the answer; the same as yielding ``text``."""
        self._delta(text, None)

    def message(
        self,
        content: str,
        *,
        role: str = "assistant",
        type: str = "text",
        channel: str = "answer",
        author: str | None = None,
        data: Mapping[str, Json] | None = None,
    ) -> None:
        """A whole message."""
        head = _head(role, type, channel, author, data)
        self.emit({"type": "message", "content": content, **head})

    def image(self, picture: bytes, alt: str, media_type: str = "image/png") -> None:
        """A picture of at most 750 kB, and what it shows in words: PNG, JPEG, GIF, WebP or AVIF."""
        url = f"data:{media_type};base64,{binascii.b2a_base64(picture, newline=False).decode()}"
        self.message(alt, type="image", data={"url": url})

    def start(
        self,
        *,
        role: str = "assistant",
        type: str = "text",
        channel: str = "answer",
        author: str | None = None,
        data: Mapping[str, Json] | None = None,
    ) -> OpenMessage:
        """Begin a message to be written piece by piece. Several may be open at once."""
        self._refs += 1
        ref = str(self._refs)
        self.emit({"type": "start", "ref": ref, **_head(role, type, channel, author, data)})
        return OpenMessage(self, ref)

    def step(self, description: str) -> None:
        """Say what comes next: "Searching the web"."""
        self.emit({"type": "step", "description": description})

    def usage(self, **amounts: Json) -> None:
        """What the run has used so far: ``input_tokens``, ``output_tokens``, whatever else there is."""
        self.emit({**amounts, "type": "usage"})

    def confirm(self, prompt: str, options: Iterable[str] = (), *, id: str | None = None) -> Json:
        """Ask the user and return the answer.

        This process ends here, however long the user takes. After the answer the
        worker starts again from its beginning; what it emits up to an answered
        question is left out, for it was emitted before. So what it does until then
        must be repeatable, and lead to the same questions in the same order, or with
        the same ``id``.
        """
        self._questions += 1
        question = id or str(self._questions)
        if question in self._answers:
            self._unasked.discard(question)
            return self._answers[question]
        if self._unasked:
            self._check_repeated()
        self.emit({"type": "confirm", "id": question, "prompt": prompt, "options": list(options)})
        self._ended = True
        raise _Waiting

    def emit(self, event: Mapping[str, Json]) -> None:
        """Send an event of the protocol."""
        if not self._unasked and not self._ended:
            self._output(_encode(json.dumps(event, ensure_ascii=False, allow_nan=False)))

    def _delta(self, text: str, ref: str | None) -> None:
        if not isinstance(text, str):
            raise TypeError(f"a delta must be a str, not {type(text).__name__}")
        if not text or self._unasked or self._ended:
            return
        if ref is None:
            self._output(_encode(f'{{"type":"delta","text":{_quote(text)}}}'))
        else:
            self._output(_encode(f'{{"type":"delta","ref":{_quote(ref)},"text":{_quote(text)}}}'))

    def _take(self, given: Any) -> None:
        """Something that the worker yielded or returned."""
        if isinstance(given, str):
            self._delta(given, None)
        elif isinstance(given, Mapping):
            self.emit(given)
        elif given is not None:
            raise TypeError(f"a worker yields str or dict, not {type(given).__name__}")

    def _done(self) -> None:
        if self._unasked:
            self._check_repeated()
        self.emit({"type": "done"})
        self._ended = True

    def _fail(self, message: str, retryable: bool) -> None:
        self._unasked.clear()
        self.emit({"type": "error", "message": message, "retryable": retryable})
        self._ended = True

    def _check_repeated(self) -> NoReturn:
        unasked = ", ".join(sorted(map(repr, self._unasked)))
        raise Failure(
            f"The worker did not come back to its answered question {unasked}; "
            "up to a question it must do the same every time."
        )


def _head(
    role: str, type: str, channel: str, author: str | None, data: Mapping[str, Json] | None
) -> dict[str, Json]:
    return _without_none(
        {"role": role, "message_type": type, "channel": channel, "author": author, "data": data}
    )


def _encode(event: str) -> bytes:
    """JSON as a line. Half of a surrogate pair has no UTF-8; it goes as its escape."""
    try:
        return event.encode() + b"\n"
    except UnicodeEncodeError:
        return event.encode("utf-8", "backslashreplace") + b"\n"


def _without_none(fields: dict[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in fields.items() if value is not None}


# ── how a worker is loaded and executed ─────────────────────────────────────


def load(path: str) -> Function:
    """The worker function of the file at ``path``: the marked one, or the one named ``run``.

    Raises ImportError where there is none, and whatever the file raises.
    """
    from importlib.machinery import SourceFileLoader
    from importlib.util import module_from_spec, spec_from_file_location

    name = os.path.splitext(os.path.basename(path))[0]
    spec = spec_from_file_location(name, path, loader=SourceFileLoader(name, path))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return _function(module)


def _function(module: ModuleType) -> Function:
    marked = [
        thing
        for thing in vars(module).values()
        if getattr(thing, _MARK, False) and getattr(thing, "__module__", None) == module.__name__
    ]
    if len(marked) > 1:
        raise ImportError(f"{module.__file__} marks several functions with @worker; leave one")
    function = marked[0] if marked else getattr(module, "run", None)
    if not callable(function):
        raise ImportError(f"{module.__file__} has no function named run, and none marked with @worker")
    return function  # type: ignore[no-any-return]


def execute(function: Function, wire: Wire) -> int:
    """Execute one run, which the first line of ``wire`` brings. Returns an exit code."""
    line = wire.first_line()
    if line is None:
        print("the input ended before the run came", file=sys.stderr)
        return 1
    run = Run(line, wire.write)
    try:
        try:
            wire.watch(run)
            _drive(function, run, wire)
            run._done()
            return 0
        except _Waiting:
            return 0
        except Failure as failure:
            print(f"failed: {failure}", file=sys.stderr)
            run._fail(str(failure), failure.retryable)
        except Exception as error:
            _print_traceback()
            run._fail(f"{type(error).__name__}: {error}", bool(getattr(error, "retryable", False)))
        return 1
    except (Cancelled, BrokenPipeError):
        for number in _SIGNALS:  # told once more while it ends, it still says how it ended
            signal.signal(number, signal.SIG_IGN)
        return _STOPPED


def _drive(function: Function, run: Run, wire: Wire) -> None:
    given = function(run)
    if hasattr(given, "__await__") or hasattr(given, "__aiter__"):
        _drive_async(given, run, wire)
    elif hasattr(given, "__next__"):  # an ABC's isinstance() would cost a start more
        _drive_iterator(given, run)
    else:
        run._take(given)


def _drive_iterator(given: Iterator[Any], run: Run) -> None:
    for piece in given:
        try:
            run._take(piece)
        except Cancelled as cancelled:  # it came between two pieces; the worker is to see it
            if isinstance(given, Generator):
                given.throw(cancelled)
            raise


def _drive_async(given: Any, run: Run, wire: Wire) -> None:
    import asyncio

    async def consume() -> None:
        if hasattr(given, "__await__"):
            run._take(await given)
            return
        async for piece in given:
            run._take(piece)

    async def until_cancelled() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(consume())
        wire.stop = task.cancel
        loop.add_signal_handler(signal.SIGTERM, wire.cancel)
        loop.add_signal_handler(signal.SIGIO, wire.read_commands)
        if run.cancelled:
            task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            if run.cancelled:
                raise Cancelled from None
            raise
        finally:
            # The loop would leave the signals to the kernel, which kills: not even for a moment.
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
            wire.take_signals()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    asyncio.run(until_cancelled())


class Wire:
    """The pipes to and from the pool."""

    def __init__(self, input: int, output: int) -> None:
        """Takes over two descriptors, which programs that the worker starts do not inherit."""
        self._input = input
        self._output = output
        self._main = _thread.get_ident()
        self._lock = _thread.allocate_lock()
        self._writing = False
        self._stop_after_write = False
        self._unread = b""
        self._run: Run | None = None
        self.stop: Callable[[], object] = self._raise_cancelled
        """How the worker is stopped; called in the main thread."""

    def write(self, line: bytes) -> None:
        """Write a line, whole even when the run is cancelled meanwhile."""
        main = _thread.get_ident() == self._main
        with self._lock:
            try:
                self._writing = main
                while line:
                    line = line[os.write(self._output, line) :]
            finally:
                self._writing = False
        if main and self._stop_after_write:
            self._stop_after_write = False
            self.stop()

    def first_line(self) -> dict[str, Json] | None:
        """The ``run`` line; None where the input ends without one."""
        parts = []
        while chunk := os.read(self._input, 1 << 16):
            line, newline, rest = chunk.partition(b"\n")
            parts.append(line)
            if newline:
                self._unread = rest
                first = decode(b"".join(parts).decode())
                return first if isinstance(first, dict) else None
        return None

    def watch(self, run: Run) -> None:
        """Stop the worker when the pool says cancel, closes the pipe, or sends SIGTERM.

        The kernel signals what comes through the pipe: a thread that waits for it
        would cost more than all the rest of a start.
        """
        self._run = run
        self.take_signals()
        fcntl.fcntl(self._input, fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(self._input, fcntl.F_GETFL)
        fcntl.fcntl(self._input, fcntl.F_SETFL, flags | os.O_ASYNC | os.O_NONBLOCK)
        self.read_commands()  # what came before the kernel was asked

    def take_signals(self) -> None:
        """Stop a worker that runs no event loop by an exception, wherever it is."""
        self.stop = self._raise_cancelled
        _handle(_SIGTERM, lambda *_: self.cancel())
        _handle(_SIGIO, lambda *_: self.read_commands())

    def read_commands(self) -> None:
        """Something came through the pipe, or its end."""
        try:
            while chunk := os.read(self._input, 1 << 16):
                self._unread += chunk
        except BlockingIOError:
            *lines, self._unread = self._unread.split(b"\n")
            if not any(map(_says_cancel, lines)):
                return
        self.cancel()

    def cancel(self) -> None:
        """Stop the worker, once, and not in the middle of a line."""
        assert self._run is not None
        if self._run.cancelled:
            return  # a worker that cleans up is left to it
        self._run.cancelled = True
        if self._writing:
            self._stop_after_write = True
        else:
            self.stop()

    @staticmethod
    def _raise_cancelled() -> NoReturn:
        raise Cancelled


def decode(text: str) -> Json:
    """``json.loads``, for what begins with the JSON. Raises ValueError."""
    try:
        return _scan(text, 0)[0]
    except StopIteration:  # what is no JSON, or begins with a space, comes from no pool
        return json.loads(text)


def _says_cancel(line: bytes) -> bool:
    try:
        return bool(json.loads(line).get("type") == "cancel")
    except (ValueError, AttributeError):
        return False


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()


def print_by_lines() -> None:
    """What a worker prints is in its log with the end of the line, not with that of the process."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


def _take_pipes() -> Wire:
    """Stdin and stdout as a wire.

    The worker's own stdin is empty and its stdout is stderr, so that neither it nor a
    program that it starts can read the pool's commands or write among the answers.
    """
    wire = Wire(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    print_by_lines()
    return wire


def main() -> int:
    """``python -m runtime.sdk FILE``: execute one run in a fresh interpreter. Returns an exit code."""
    path = os.path.abspath(sys.argv[1])
    sys.path.insert(0, os.path.dirname(path))
    wire = _take_pipes()
    function = load(path)
    os.chdir(os.path.dirname(path))
    return execute(function, wire)
