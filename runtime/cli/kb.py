"""``branchline kb``: the knowledge base, as a client of the API.

Folders are read here, on the machine of whoever calls it, and their documents sent one by one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from runtime.cli import extras
from runtime.cli.kb_add import Target, documents
from runtime.cli.output import as_json, counted, print_json, say
from runtime.cli.sign_in import as_account, sign_in
from runtime.errors import Invalid, NotFound
from runtime.logs import printable
from runtime.thread_api.client import Api

_SOURCES = "/api/knowledge/sources"


class _PathOrAddress(click.Path):
    """A path that is there, or the address of a web page, as text."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        is_address = isinstance(value, str) and value.lower().startswith(("http://", "https://"))
        return value if is_address else super().convert(value, parameter, context)


@click.group()
def kb() -> None:
    """Fill and search your knowledge base."""


@kb.command("add")
@click.argument("what", metavar="PATH|ADDRESS", type=_PathOrAddress(exists=True, path_type=Path))
@click.option(
    "--source", metavar="NAME", help="Where to (default: the name of PATH, or the host); made if it is new."
)
@click.option("--language", default="english", show_default=True, help="Of a source that is made.")
@click.option("--project", metavar="LABEL", help="Of a source that is made; others do not search it.")
@as_account
def add(
    what: Path | str,
    source: str | None,
    language: str,
    project: str | None,
    url: str | None,
    email: str | None,
    token: str | None,
) -> None:
    """Add the documents of a folder to a source, one file, or a web page.

    Of a folder those are added that end in .md, .markdown, .mdx, .html, .htm, .xhtml, .txt,
    .rst, .pdf or .docx, folders within it included, but for what is hidden and for symbolic
    links. What has changed is replaced; what has not is not read again. PDF and Word documents
    and the page at an ADDRESS (https://...) are read by a run of the worker ingest, so a pool has
    to be there. The exit code is 0 if all of them could be added, else 1.
    """
    found = [what] if isinstance(what, str) else list(documents(what))
    if not found:
        raise Invalid(f"{what} has no document that can be read.")
    api = sign_in(url, email, token)
    source_id = _made_source(api, source or _name_of(what), language, project)
    failed = 0
    for place, outcome in enumerate(Target(api, f"{_SOURCES}/{source_id}").add(found), 1):
        failed += outcome.failed
        say(f"[{place}/{len(found)}] {outcome.name}: {outcome.told}")
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
    found = list(api.all(path))
    if json:
        return print_json({"items": found})
    if not found:
        say("There is nothing yet. Add a folder: branchline kb add PATH")
    for one in found:
        about = counted(one["passages"], "passage")
        if source is None:
            about = f"{counted(one['documents'], 'document')}, {about}, {one['language']}"
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
    answer = api.get("/api/knowledge/search", q=query, k=k, **where)
    found, vectors = answer["items"], answer.get("vectors")
    if json:
        return print_json({"items": found, "vectors": vectors})
    if vectors == "unavailable":
        say("By words alone, for the embeddings endpoint does not answer:")
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
        found = (one["id"] for one in api.all(f"{path}/documents") if one["name"] == document)
        if (document_id := next(found, None)) is None:
            raise NotFound(f"{source} has no document {document}; see: branchline kb list {source}")
        path = f"{path}/documents/{document_id}"
    api.delete(path)
    say(f"Removed {document or source}.")


@kb.command("mcp")
@as_account
def mcp(url: str | None, email: str | None, token: str | None) -> None:
    """Serve the knowledge base as an MCP server, on standard input and output.

    An agent of another program starts it, and has three tools then: "sources" lists
    what there is, "search" finds passages, "read" reads on in a document. It signs in
    when a tool is first called.
    """
    extras.require("kb mcp", "mcp")
    from runtime.cli.kb_mcp import serve

    serve(lambda: sign_in(url, email, token))


def _name_of(what: Path | str) -> str:
    """Of the source that is made for what is at a path, or at an address."""
    return urlsplit(what).hostname or what if isinstance(what, str) else what.resolve().name


def _made_source(api: Api, name: str, language: str, project: str | None) -> str:
    """The id of the source of that name, which is made if there is none."""
    try:
        return _id_of(api, name)
    except NotFound:
        made = api.post(_SOURCES, {"name": name, "language": language, "project_id": project})
        return str(made["source"]["id"])


def _id_of(api: Api, name: str) -> str:
    for one in api.all(_SOURCES):
        if one["name"] == name:
            return str(one["id"])
    raise NotFound(f"You have no source {name}; see: branchline kb list")


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
