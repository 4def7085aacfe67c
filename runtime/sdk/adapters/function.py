"""Functions that stream text, or the chunks of a library."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..loader import Function
from .output import Output
from .rules import Rule
from .shapes import KNOWN

if TYPE_CHECKING:
    from ..run import Run


def worker(
    agent: Callable[[Any], Any],
    rules: tuple[Rule, ...],
    input: Callable[[Run], Any] | None,
    output_of: Callable[..., Output] = Output,
) -> Function:
    """The worker's function: ``agent`` is called with the run, or with what ``input`` makes of it.

    ``output_of``: what says what its chunks mean, given the run and tables of rules.
    """

    def run(run: Run) -> Any:
        output = output_of(run, rules, KNOWN)
        result = agent(run if input is None else input(run))
        if hasattr(result, "__await__") or hasattr(result, "__aiter__"):
            return _say_later(output, result)
        with output:
            _say(output, result)
        return None

    return run


def _say(output: Output, result: Any) -> None:
    if _say_one(output, result):
        return
    if not isinstance(result, Iterable) or isinstance(result, Mapping):
        raise _unknown(result)
    try:
        for one in output.pieces(result):
            if not _say_one(output, one):
                raise _unknown(one)
            if output.declined:
                break
    finally:
        getattr(result, "close", _nothing)()


async def _say_later(output: Output, result: Awaitable[Any] | AsyncIterable[Any]) -> None:
    with output:
        stream = await result if isinstance(result, Awaitable) else result
        if not hasattr(stream, "__aiter__"):
            _say(output, stream)
            return
        try:
            async for one in stream:
                if not _say_one(output, one):
                    raise _unknown(one)
                if output.declined:
                    break
        finally:
            close = getattr(stream, "aclose", None) or getattr(stream, "close", None)
            if close is not None:
                await close()


def _say_one(output: Output, one: Any) -> bool:
    """Say a text, or what a chunk means; whether it is one of them."""
    if one is None:
        return True
    if isinstance(one, str):
        if one:
            output.say({"kind": "text", "text": one})
        return True
    return output.chunk(one)


def _unknown(chunk: Any) -> TypeError:
    names = f"with {', '.join(map(str, chunk))}" if isinstance(chunk, Mapping) else f"of {type(chunk)}"
    return TypeError(
        f"it is not known what a chunk {names} means; "
        "say so with a rule: serve(…, rules=[{'when': …, 'text': …}]), or connect(…, mapping=[…])"
    )


def _nothing() -> None:
    """For what needs no closing."""
