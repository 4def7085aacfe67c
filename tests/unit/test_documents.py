"""The documents lead somewhere: every link resolves, and the command line page names every command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from runtime.cli import branchline
from runtime.settings import CHECKOUT

_DOCS = CHECKOUT / "docs"
_PAGES = sorted([*CHECKOUT.glob("*.md"), *_DOCS.rglob("*.md")])
_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def relative_links(page: Path) -> Iterator[str]:
    text = _CODE.sub("", page.read_text())
    return (link for link in _LINK.findall(text) if not re.match(r"[a-z]+:", link))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of ``page``."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


def broken(page: Path) -> Iterator[str]:
    for link in relative_links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


def commands(command: click.Command, name: str = "branchline") -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name, groups first."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from commands(found, f"{name} {child}")


def sections(page: Path) -> dict[str, str]:
    """The text below each heading of the second level."""
    _, *parts = re.split(r"^## (.+)$", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_relative_link_of_a_page_resolves(page: Path) -> None:
    assert list(broken(page)) == []


def test_the_index_leads_to_every_page() -> None:
    index = _DOCS / "README.md"
    linked = {(_DOCS / link.partition("#")[0]).resolve() for link in relative_links(index)}
    assert set(_DOCS.rglob("*.md")) - {index} <= linked


@pytest.mark.parametrize(
    ("name", "command"), [pytest.param(*found, id=found[0]) for found in commands(branchline)]
)
def test_the_command_line_page_lists_a_command_with_its_options(name: str, command: click.Command) -> None:
    section = sections(_DOCS / "reference" / "cli.md")[name]
    options = [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
    assert [option for option in options if option not in section] == []
