"""``branchline kb``: the knowledge base, as a client of the API.

Folders are read here, on the machine of whoever calls it, and their documents sent one by one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from runtime.cli import extras
from runtime.cli.output import as_json, print_json, say
from runtime.cli.sign_in import as_account, sign_in
from runtime.errors import Invalid, NotFound
from runtime.logs import printable
from runtime.model import Json
from runtime.thread_api.client import Api, Refused

_ENDINGS = frozenset({".md", ".markdown", ".mdx", ".html", ".htm", ".xhtml", ".txt", ".rst"})
_LARGEST = 4 << 20
"""Bytes that the server takes; a larger file is not even read."""
_SOURCES = "/api/knowledge/sources"
_PAGE = 100


@click.group()
def kb() -> None:
    """Fill and search your knowledge base."""


@kb.command("add")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--source", metavar="NAME", help="Where to (default: the name of PATH); made if it is new.")
@click.option("--language", default="english", show_default=True, help="Of a source that is made.")
@click.option("--project", metavar="LABEL", help="Of a source that is made; others do not search it.")
@as_account
def add(
    path: Path,
    source: str | None,
    language: str,
    project: str | None,
    url: str | None,
    email: str | None,
    token: str | None,
) -> None:
    """Add the documents of the folder PATH to a source, or one file.

    Of a folder those are added that end in .md, .markdown, .mdx, .html, .htm, .xhtml, .txt
    or .rst, folders within it included, but for what is hidden and for symbolic links. What
    has changed is replaced; what has not is not read again. The exit code is 0 if all of
    them could be added, else 1.
    """
    found = list(_documents(path))
    if not found:
        raise Invalid(f"{path} has no document that can be read.")
    api = sign_in(url, email, token)
    source_id = _made_source(api, source or path.resolve().name, language, project)
    failed = 0
    for number, (name, file) in enumerate(found, 1):
        try:
            told = _add(api, source_id, name, file)
        except (Refused, Invalid, OSError) as error:
            failed += 1
            told = f"failed: {error}"
        say(f"[{number}/{len(found)}] {name}: {told}")
    if failed:
        say(f"{failed} of {len(found)} documents could not be added.")
    raise SystemExit(1 if failed else 0)


@kb.command("list")
@click.argument("source", required=False)
@as_account
@as_json
def listing(source: str | None, url: str | None, email: str | None, token: str | None, json: bool) -> None:
    """List your sources, or the documents of SOURCE."""
    api = sign_in(url, email, token)
    path = _SOURCES if source is None else f"{_SOURCES}/{_id_of(api, source)}/documents"
    found = list(_all(api, path))
    if json:
        return print_json({"items": found})
    if not found:
        say("There is nothing yet. Add a folder: branchline kb add PATH")
    for one in found:
        about = _number(one["passages"], "passage")
        if source is None:
            about = f"{_number(one['documents'], 'document')}, {about}, {one['language']}"
        say(f"{one['name']}  {about}")


@kb.command("search")
@click.argument("query")
@click.option("-k", default=5, show_default=True, type=click.IntRange(1, 50), help="How many passages.")
@click.option("--source", metavar="NAME", help="In this source only.")
@as_account
@as_json
def search(
    query: str,
    k: int,
    source: str | None,
    url: str | None,
    email: str | None,
    token: str | None,
    json: bool,
) -> None:
    """Show the passages that fit QUERY best, the best first."""
    api = sign_in(url, email, token)
    where = {} if source is None else {"source": _id_of(api, source)}
    found = api.get("/api/knowledge/search", q=query, k=k, **where)["items"]
    if json:
        return print_json({"items": found})
    if not found:
        say("Nothing was found.")
    for number, one in enumerate(found, 1):
        say(f"[{number}] {' > '.join((one['source'], one['document'], *one['titles']))}")
        click.echo(f"{_highlighted(one['text'], one['marks'])}\n")


@kb.command("remove")
@click.argument("source")
@click.argument("document", required=False)
@as_account
def remove(source: str, document: str | None, url: str | None, email: str | None, token: str | None) -> None:
    """Remove SOURCE with all its documents, or one DOCUMENT of it."""
    api = sign_in(url, email, token)
    path = f"{_SOURCES}/{_id_of(api, source)}"
    if document is not None:
        found = (one["id"] for one in _all(api, f"{path}/documents") if one["name"] == document)
        if (document_id := next(found, None)) is None:
            raise NotFound(f"{source} has no document {document}; see: branchline kb list {source}")
        path = f"{path}/documents/{document_id}"
    api.delete(path)
    say(f"Removed {document or source}.")


@kb.command("mcp")
@as_account
def mcp(url: str | None, email: str | None, token: str | None) -> None:
    """Serve the knowledge base as an MCP server, on standard input and output.

    An agent of another program starts it, and has two tools then: "search" finds
    passages, "read" reads on in a document. It signs in when a tool is first called.
    """
    extras.require("kb mcp", "mcp")
    from runtime.cli.kb_mcp import serve

    serve(lambda: sign_in(url, email, token))


def _documents(path: Path) -> Iterator[tuple[str, Path]]:
    """The documents at a path, and what each is called within their source."""
    if path.is_file():
        yield path.name, path
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(Path(folder, name) for name in files if not name.startswith(".")):
            if file.suffix.lower() in _ENDINGS and not file.is_symlink() and file.is_file():
                name = os.fsencode(file.relative_to(path)).decode("utf-8", "replace")
                yield name.replace(os.sep, "/"), file


def _add(api: Api, source_id: str, name: str, file: Path) -> str:
    """Add one document; what has become of it."""
    if file.stat().st_size > _LARGEST:
        raise Invalid(f"it is larger than {_LARGEST >> 20} MiB")
    answer = api.upload(f"{_SOURCES}/{source_id}/documents", file.read_bytes(), name=name)
    return _number(answer["document"]["passages"], "passage") if answer["changed"] else "unchanged"


def _made_source(api: Api, name: str, language: str, project: str | None) -> str:
    """The id of the source of that name, which is made if there is none."""
    try:
        return _id_of(api, name)
    except NotFound:
        made = api.post(_SOURCES, {"name": name, "language": language, "project_id": project})
        return str(made["source"]["id"])


def _id_of(api: Api, name: str) -> str:
    for one in _all(api, _SOURCES):
        if one["name"] == name:
            return str(one["id"])
    raise NotFound(f"You have no source {name}; see: branchline kb list")


def _all(api: Api, path: str) -> Iterator[dict[str, Json]]:
    """All items of a list, page by page."""
    cursor: dict[str, Json] = {}
    while True:
        page = api.get(path, limit=_PAGE, **cursor)
        yield from page["items"]
        if page["next"] is None:
            return
        cursor = {"cursor": page["next"]}


def _number(number: int, of: str) -> str:
    return f"{number} {of}{'' if number == 1 else 's'}"


def _highlighted(text: str, marks: list[list[int]]) -> str:
    """The text, with what was found in bold on a terminal."""
    parts, place = [], 0
    for start, end in marks:
        parts += [
            printable(text[place:start], prose=True),
            click.style(printable(text[start:end]), bold=True),
        ]
        place = end
    return "".join([*parts, printable(text[place:], prose=True)])
