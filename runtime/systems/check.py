"""The check of a definition: everything that is wrong with it, before it is started."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Protocol

import orjson

from runtime.errors import (
    Invalid,
    UnknownWorker,
    WorkerElsewhere,
    WorkerInvalid,
    WorkerUnavailable,
)
from runtime.model import Json
from runtime.registry.config_schema import ConfigSchema
from runtime.systems import cycles, fitting, graph, passing
from runtime.systems.definition import Channel, Definition, Entity, Kind
from runtime.systems.problems import Code, Path, Problem, Severity

MOST_PROBLEMS = 100
"""So many are found at most."""
MOST_PAIRS = 20_000
"""Entities, times channels that choose among them by components."""
LARGEST_SCHEMA = 16 * 1024
"""Bytes of a schema of a body."""
_SECONDS = 5.0
"""In which configs and schemas are looked at; those of others may be made to take long."""
_NAMED = 8
"""Entities of a cycle, and channels that close it, that are named."""
_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LONGEST_VALUE = 200
"""Characters of the value of a component."""

Found = Iterator[Problem]


class Workers(Protocol):
    """Knows the workers that there are."""

    def __call__(self, worker_id: str, config: Mapping[str, Json]) -> object:
        """Check that a worker takes a config.

        Raises UnknownWorker, WorkerUnavailable, WorkerElsewhere, and Invalid where it does not.
        """
        ...


def check(definition: Definition, workers: Workers) -> list[Problem]:
    """What is wrong with a definition, errors first, a hundred problems at most.

    Raises TooMany and Unavailable as :meth:`ConfigSchema.check` does. It may take seconds, and is not to
    be called in a transaction.
    """
    choosing = sum(channel.sender is None or channel.to is None for channel in definition.channels)
    if choosing * len(definition.entities) > MOST_PAIRS:
        message = (
            f"The entities, times the channels with components, may be {MOST_PAIRS}. "
            "Name the entities at both ends of some channels."
        )
        return [_error(Code.TOO_LARGE, ("channels",), message)]
    slow = chain(_backends(definition, workers), _schemas(definition), _fits(definition))
    found = chain(
        _names(definition),
        _channels(definition),
        _ways_in(definition),
        _cycles(definition),
    )
    # Sorted before they are cut: as many warnings as that must not hide an error.
    problems = sorted(chain(found, _in_time(slow)), key=lambda one: one.severity is not Severity.ERROR)
    return problems[:MOST_PROBLEMS]


def _in_time(found: Iterator[Problem | None]) -> Found:
    """What is found until the time is over. None: something was looked at, and nothing was found."""
    ends_at = time.monotonic() + _SECONDS
    for problem in found:
        if problem is not None:
            yield problem
        if time.monotonic() > ends_at:
            message = "The configs and schemas could not all be checked in time; make them simpler."
            yield _error(Code.NOT_CHECKED, (), message)
            return


def _names(definition: Definition) -> Found:
    seen: set[str] = set()
    for place, entity in enumerate(definition.entities):
        if entity.name in seen:
            message = f"Another entity is called {entity.name}, too."
            yield _error(Code.DUPLICATE_ENTITY, ("entities", place, "name"), message)
        seen.add(entity.name)
        for name, value in entity.components.items():
            path = ("entities", place, "components", name)
            if not _COMPONENT.fullmatch(name):
                message = "The name of a component must be 1 to 64 of a-z, A-Z, 0-9, _, . and -."
                yield _error(Code.WRONG_COMPONENT, path, message)
            elif not _is_plain(value):
                message = f"A component is true, false, a number, or a text of {_LONGEST_VALUE} characters."
                yield _error(Code.WRONG_COMPONENT, path, message)


def _is_plain(value: Json) -> bool:
    return len(value) <= _LONGEST_VALUE if isinstance(value, str) else isinstance(value, bool | int | float)


def _channels(definition: Definition) -> Found:
    seen: set[bytes] = set()
    for place, channel in enumerate(definition.channels):
        path = ("channels", place)
        if (same := orjson.dumps(channel, option=orjson.OPT_SORT_KEYS)) in seen:
            yield _error(Code.DUPLICATE_CHANNEL, path, "There is the same channel before.")
        seen.add(same)
        yield from _ends(path, channel, definition)
        for name, how in passing.wrong_in_filter(channel.when or {}):
            yield _error(Code.WRONG_FILTER, (*path, "when", name), f"{name} {how}.")
        for name, how in passing.wrong_in_map(channel.map or {}):
            yield _error(Code.WRONG_MAP, (*path, "map", name), f"{name} {how}.")


def _ends(path: Path, channel: Channel, definition: Definition) -> Found:
    named = {"from": channel.sender, "to": channel.to}
    missing = [end for end, name in named.items() if name is None]
    if len(missing) == 2 or bool(missing) != bool(channel.components):
        message = "A channel has from and to. In the place of one of them it may have with."
        yield _error(Code.WRONG_ENDS, path, message)
        return
    if channel.pick is not None and missing != ["to"]:
        message = "pick says whom of several a message goes to, so it is for a channel without to."
        yield _error(Code.WRONG_ENDS, (*path, "pick"), message)
    known = {entity.name for entity in definition.entities}
    for end, name in named.items():
        if name is not None and name not in known:
            yield _error(Code.UNKNOWN_ENTITY, (*path, end), f"There is no entity {name}.")
    if missing and not graph.those_with(channel.components, definition.entities):
        message = f"No entity has {' and '.join(channel.components)}."
        yield _warning(Code.NOBODY_HAS, (*path, "with"), message)


def _ways_in(definition: Definition) -> Found:
    reached = {edge.to for edge in graph.edges(definition)}
    for place, entity in enumerate(definition.entities):
        if entity.name not in reached and not entity.entry:
            message = f"No channel leads to {entity.name}. If it is asked from outside, say so: entry = true."
            yield _warning(Code.NO_WAY_IN, ("entities", place), message)


def _cycles(definition: Definition) -> Found:
    """Entities that ask each other: each answer is the next one's query, for as long as there are hops."""
    asks: dict[str, dict[str, int]] = {}
    for edge in graph.edges(definition):
        if definition.channels[edge.channel].kind is Kind.QUERY:
            asks.setdefault(edge.sender, {}).setdefault(edge.to, edge.channel)
    entries = [entity.name for entity in definition.entities if entity.entry]
    places = {entity.name: place for place, entity in enumerate(definition.entities)}
    for cycle in cycles.cycles(asks):
        members, inside = sorted(cycle, key=places.__getitem__), set(cycle)
        inner = {name: [to for to in asks.get(name, ()) if to in inside] for name in members}
        closing = [(sender, to, asks[sender][to]) for sender, to in cycles.closing_edges(inner, entries)]
        yield _query_cycle(members, closing, definition.limits.hops)


