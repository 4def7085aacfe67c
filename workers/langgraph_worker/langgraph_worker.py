"""An agent of LangGraph: a model that may ask for the time."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

try:
    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode, tools_condition
except ImportError as error:
    raise ImportError(
        f"the library {(error.name or 'langgraph').partition('.')[0]} is not installed where the pool runs; "
        "install it there: pip install langgraph langchain-openai"
    ) from error

from runtime.sdk import serve


@tool
def clock() -> str:
    """The date and time now, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


model = ChatOpenAI(model=os.environ.get("OPENAI_MODEL") or "gpt-5.4-mini").bind_tools([clock])


async def answer(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """Answer, or call the tool."""
    told = config["configurable"].get("system_prompt")
    messages = [("system", told), *state["messages"]] if told else state["messages"]
    return {"messages": [await model.ainvoke(messages, config)]}


graph = StateGraph(MessagesState).add_node(answer).add_node("tools", ToolNode([clock]))
graph.add_edge(START, "answer").add_conditional_edges("answer", tools_condition).add_edge("tools", "answer")

serve(graph)
