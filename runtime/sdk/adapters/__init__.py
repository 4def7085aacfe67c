"""Agents of other libraries as workers.

Imported by :func:`runtime.sdk.serve`, :func:`runtime.sdk.connect` and :meth:`runtime.sdk.Run.mcp`
only. A library's own adapter is imported where an agent of that library is served, so the
library is there already.

::

    rules      what a chunk of a shape means, as data
    shapes     the rules of the chunks that are known
    output     says what chunks mean, in the run
    function, … one file a kind of agent
    interpreter objects with a method chat
    mcp_servers tools of other programs, for any worker
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from ..loader import Function
from ..messages import Json
from .rules import Rule

_LIBRARIES = (
    ("langgraph.pregel", "Pregel", "langgraph_graph"),
    ("langgraph.graph", "StateGraph", "langgraph_graph"),
    ("agents", "Agent", "openai_agent"),
    ("pydantic_ai.agent", "AbstractAgent", "pydantic_agent"),
    ("langchain_core.runnables", "Runnable", "runnable"),
)
"""The module and the class that an agent is one of, and our module for it. The first that fits counts."""

_TAKES = (
    "a LangGraph graph, an Agent of OpenAI Agents or of pydantic-ai, a LangChain Runnable, "
    "or a function that is given the run and streams"
)


def adapt(agent: Any, rules: Iterable[Mapping[str, Json]], input: Callable[[Any], Any] | None) -> Function:
    """The worker's function that executes ``agent``. Raises TypeError where it is of no known kind."""
    checked = tuple(Rule.made_of(rule) for rule in rules)
    for library, name, ours in _LIBRARIES:
        kind = getattr(sys.modules.get(library), name, None)  # not loaded: then it is none of that
        if kind is not None and isinstance(agent, kind):
            adapter = import_module(f"{__name__}.{ours}")
            return adapter.worker(agent, checked, input)  # type: ignore[no-any-return]
    if callable(agent) and not isinstance(agent, type):
        from . import function

        return function.worker(agent, checked, input)
    kind = agent if isinstance(agent, type) else type(agent)
    what = "the class" if isinstance(agent, type) else "an object of"
    raise TypeError(f"serve() takes {_TAKES}; this is {what} {kind.__module__}.{kind.__qualname__}")
