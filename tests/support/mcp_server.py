"""A small MCP server: ``python mcp_server.py`` speaks by its pipes, with a PORT over HTTP."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Annotated

from mcp.server.mcpserver import AcceptedElicitation, Elicit, ElicitationResult, MCPServer, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

server = MCPServer("numbers")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def environment(name: str) -> str:
    """A variable of the server's environment."""
    return os.environ.get(name, "")


@server.tool()
def pid() -> int:
    """The server's process."""
    return os.getpid()


@server.tool()
def refuse() -> str:
    """Fail."""
    raise ToolError("out of ink")


class Seat(BaseModel):
    """What is asked before a table is booked."""

    name: str
    guests: int = 2


def for_whom(place: str) -> Elicit[Seat]:
    """Ask the user."""
    return Elicit(f"For whom, at {place}?", Seat)


@server.tool()
def book(place: str, answer: Annotated[ElicitationResult[Seat], Resolve(for_whom)]) -> str:
    """Book a table, for whom the user says."""
    if not isinstance(answer, AcceptedElicitation):
        return f"{answer.action}d"
    return f"{answer.data.guests} at {place} for {answer.data.name}"


@server.tool(name="sleep.long")
async def sleep() -> str:
    """Take longer than anybody waits."""
    await asyncio.sleep(600)
    return "rested"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run()
