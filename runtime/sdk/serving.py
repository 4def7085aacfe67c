"""``serve`` and ``connect``: a worker of an agent that was made with another library."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .loader import SERVED, Function
from .messages import Json

if TYPE_CHECKING:
    from .interpreter import MappingRule
    from .run import Run


def serve(
    agent: Any,
    *,
    rules: Iterable[Mapping[str, Json]] = (),
    input: Callable[[Run], Any] | None = None,
) -> Function:
    """Make ``agent`` the worker of the file that calls this, and return the worker's function.

    ``agent``: a LangGraph graph, an Agent of OpenAI Agents or of pydantic-ai, a LangChain Runnable,
    or a function that is given the run and streams: text, or the chunks of a library.

    ``rules``: what chunks mean that are not known yet (:class:`runtime.sdk.adapters.rules.Rule`);
    they come before the known ones. ``input``: makes of the run what the agent is given; without
    it that is the conversation.

    Raises TypeError for anything else.
    """
    from .adapters import adapt

    return _worker_of(sys._getframe(1).f_globals, adapt(agent, rules, input))


def connect(
    interpreter: Any,
    *,
    mapping: Iterable[MappingRule] = (),
    rules: Iterable[Mapping[str, Json]] = (),
    input: Callable[[Run], Any] | None = None,
) -> Function:
    """Make an object with a method ``chat`` the worker of the file that calls this, as ``serve`` does.

    ``interpreter``: what :class:`runtime.sdk.InterpreterABC` says, of whatever class.

    ``mapping``: where its chunks have something under another name. ``rules``: what other chunks
    mean, as for :func:`serve`. ``input``: makes of the run what ``chat`` is given.

    Raises TypeError that names what is missing.
    """
    from .adapters import interpreter as interpreters
    from .adapters.rules import Rule

    checked = tuple(Rule.made_of(rule) for rule in rules)
    function = interpreters.worker(interpreter, mapping, checked, input)
    return _worker_of(sys._getframe(1).f_globals, function)


def _worker_of(module: dict[str, Any], function: Function) -> Function:
    module[SERVED] = [*module.get(SERVED, ()), function]
    return function
