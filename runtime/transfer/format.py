"""The format of an exported thread: its parts, and what is wrong with one that cannot be read.

It holds what a thread says and how it came about: its states with their
messages, parents before children, and what matters of its runs. Ids only tie
the parts together. What a client may also send by itself is checked by the same
fields (:mod:`runtime.transfer.kinds`) here and there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from runtime.errors import FieldError, Invalid
from runtime.model import Channel, Json, MessageStatus, MessageType, Role, RunStatus, ThreadStatus
from runtime.store.files import MOST as MOST_FILES
from runtime.transfer import kinds
from runtime.transfer.kinds import (
    Config,
    Flag,
    Object,
    Several,
    Value,
    integer,
    named,
)

FORMAT = "branchline-thread"
VERSION = 1

MOST_PARTS = 100_000
"""States of an export, and as many runs."""
_ENOUGH_WRONG = 100
_MOST_ATTEMPTS = 10_000
"""A run that is handed back by pools that drain may have more attempts than its worker permits."""
_DIGEST = validate.Regexp(r"[0-9a-f]{0,64}\Z", error="must be at most 64 hexadecimal digits")
_GREATEST_INTEGER = 2**63 - 1


class _Part(ma.Schema):
    class Meta:
        unknown = ma.RAISE


class _Time(fields.AwareDateTime):
    """A time in UTC. One beyond its calendar could be stored, but not read again."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        try:
            return super()._deserialize(value, attr, data, **kwargs).astimezone(UTC)
        except OverflowError as error:
            raise ma.ValidationError("must lie in the years 1 to 9999 of UTC") from error


def _time(**kw: Any) -> fields.Field[Any]:
    return _Time(format="iso", default_timezone=UTC, **kw)


def _id(**options: Any) -> fields.Field[Any]:
    """What ties parts together; the import makes ids of its own."""
    return named(**options)


def _reference() -> fields.Field[Any]:
    return named(load_default=None, allow_none=True)


class FilePart(_Part):
    """A file that a message of an export names; its content is elsewhere."""

    id = _id(required=True)
    name = named(1000, required=True)
    type = named(required=True)
    size = integer(0, _GREATEST_INTEGER, required=True)


class MessagePart(_Part):
    """A message of an export."""

    id = _reference()
    role = fields.Enum(Role, by_value=True, required=True)
    type = fields.Enum(MessageType, by_value=True, load_default=MessageType.TEXT)
    channel = fields.Enum(Channel, by_value=True, load_default=Channel.ANSWER)
    author = kinds.author(load_default=None, allow_none=True)
    content = fields.String(required=True)
    data = Object(load_default=dict)
    status = fields.Enum(MessageStatus, by_value=True, load_default=MessageStatus.COMPLETE)
    files = Several(fields.Nested(FilePart), load_default=list, validate=validate.Length(max=MOST_FILES))
    created_at = _time(load_default=None, allow_none=True)


class StatePart(_Part):
    """A state of an export."""

    id = _id(required=True)
    parent_id = _id(required=True, allow_none=True)
    run_id = _reference()
    label = kinds.label(load_default=None, allow_none=True)
    starred = Flag(load_default=False)
    created_at = _time(required=True)
    messages = Several(fields.Nested(MessagePart), load_default=list)


class ErrorPart(_Part):
    """Why a run of an export did not succeed."""

    code = named(100, required=True)
    message = fields.String(required=True)
    retryable = Flag(load_default=False)
    log_tail = fields.String(load_default="")


class RunPart(_Part):
    """A run of an export."""

    id = _id(required=True)
    parent_run_id = _reference()
    input_state_id = _id(required=True)
    output_state_id = _id(required=True)
    worker_id = kinds.worker_id(required=True)
    worker_digest = fields.String(load_default="", validate=_DIGEST)
    pool = kinds.pool(required=True)
    config = Config(load_default=dict)
    args = Value(load_default=None, allow_none=True)
    status = fields.Enum(RunStatus, by_value=True, required=True)
    attempt = integer(0, _MOST_ATTEMPTS, load_default=0)
    failures = integer(0, _MOST_ATTEMPTS, load_default=0)
    max_attempts = integer(0, _MOST_ATTEMPTS, load_default=1)
    timeout_seconds = kinds.timeout(load_default=600.0)
    priority = kinds.priority(load_default=0)
    error = fields.Nested(ErrorPart, load_default=None, allow_none=True)
    usage = Object(load_default=None, allow_none=True)
    created_at = _time(required=True)
    started_at = _time(load_default=None, allow_none=True)
    finished_at = _time(load_default=None, allow_none=True)


