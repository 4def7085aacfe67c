"""Query parameters."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from runtime.model import RunStatus, ThreadStatus
from runtime.transfer.kinds import Id, one_of, says, text
from web.api.schemas.inputs import MAX_WAIT
from web.api.schemas.query_kinds import QueryInteger, QueryNumber, Switch

MAX_PAGE = 1000


class Query(ma.Schema):
    """Query parameters; unknown ones are ignored."""

    class Meta:
        unknown = ma.EXCLUDE


class Limited(Query):
    """Which page of a list."""

    limit = QueryInteger(load_default=20, validate=validate.Range(1, MAX_PAGE))
    cursor = fields.String(load_default=None, metadata=says("`next` of the page before"))


class ThreadsQuery(Limited):
    """Which threads."""

    query = text(
        500,
        load_default=None,
        metadata=says(
            "words that the title and one message have together, in any order, also as parts of words; "
            '"in quotation marks" a phrase. Case and accents make no difference'
        ),
    )
    status = one_of(ThreadStatus, load_default=None, metadata=says("default: active"))

    @ma.pre_load
    def _expand_short_names(self, values: Any, **_: Any) -> Any:
        return _renamed(values, {"q": "query", "search": "query"})


class TrashQuery(Limited):
    """Which deleted threads."""


class FilesQuery(Limited):
    """Which files."""


class NewFileQuery(Query):
    """What a run makes."""

    name = text(1000, required=True, metadata=says("what the file is called"))
    type = text(
        200,
        load_default=None,
        metadata=says(
            "what it is, as `text/csv`; counts only where the content may be of several kinds of text"
        ),
    )


class TreeQuery(Limited):
    """How much of the tree."""

    limit = QueryInteger(load_default=200, validate=validate.Range(1, MAX_PAGE))
    structure = Switch("only ids and parents, of the whole tree")


class HistoryQuery(Limited):
    """Which window of the history."""

    limit = QueryInteger(load_default=50, validate=validate.Range(1, MAX_PAGE))
    runs = Switch("also the runs that fill these states")


class WorkerHistoryQuery(Limited):
    """Which window of the history."""

    limit = QueryInteger(
        load_default=None,
        validate=validate.Range(1, MAX_PAGE),
        metadata=says("default: as many as the worker is started with"),
    )


class SnapshotQuery(Query):
    """Which branch, and how much of it."""

    state = Id(load_default=None, metadata=says("default: the state created last"))
    limit = QueryInteger(load_default=50, validate=validate.Range(1, MAX_PAGE))


class ExportQuery(Query):
    """In which form."""

    format = one_of(
        ("json", "markdown", "zip"),
        load_default="json",
        metadata=says("`zip`: JSON, and the contents of the files that it names"),
    )
    state = Id(load_default=None, metadata=says("the end of a path; default: the state created last"))
    scope = one_of(
        ("path", "tree"),
        load_default=None,
        metadata=says("default: the path if `state` is given or for markdown, else the whole tree"),
    )


class RunsQuery(Limited):
    """Which runs."""

    status = one_of(RunStatus, load_default=None)
    worker_id = fields.String(load_default=None)
    thread_id = Id(load_default=None)

    @ma.pre_load
    def _expand_short_names(self, values: Any, **_: Any) -> Any:
        return _renamed(values, {"worker": "worker_id", "thread": "thread_id"})


class ChildrenQuery(Limited):
    """Which page of the sub-runs of a run."""


class WaitQuery(Query):
    """How long."""

    timeout = QueryNumber(
        load_default=60.0, validate=validate.Range(0, MAX_WAIT), metadata=says("seconds to wait at most")
    )


class NumberedQuery(Query):
    """Numbers of what is sent."""

    first = QueryInteger(
        load_default=None,
        validate=validate.Range(1, 1 << 53),
        metadata=says("the number of the first event, from 1"),
    )


class StreamQuery(Query):
    """From where."""

    after = fields.String(
        load_default=None,
        metadata=says(
            "the id of the last event that was seen; 0: the oldest that is kept. Last-Event-ID beats it"
        ),
    )


MAX_THREADS = 32
"""Threads in one stream: their ids and cursors have room in the first line of a request."""

_UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_FROM = rf"{_UUID}@[^,@\x00]{{1,80}}"
_THREADS = rf"{_FROM}(,{_FROM}){{0,{MAX_THREADS - 1}}}\Z"


def _cursors_by_thread(value: str) -> dict[str, str]:
    return dict(part.split("@") for part in value.split(","))


class UserStreamQuery(Query):
    """What is sent beside the hints."""

    threads = fields.String(
        load_default=None,
        validate=validate.Regexp(
            _THREADS, error=f"must be at most {MAX_THREADS} of id@cursor, with commas between them"
        ),
        post_load=_cursors_by_thread,
        metadata=says(
            "threads whose events are sent as well, each with the id of the last event of it that was seen: "
            f"`<id>@<event id>`, with commas between them, {MAX_THREADS} at most"
        ),
    )
    user = Id(load_default=None, metadata=says("409 unless this user is signed in"))


def _renamed(values: Any, names: dict[str, str]) -> Any:
    found = {short: values[short] for short in names if short in values}
    if not found:
        return values
    return {**dict(values.items()), **{names[short]: value for short, value in found.items()}}
