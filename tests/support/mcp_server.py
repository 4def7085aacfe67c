"""A small MCP server: ``python mcp_server.py`` speaks by its pipes, with a PORT over HTTP."""

from __future__ import annotations

import asyncio
import os
import sys

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

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
