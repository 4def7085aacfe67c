"""An assistant that can add, as a graph of LangGraph."""

from __future__ import annotations

import os
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from runtime.sdk import serve


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def model() -> BaseChatModel:
    """The model that answers."""
    return ChatOpenAI(model=os.environ.get("OPENAI_MODEL") or "gpt-5.4-mini")


async def answer(state: MessagesState) -> dict[str, Any]:
    """Answer, or call a tool."""
    return {"messages": [await model().bind_tools([add]).ainvoke(state["messages"])]}


graph = StateGraph(MessagesState)
graph.add_node("answer", answer)
graph.add_node("tools", ToolNode([add]))
graph.add_edge(START, "answer")
graph.add_conditional_edges("answer", tools_condition)
graph.add_edge("tools", "answer")

run = serve(graph)
