"""``serve``: a worker of an agent that was made with another library."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .loader import SERVED, Function
from .messages import Json

if TYPE_CHECKING:
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

    function = adapt(agent, rules, input)
    module = sys._getframe(1).f_globals
    module[SERVED] = [*module.get(SERVED, ()), function]
    return function
