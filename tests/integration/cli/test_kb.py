"""``branchline kb``: a folder becomes a source, whose documents are listed, searched and removed."""

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


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, stack_redis: RedisServer
) -> Iterator[Stack]:
    with web_only(stack_on_sqlite(tmp_path_factory.mktemp("stack"), sqlite_template, stack_redis)) as stack:
        yield stack


@pytest.fixture
def kb(stack: Stack, client: Client, forks: Forks) -> Call:
    """Calls it with the account of the test."""
    token = client.post("/api/tokens").json()["token"]["secret"]

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return forks.call(("kb", *arguments), {**stack.environ, "BRANCHLINE_TOKEN": token}, "")

    return call


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder with two documents, and what is not to be read."""
    folder = tmp_path / "pets"
    (folder / "wild" / ".hidden").mkdir(parents=True)
    (folder / "cats.md").write_text("# Cats\n\nThey eat mice.\n")
    (folder / "wild" / "foxes.txt").write_text("Foxes steal geese.\n")
    (folder / "wild" / ".hidden" / "secret.md").write_text("secret")
    (folder / ".secret.md").write_text("secret")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "outside.md").write_text("secret")
    (folder / "link.md").symlink_to(tmp_path / "outside.md")
    return folder


def test_a_folder_is_added_listed_searched_and_removed(kb: Call, pets: Path) -> None:
    added = kb("add", str(pets))
    assert (added.returncode, added.stderr) == (0, "")
    assert added.stdout.splitlines() == ["[1/2] cats.md: 1 passage", "[2/2] wild/foxes.txt: 1 passage"]

    (pets / "cats.md").write_text("# Cats\n\nThey sleep.\n")
    again = kb("add", str(pets)).stdout.splitlines()
    assert again == ["[1/2] cats.md: 1 passage", "[2/2] wild/foxes.txt: unchanged"]

    assert kb("list").stdout == "pets  2 documents, 2 passages, english\n"
    assert kb("list", "pets").stdout == "cats.md  1 passage\nwild/foxes.txt  1 passage\n"
    assert kb("search", "goose geese").stdout == "[1] pets > wild/foxes.txt\nFoxes steal geese.\n\n"
    [found] = json.loads(kb("search", "sleep", "--source", "pets", "--json").stdout)["items"]
    assert (found["document"], found["titles"]) == ("cats.md", ["Cats"])
    assert kb("search", "secret").stdout == "Nothing was found.\n"

    assert kb("remove", "pets", "cats.md").stdout == "Removed cats.md.\n"
    assert kb("search", "sleep").stdout == "Nothing was found.\n"
    assert kb("remove", "pets").returncode == 0
    assert json.loads(kb("list", "--json").stdout) == {"items": []}


def test_what_cannot_be_read_is_named_and_the_rest_is_added(kb: Call, pets: Path) -> None:
    (pets / "broken.md").write_bytes(b"\xff\xfa\x80")
    (pets / "huge.txt").write_bytes(b"x" * ((4 << 20) + 1))
    added = kb("add", str(pets), "--source", "zoo", "--language", "simple")

    lines = added.stdout.splitlines()
    assert added.returncode == 1
    assert lines[0].startswith("[1/4] broken.md: failed: The document is not written in UTF-8")
    assert "[3/4] huge.txt: failed: it is larger than 4 MiB" in lines
    assert lines[-1] == "2 of 4 documents could not be added."
    assert kb("list").stdout == "zoo  2 documents, 2 passages, simple\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("remove", "nothing"), "no source nothing"),
        (("list", "nothing"), "no source nothing"),
        (("add", "--language", "klingon"), "language"),
    ],
    ids=["remove", "list", "language"],
)
def test_a_mistake_is_told_in_a_sentence(kb: Call, pets: Path, arguments: tuple[str, ...], told: str) -> None:
    result = kb(*arguments, *([str(pets)] if arguments[0] == "add" else []))

    assert result.returncode != 0
    assert told in result.stderr
    assert "Traceback" not in result.stderr
