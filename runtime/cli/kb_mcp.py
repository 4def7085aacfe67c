"""The knowledge base as an MCP server: what agents of other programs search and read in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated
from urllib.parse import quote

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from runtime.errors import BranchlineError
from runtime.model import Json
from runtime.thread_api.client import Api

_INSTRUCTIONS = (
    "The user's own documents. Search them before you answer a question about what they may be about, "
    "cite the document and headings of each passage that you use, and say so where nothing was found."
)


def serve(sign_in: Callable[[], Api]) -> None:
    """Serve until standard input ends."""
    server(sign_in).run()


def server(sign_in: Callable[[], Api]) -> MCPServer:
    """The server, which signs in when a tool is first called."""
    api = cache(sign_in)
    made: MCPServer = MCPServer("branchline knowledge base", instructions=_INSTRUCTIONS, log_level="WARNING")

    @made.tool()
    def search(
        query: Annotated[
            str, Field(description="Words; the passages that fit best have the rarest of them.")
        ],
        k: Annotated[int, Field(ge=1, le=50, description="How many passages.")] = 5,
        source: Annotated[
            str | None, Field(description="The name, or the id, of the only source to search.")
        ] = None,
    ) -> str:
        """Find the passages of the user's documents that fit a query best, the best first."""
        where = {} if source is None else {"source": _id_of(all_sources(), source)}
        found = _asked(lambda: api().get("/api/knowledge/search", q=query, k=k, **where)["items"])
        return _told(found) or "Nothing was found."

    @made.tool()
    def sources() -> str:
        """List the user's sources, each of which has documents that belong together."""
        listed = "\n".join(
            f"{one['name']} (source_id: {one['id']}, documents: {one['documents']}, {one['language']})"
            for one in all_sources()
        )
        return listed or "There are none."

    @made.tool()
    def read(
        source_id: Annotated[str, Field(description="As a search has shown it.")],
        document_id: Annotated[str, Field(description="As a search has shown it.")],
        first: Annotated[int, Field(ge=0, description="The position of the first passage.")] = 0,
        limit: Annotated[int, Field(ge=1, le=50, description="How many passages.")] = 5,
    ) -> str:
        """Read passages of a document in their order, such as those around one that was found."""
        path = f"/api/knowledge/sources/{quote(source_id, '')}/documents/{quote(document_id, '')}/passages"
        found = _asked(lambda: api().get(path, first=first, limit=limit)["items"])
        return _told(found) or "There are no more."

    def all_sources() -> list[dict[str, Json]]:
        return _asked(lambda: [*api().all("/api/knowledge/sources")])

    return made


def _asked(request: Callable[[], Json]) -> list[dict[str, Json]]:
    """The items that the API has answered. What it refuses is told to the model."""
    try:
        items: list[dict[str, Json]] = request()
    except BranchlineError as error:
        raise ToolError(str(error)) from error
    return items


def _id_of(sources: list[dict[str, Json]], wanted: str) -> str:
    """The id of the source of that name, or id. Raises ToolError."""
    for field in ("name", "id"):
        for one in sources:
            if one[field] == wanted:
                return str(one["id"])
    names = ", ".join(one["name"] for one in sources) or "none"
    raise ToolError(f"There is no source {wanted}; there are: {names}")


def _told(items: list[dict[str, Json]]) -> str:
    return "\n\n".join(
        f"[{' > '.join((one['source'], one['document'], *one['titles']))}]\n"
        f"source_id: {one['source_id']}, document_id: {one['document_id']}, position: {one['position']}\n"
        f"{one['text']}"
        for one in items
    )
