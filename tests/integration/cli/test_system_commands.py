"""``branchline system check``: what is wrong with a file, in words and by the exit code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.forked import Forks
from tests.support.web_process import stack_on_sqlite, web_only

Call = Callable[..., "subprocess.CompletedProcess[str]"]

NEWSROOM = """
name = "newsroom"

[[entities]]
name = "writer"
worker_id = "echo"
entry = true

[[entities]]
name = "critic"
worker_id = "echo"

[[channels]]
from = "writer"
to = "critic"
kind = "query"
"""
BACK = '\n[[channels]]\nfrom = "critic"\nto = "writer"\nkind = "query"\n'


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_template: Path,
    stack_redis: RedisServer,
) -> Iterator[Stack]:
    with web_only(stack_on_sqlite(tmp_path_factory.mktemp("stack"), sqlite_template, stack_redis)) as stack:
        yield stack


@pytest.fixture
def system(stack: Stack, client: Client, forks: Forks) -> Call:
    """Calls it with the account of the test."""
    token = client.post("/api/tokens").json()["token"]["secret"]

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return forks.call(("system", *arguments), {**stack.environ, "BRANCHLINE_TOKEN": token}, "")

    return call


def test_a_file_is_checked(system: Call, tmp_path: Path) -> None:
    file = tmp_path / "newsroom.toml"
    file.write_text(NEWSROOM)
    right = system("check", str(file))
    assert (right.returncode, right.stdout) == (0, f"{file}: 0 errors, 0 warnings\n")

    file.write_text(NEWSROOM + BACK)
    wrong = system("check", str(file))
    assert wrong.returncode == 1
    assert wrong.stdout.startswith("error: channels.1: writer and critic ask each other without end.")
    assert wrong.stdout.endswith(f"(query_cycle)\n{file}: 1 error, 0 warnings\n")
    [problem] = json.loads(system("check", str(file), "--json").stdout)["problems"]
    assert problem["path"] == "channels.1"


def test_a_file_that_is_no_definition_is_refused(system: Call, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("name = ")
    assert "is neither TOML nor JSON" in system("check", str(tmp_path / "a.toml")).stderr

    (tmp_path / "a.json").write_text('{"name": "a", "entities": [{"name": "A B", "worker_id": "echo"}]}')
    refused = system("check", str(tmp_path / "a.json"))
    assert refused.returncode == 1
    assert "entities.0.name: must be 1 to 64" in refused.stderr
