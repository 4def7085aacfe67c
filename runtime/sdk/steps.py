"""Durable steps: what was done once is not done again in a later attempt."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn

from .errors import Failure
from .messages import Json

if TYPE_CHECKING:
    from .wire import Connection

MAX_VALUE = 1 << 20
"""Bytes that one result may have, as JSON."""

_ASYNC = "async:"
"""How the digest of a step begins whose function is to be awaited."""
_COROUTINE = 0x80
"""The flag of a code object (``inspect.CO_COROUTINE``)."""


class Step:
    """A step whose function is being called."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.usage: dict[str, Json] = {}
        """What its function says that it has used."""


_current: ContextVar[Step | None] = ContextVar("branchline_step", default=None)


def current_step() -> Step | None:
    """The step in whose function we are."""
    return _current.get()


class Steps:
    """The durable steps of one run."""

    def __init__(self, saved: Mapping[str, Json], digests: Mapping[str, str], wire: Connection) -> None:
        """``saved`` by earlier attempts, with the ``digests`` of what was asked, by key."""
        self._saved = dict(saved)
        self._digests = dict(digests)
        self._wire = wire
        self._counts: dict[str, int] = {}

    def has(self, key: str) -> bool:
        """Whether the step was taken."""
        return key in self._saved

    def once(self, key: Any, function: Callable[..., Any] | None, args: Any, kwargs: Any) -> Any:
        """See :meth:`runtime.sdk.run.Run.once`."""
        if callable(key):
            return self._decorated(None, key)
        if key is not None and not (isinstance(key, str) and 0 < len(key) <= 200):
            raise ValueError("the key of a step is a text of 1 to 200 characters")
        if function is None:
            return lambda function: self._decorated(key, function)
        return self._execute(key or self._next_key(function), function, args, kwargs)

    def _decorated(self, key: str | None, function: Callable[..., Any]) -> Callable[..., Any]:
        import functools

        @functools.wraps(function)
        def step(*args: Any, **kwargs: Any) -> Any:
            return self._execute(key or self._next_key(function), function, args, kwargs)

        return step

    def _next_key(self, function: Callable[..., Any]) -> str:
        name = getattr(function, "__name__", type(function).__name__)
        self._counts[name] = self._counts.get(name, 0) + 1
        return f"{name}#{self._counts[name]}"

    def _execute(self, key: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if current_step() is not None:
            raise RuntimeError(f"the step {key!r} is within another one; take one after the other")
        digest = _digest(args, kwargs)
        if key in self._saved:
            kept = self._digests.get(key) or ""
            if kept.removeprefix(_ASYNC) != digest:
                raise Failure(f"The step {key!r} was taken before with other arguments.")
            value = _copy(self._saved[key])
            return _later(value) if kept.startswith(_ASYNC) or _is_async(function) else value
        step = Step(key)
        token = _current.set(step)
        try:
            result = function(*args, **kwargs)
        finally:
            _current.reset(token)
        if hasattr(result, "__await__"):
            return self._await(step, digest, result)
        answer = self._wire.ask(_line(step, result, digest), ("save", key))
        return self._keep(step, answer, result, digest)

    async def _await(self, step: Step, digest: str, pending: Any) -> Any:
        digest = _ASYNC + digest
        token = _current.set(step)
        try:
            result = await pending
        finally:
            _current.reset(token)
        answer = await self._wire.ask_async(_line(step, result, digest), ("save", step.key))
        return self._keep(step, answer, result, digest)

    def _keep(self, step: Step, answer: Mapping[str, Json], result: Any, digest: str) -> Any:
        """What counts as the result, as JSON reads it."""
        if answer.get("type") == "refused":
            raise Failure(f"The step {step.key!r} is not saved: {answer.get('message')}.")
        value = answer["value"] if "value" in answer else _copy(result)
        self._saved[step.key], self._digests[step.key] = value, digest
        return _copy(value)


async def _later(value: Json) -> Json:
    return value


def _line(step: Step, result: Any, digest: str) -> bytes:
    if hasattr(result, "__next__") or hasattr(result, "__aiter__"):
        raise TypeError(f"the step {step.key!r} must return its result, not yield it")
    try:
        value = json.dumps(result, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"the result of the step {step.key!r} is no JSON: {error}") from error
    if len(value) > MAX_VALUE:
        raise ValueError(f"the result of the step {step.key!r} is larger than {MAX_VALUE} bytes of JSON")
    rest = {"digest": digest, "usage": step.usage or None}
    return f'{{"type":"save","key":{json.dumps(step.key)},"value":{value},{json.dumps(rest)[1:]}\n'.encode()


def _copy(value: Json) -> Json:
    """As JSON reads it; what a worker changes in it is not changed in what is kept."""
    return json.loads(json.dumps(value))


def digest_of(value: Json) -> str:
    """What stands for a value of JSON. Raises TypeError and ValueError where it is none."""
    import hashlib

    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _digest(args: Any, kwargs: Any) -> str:
    """Of the arguments, as far as they are JSON."""
    if not args and not kwargs:
        return "-"
    try:
        return digest_of([args, kwargs])
    except (TypeError, ValueError):
        return "-"


def _is_async(function: Any) -> bool:
    """Whether it is one of ``async def``, without calling it."""
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None) or getattr(
        vars(type(function)).get("__call__"), "__code__", None
    )
    return bool(code and code.co_flags & _COROUTINE)


def refuse_within(what: str) -> None:
    """Raise RuntimeError where we are in the function of a step."""
    step = current_step()
    if step is not None:
        _refuse(step, what)


def _refuse(step: Step, what: str) -> NoReturn:
    raise RuntimeError(
        f"{what} within the step {step.key!r} would be missing in a later attempt, "
        "which does not call its function again; return it, and do it after the step"
    )
