"""``branchline kb mcp``: the official client finds passages with it, and reads on."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.settings import CHECKOUT
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.frameworks import need
from tests.support.web_process import stack_on_sqlite, web_only

need("mcp")

pytestmark = pytest.mark.frameworks


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, stack_redis: RedisServer
) -> Iterator[Stack]:
    with web_only(stack_on_sqlite(tmp_path_factory.mktemp("stack"), sqlite_template, stack_redis)) as stack:
        yield stack


def called(stack: Stack, token: str, *calls: tuple[str, dict[str, Any]]) -> list[tuple[bool, str]]:
    """Whether each call of a tool has failed, and what it has told."""
    from mcp import Client as McpClient
    from mcp import StdioServerParameters, stdio_client

    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "runtime", "kb", "mcp"],
        env={**stack.environ, "BRANCHLINE_TOKEN": token},
        cwd=CHECKOUT,
    )

    async def call() -> list[tuple[bool, str]]:
        async with asyncio.timeout(60), McpClient(stdio_client(server)) as client:
            tools = await client.list_tools()
            assert {tool.name for tool in tools.tools} == {"search", "sources", "read"}
            told = []
            for name, arguments in calls:
                result = await client.call_tool(name, arguments)
                told.append((bool(result.is_error), "".join(part.text for part in result.content)))
            return told

    return asyncio.run(call())


def test_passages_are_found_and_read(stack: Stack, client: Client) -> None:
    token = client.post("/api/tokens").json()["token"]["secret"]
    made = client.post("/api/knowledge/sources", json={"name": "pets"}).json()["source"]["id"]
    text = b"# Cats\n\nThey eat mice.\n\n## Sleep\n\nThey sleep all day.\n"
    path = f"/api/knowledge/sources/{made}/documents"
    client.post(path, files={"file": ("cats.md", text)}).raise_for_status()

    [(_, listed), (failed, found), (wrong, which), (_, nothing), (refused, why)] = called(
        stack,
        token,
        ("sources", {}),
        ("search", {"query": "mice", "source": "pets"}),
        ("search", {"query": "mice", "source": "cars"}),
        ("search", {"query": "unicorn"}),
        ("read", {"source_id": made, "document_id": "../../.."}),
    )
    assert listed == f"pets (source_id: {made}, documents: 1, english)"
    assert wrong and "There is no source cars; there are: pets" in which
    assert not failed
    assert found.startswith("[pets > cats.md > Cats]\n")
    assert found.endswith("position: 0\nThey eat mice.")
    assert nothing == "Nothing was found."
    assert refused and "404" not in why

    [document] = re.findall(r"document_id: ([\w-]+)", found)
    [(_, again), (_, read), (_, end)] = called(
        stack,
        token,
        ("search", {"query": "mice", "source": made}),
        ("read", {"source_id": made, "document_id": document, "first": 1}),
        ("read", {"source_id": made, "document_id": document, "first": 2}),
    )
    assert again == found
    assert read.endswith("They sleep all day.")
    assert end == "There are no more."


def test_without_an_account_the_tool_says_so(stack: Stack) -> None:
    [(failed, told)] = called(stack, "bl_wrong", ("search", {"query": "mice"}))

    assert failed
    assert "Traceback" not in told