class ThreadPart(_Part):
    """The thread itself in an export."""

    title = kinds.title(load_default=None, allow_none=True)
    worker_id = kinds.worker_id(load_default=None, allow_none=True)
    config = Config(load_default=dict)
    metadata = Object(load_default=dict)
    status = fields.Enum(ThreadStatus, by_value=True, load_default=ThreadStatus.ACTIVE)
    latest_state_id = _reference()
    created_at = _time(load_default=None, allow_none=True)


class ThreadExport(_Part):
    """A whole thread, as :func:`export_thread` writes it and :func:`import_thread` reads it."""

    format = fields.String(required=True, validate=validate.Equal(FORMAT))
    version = fields.Integer(strict=True, required=True, validate=validate.Equal(VERSION))
    thread = fields.Nested(ThreadPart, required=True)
    states = Several(fields.Nested(StatePart), required=True, validate=validate.Length(min=1, max=MOST_PARTS))
    runs = Several(fields.Nested(RunPart), load_default=list, validate=validate.Length(max=MOST_PARTS))


def load(data: Mapping[str, Json]) -> dict[str, Any]:
    """What an export holds, in the types of the store, each part tied to one before it.

    Raises Invalid with the path of everything that cannot be used.
    """
    unfit = [FieldError(path, message) for path, message in islice(_unfit(data), _ENOUGH_WRONG)]
    if not unfit:
        try:
            return _checked(ThreadExport().load(data))
        except ma.ValidationError as error:
            unfit = [FieldError(path, message) for path, message in _flat(error.messages)]
    raise Invalid("This is not an export of a thread.", unfit)


def _flat(wrong: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """marshmallow's tree of messages as paths."""
    if isinstance(wrong, Mapping):
        for name, below in wrong.items():
            yield from _flat(below, path if name == "_schema" else (*path, name))
    else:
        for message in wrong:
            yield path, str(message)


def _unfit(data: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What no database can hold: NUL, half a surrogate pair, a number over 64 bits."""
    left: list[tuple[tuple[str | int, ...], Any]] = [((), data)]
    while left:
        path, value = left.pop()
        if isinstance(value, Mapping):
            left += (((*path, name), below) for name, below in value.items())
            left += ((path, name) for name in value)
        elif isinstance(value, list):
            left += (((*path, index), below) for index, below in enumerate(value))
        elif isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
            yield path, "contains a character that cannot be stored (NUL, or half a surrogate pair)"
        elif isinstance(value, int) and abs(value) > _GREATEST_INTEGER:
            yield path, "is a number of more than 64 bits"


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    """``given``; raises Invalid where ids are used twice or lead nowhere."""
    wrong = [*_wrong_states(given), *_wrong_runs(given)]
    if wrong:
        raise Invalid("The parts of the export do not fit together.", wrong)
    return given


def _wrong_states(given: Mapping[str, Any]) -> Iterator[FieldError]:
    runs_there = {part["id"] for part in given["runs"]}
    before: set[str] = set()
    for index, part in enumerate(given["states"]):
        if part["id"] in before:
            yield FieldError(("states", index, "id"), "is the id of another state too")
        if index == 0 and (part["parent_id"] is not None or part["messages"]):
            yield FieldError(("states", 0), "must be the root: no parent, no messages")
        if index > 0 and part["parent_id"] not in before:
            yield FieldError(("states", index, "parent_id"), "must be the id of a state before this one")
        if part["run_id"] is not None and part["run_id"] not in runs_there:
            yield FieldError(("states", index, "run_id"), "must be the id of a run of the export")
        before.add(part["id"])
    latest = given["thread"]["latest_state_id"]
    if latest is not None and latest not in before:
        yield FieldError(("thread", "latest_state_id"), "must be the id of a state of the export")


def _wrong_runs(given: Mapping[str, Any]) -> Iterator[FieldError]:
    states_there = {part["id"] for part in given["states"]}
    before: set[str] = set()
    for index, part in enumerate(given["runs"]):
        if part["id"] in before:
            yield FieldError(("runs", index, "id"), "is the id of another run too")
        for name in ("input_state_id", "output_state_id"):
            if part[name] not in states_there:
                yield FieldError(("runs", index, name), "must be the id of a state of the export")
        before.add(part["id"])
