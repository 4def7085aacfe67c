"""The documents are true: links resolve, files exist, and what is listed is what there is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from runtime.cli import branchline
from runtime.registry import load
from runtime.sdk.adapters.rules import Rule
from runtime.settings import CHECKOUT

_DOCS = CHECKOUT / "docs"
_PAGES = sorted([*CHECKOUT.glob("*.md"), *_DOCS.rglob("*.md")])
_CURRENT = [page for page in _PAGES if page.name != "CHANGELOG.md"]
"""Pages about this version; the changelog names files of former ones."""
_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_FILE = re.compile(r"\b(?:bench|config|docs|runtime|tests|web)/[\w./-]+\.(?:json|lua|md|py|toml|tsx?)\b")
_GENERATED = {"web/ui/openapi.json", "web/ui/client/src/api/schema.d.ts"}
_BEGINNING = 80
"""Characters by which two entries of the changelog are one and the same."""
_REQUIREMENT = re.compile(r"[\w-]+")


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


def setup() -> ConfigParser:
    parser = ConfigParser()
    parser.read(CHECKOUT / "setup.cfg")
    return parser


def requirements() -> Iterator[str]:
    """The name of every package in setup.cfg, extras included."""
    parser = setup()
    for text in [parser["options"]["install_requires"], *parser["options.extras_require"].values()]:
        yield from (_REQUIREMENT.match(line)[0] for line in text.split("\n") if line)


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_relative_link_of_a_page_resolves(page: Path) -> None:
    assert list(broken(page)) == []


@pytest.mark.parametrize("page", _CURRENT, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_source_file_that_a_page_names_exists(page: Path) -> None:
    named = set(_FILE.findall(page.read_text())) - _GENERATED
    assert {name for name in named if not (CHECKOUT / name).exists()} == set()


def test_every_test_that_the_security_page_names_exists() -> None:
    named = re.findall(
        r"(tests/[\w/.]+\.py)(?:::(\w+))?", (_DOCS / "explanation" / "security.md").read_text()
    )
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (CHECKOUT / file).exists() or (test and f"def {test}(" not in (CHECKOUT / file).read_text())
    ]
    assert len(named) > 40
    assert missing == []


def test_the_index_leads_to_every_page() -> None:
    index = _DOCS / "README.md"
    linked = {(_DOCS / link.partition("#")[0]).resolve() for link in relative_links(index)}
    assert set(_DOCS.rglob("*.md")) - {index} <= linked


@pytest.mark.parametrize("name", [name for name, _ in commands(branchline)])
def test_the_command_line_page_has_the_help_of_a_command(name: str) -> None:
    section = sections(_DOCS / "reference" / "cli.md")[name]
    words = [*name.split()[1:], "--help"]
    shown = CliRunner().invoke(branchline, words, prog_name="branchline", terminal_width=100)
    assert section.strip() == f"```\n{shown.output.strip()}\n```"


def test_the_dependencies_page_says_why_of_every_package() -> None:
    page = (_DOCS / "explanation" / "dependencies.md").read_text().lower()
    assert [name for name in requirements() if name.lower() not in page] == []


def test_the_architecture_page_lists_the_layers_of_import_linter() -> None:
    layers = setup()["importlinter:contract:layers"]["layers"].strip().split("\n")
    rows = re.findall(r"^\| \d+ \| (.+) \|$", (_DOCS / "architecture.md").read_text(), re.MULTILINE)
    assert [re.findall(r"`(\w+)`", row) for row in rows] == [layer.split(" : ") for layer in layers]


def test_the_changelog_has_each_entry_once() -> None:
    lines = (CHECKOUT / "CHANGELOG.md").read_text().split("\n")
    beginnings = Counter(line[:_BEGINNING] for line in lines if line.startswith("- "))
    assert [beginning for beginning, times in beginnings.items() if times > 1] == []


def test_the_page_of_workers_says_which_of_them_take_files() -> None:
    [(takers, *others)] = re.findall(
        r"^(.+) give their models the pictures.+?"
        r" `(\w+)` takes texts, PDF and Word documents, and archives,"
        r" `(\w+)` takes texts, and `(\w+)` takes any file;",
        (_DOCS / "reference" / "workers.md").read_text(),
        re.MULTILINE,
    )
    workers = [load(manifest.parent) for manifest in CHECKOUT.glob("workers/*/worker.toml")]
    assert {*re.findall(r"`(\w+)`", takers), *others} == {worker.id for worker in workers if worker.accepts}


def test_the_page_of_javascript_says_that_all_rules_are_there() -> None:
    assert "All rules of Python are there" in (_DOCS / "reference" / "sdk-javascript.md").read_text()
    source = (CHECKOUT / "runtime" / "node_sdk" / "rules.js").read_text()
    there = re.findall(r'"(\w+)"', source[: source.index("];")])
    assert sorted(there) == sorted(field.name for field in fields(Rule))
