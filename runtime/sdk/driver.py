"""How a run is executed: the worker's function is called, and what it yields is sent."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .errors import Cancelled, Failure, Misspelt, Suspended
from .loader import Function
from .messages import Json
from .run import Run
from .version import PROTOCOL
from .wire import Wire

if TYPE_CHECKING:
    from .wire import Connection

_STOPPED = 128 + signal.SIGTERM
_REHEARSED = (
    b'{"type": "run", "run": {"id": "0", "attempt": 1}, "config": {}, "args": {"": 0.5}, "messages": '
    b'[{"role": "user", "content": "."}], "answers": [], "saved": {}, "state": null}\n'
)


def execute(
    function: Function, wire: Connection, choices: Mapping[str, Callable[[], object]] | None = None
) -> int:
    """Execute one run, which arrives as the first line of ``wire``. Returns an exit code.

    The line may also ask what can be chosen in the config, which ``choices`` say by field.
    """
    line = wire.first_line()
    if line is None:
        print("stdin ended before a run arrived", file=sys.stderr)
        return 1
    if line.get("protocol", PROTOCOL) != PROTOCOL:
        return _refuse(line, wire)
    if line.get("type") == "choices":
        from . import choosing

        return choosing.answer(choices or {}, wire)
    run = Run(line, wire)
    try:
        try:
            wire.watch(run)
            _drive(function, run, wire)
            run._done()
            return 0
        except Suspended:
            return 0
        except Failure as failure:
            print(f"failed: {failure}", file=sys.stderr)
            run._fail(str(failure), failure.retryable)
        except Exception as error:
            from . import mistakes

            _print_traceback()
            run._fail(mistakes.described(error), bool(getattr(error, "retryable", False)))
        return 1
    except (Cancelled, BrokenPipeError):
        wire.ignore_signals()  # a second one must not change the exit code
        with suppress(BrokenPipeError):
            run._send_last_state()
        return _STOPPED


def rehearse() -> None:
    """Execute a run that nobody hears, so that the memory that a run touches is this process's own.

    A forked process copies each page that it touches first. What waits for its run has time for that.
    """
    reader, writer = os.pipe()
    try:
        os.write(writer, _REHEARSED)
        wire = Wire(reader, writer)
        run = Run(wire.first_line() or {}, wire)
        _drive(lambda run: iter((".",)), run, wire)
        run._done()
    finally:
        os.close(reader)
        os.close(writer)


def _refuse(line: Mapping[str, Json], wire: Connection) -> int:
    """Fail a run whose pool may mean something else by what it says."""
    run = Run(line, wire)
    run._fail(
        f"This worker's SDK has version {PROTOCOL} of the protocol, and the pool that started it version "
        f"{line['protocol']}. Install the branchline-sdk of the version of Branchline that the pool has.",
        retryable=False,
    )
    return 1


def _drive(function: Function, run: Run, wire: Connection) -> None:
    result = function(run)
    if hasattr(result, "__await__") or hasattr(result, "__aiter__"):
        _drive_async(result, run, wire)
    elif hasattr(result, "__next__"):  # isinstance() of an abstract class would make a start slower
        _drive_iterator(result, run)
    else:
        run._emit_output(result)


def _drive_iterator(result: Iterator[Any], run: Run) -> None:
    for output in result:
        try:
            run._emit_output(output)
        except Cancelled as cancelled:  # the signal came while the worker was suspended in a yield
            if isinstance(result, Generator):
                result.throw(cancelled)
            raise
        except Misspelt as error:
            _note_place(error, result)
            raise


def _drive_async(result: Any, run: Run, wire: Connection) -> None:
    import asyncio

    async def consume() -> None:
        if hasattr(result, "__await__"):
            run._emit_output(await result)
            return
        async for output in result:
            try:
                run._emit_output(output)
            except Misspelt as error:
                _note_place(error, result)
                raise

    async def until_cancelled() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(consume())
        wire.attach(loop, task.cancel)
        if run.cancelled:
            task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            if run.cancelled:
                raise Cancelled from None
            raise
        finally:
            wire.detach(loop)

    asyncio.run(until_cancelled())


def _note_place(error: Misspelt, source: object) -> None:
    from . import mistakes

    error.place = mistakes.place_of(source)


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()