def _query_cycle(members: list[str], closing: list[tuple[str, str, int]], hops: int | None) -> Problem:
    who = f"{members[0]} asks itself" if len(members) == 1 else f"{_several(members)} ask each other"
    edges = _several([f"{sender} → {to} (channels.{channel})" for sender, to, channel in closing])
    advice = f"Make a read of {edges}"
    path = ("channels", closing[0][2])
    if hops is not None:
        message = f"{who} until {hops} hops are made. {advice} to have it end before."
        return _warning(Code.QUERY_CYCLE, path, message)
    return _error(Code.QUERY_CYCLE, path, f"{who} without end. {advice}, or set limits.hops.")


def _several(names: list[str]) -> str:
    shown = names[:_NAMED]
    more = len(names) - len(shown)
    last = f"{more} more" if more else shown.pop()
    return f"{', '.join(shown)} and {last}" if shown else last


def _backends(definition: Definition, workers: Workers) -> Iterator[Problem | None]:
    for place, entity in enumerate(definition.entities):
        path = ("entities", place)
        yield from _backend(path, entity, workers)
        yield None


def _backend(path: Path, entity: Entity, workers: Workers) -> Found:
    try:
        workers(entity.worker_id, entity.config)
    except UnknownWorker as error:
        yield _error(Code.UNKNOWN_WORKER, (*path, "worker_id"), str(error))
    except (WorkerUnavailable, WorkerElsewhere) as error:
        yield _warning(Code.WORKER_UNAVAILABLE, (*path, "worker_id"), str(error))
    except Invalid as error:
        if not error.errors:
            yield _error(Code.WRONG_CONFIG, (*path, "config"), str(error))
        for one in error.errors:
            where = ".".join(map(str, one.path))
            yield _error(Code.WRONG_CONFIG, (*path, *one.path), f"{where} {one.message}.")


def _schemas(definition: Definition) -> Iterator[Problem | None]:
    for place, entity in enumerate(definition.entities):
        for name, document in (
            ("accepts", entity.accepts),
            ("answers", entity.answers),
        ):
            fault = _fault(document, checks=name == "accepts") if document is not None else None
            yield (_error(Code.WRONG_SCHEMA, ("entities", place, name), fault) if fault else None)


def _fault(document: Mapping[str, Json], *, checks: bool) -> str | None:
    """What is wrong with a schema. ``checks``: bodies are checked against it."""
    if len(orjson.dumps(document)) > LARGEST_SCHEMA:
        return f"The schema is larger than {LARGEST_SCHEMA >> 10} KiB."
    try:
        schema = ConfigSchema(document, "body")
    except WorkerInvalid as error:
        return f"The schema{str(error).removeprefix('its body schema')}."
    if checks and schema.needs_process:
        return "A message may take long to check by the schema; have it without references and patterns."
    return None


def _fits(definition: Definition) -> Iterator[Problem | None]:
    """What passes a channel as it is, against what its receiver takes."""
    entities = {entity.name: entity for entity in definition.entities}
    seen: set[tuple[str, str]] = set()
    for edge in graph.edges(definition):
        if definition.channels[edge.channel].map is not None or (edge.sender, edge.to) in seen:
            continue
        seen.add((edge.sender, edge.to))
        sent, taken = entities[edge.sender].answers, entities[edge.to].accepts
        if sent is None or taken is None:
            continue
        yield None
        for one in fitting.mismatches(sent, taken):
            where = ".".join(one.at) or "the body"
            message = f"{edge.sender} → {edge.to}: {where}: {one.why}."
            say = _error if one.always else _warning
            yield say(Code.SCHEMA_MISMATCH, ("channels", edge.channel), message)


def _error(code: Code, path: Path, message: str) -> Problem:
    return Problem(code, Severity.ERROR, path, message)


def _warning(code: Code, path: Path, message: str) -> Problem:
    return Problem(code, Severity.WARNING, path, message)
