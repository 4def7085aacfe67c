"""The JSON Schema of a worker's config: read once, then used to check the config of every run.

And that of a question, by which its answer is checked.

Each schema is read by the draft that its ``$schema`` names (2020-12 without one). It may
refer to itself and to the published drafts, and to nothing else, so checking a config
never opens a connection.

No check may hold up the process that asks for it. What is known to be quick is checked
in place; everything else in a process of its own, which is ended after a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from runtime.errors import FieldError, Invalid, LimitExceeded, WorkerInvalid
from runtime.model import Json
from runtime.process_pool import ProcessPool
from runtime.registry import json_schema, schema_cost

MAX_BYTES = 256 * 1024
"""How large a config may be as JSON, and a schema."""
_MOST_DEFAULTS = MAX_BYTES
"""How large the defaults may be that are filled into one config."""
CHECK_SECONDS = 1.0
"""Time of the processor that a check may need."""
_IN_PLACE = 15_000
"""A check is made in place if its schema's cost times the config's bytes is at most this: milliseconds."""
_PATIENCE = 10.0
"""Seconds that a check may wait for others to end."""

ANYTHING: Mapping[str, Json] = {"type": "object"}
"""The schema of a worker without one."""

processes = ProcessPool(json_schema.examine, size=2, seconds=CHECK_SECONDS, patience=_PATIENCE)
"""Where checks are made that may take long."""


class ConfigSchema:
    """What a worker accepts as its config, or as the answer to its question."""

    def __init__(self, document: Mapping[str, Json], of: str = "config", whose: str = "worker") -> None:
        """``of``: what it describes, and ``whose`` schema it is, as users call it. Raises WorkerInvalid
        where ``document`` is not a usable JSON Schema."""
        if fault := _fault(document):
            raise WorkerInvalid(f"its {of} schema {fault}")
        self.document = document
        self._of, self._whose = of, whose
        self._cost = schema_cost.cost(document, _keywords(document))

    @property
    def needs_process(self) -> bool:
        """Whether even a small config is checked in another process."""
        return self._cost is None

    @classmethod
    def read(cls, path: Path) -> ConfigSchema:
        """The schema in a file. Raises WorkerInvalid that says what is wrong with it."""
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise WorkerInvalid(f"its config schema {path.name} is larger than {MAX_BYTES >> 10} KiB")
            document = orjson.loads(content)
        except OSError as error:
            raise WorkerInvalid(f"its config schema {path.name} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise WorkerInvalid(f"its config schema {path.name} is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise WorkerInvalid(f"its config schema {path.name} must be a JSON object")
        return cls(document)

    def check(self, config: Json, caller: str = "") -> Json:
        """``config`` with the schema's defaults filled in, as :mod:`runtime.registry.defaults` says.

        ``caller``: the id of the user who sent it; each has one check at a time. Raises
        Invalid with one FieldError for each mistake, its path beginning with what it is of, and
        also where it is too large or cannot be checked in time; TooMany and Unavailable as
        :meth:`ProcessPool.call` does. It may wait, and is not to be called in a transaction.
        """
        check_size(config, self._of)
        try:
            filled, found = self._examine(config, caller)
        except LimitExceeded as error:
            raise _invalid(
                self._of,
                f"could not be checked within {CHECK_SECONDS:g} s by the {self._whose}'s schema; "
                "make it smaller",
            ) from error
        except (RecursionError, orjson.JSONEncodeError):
            found = None
        if found is None:
            problem = f"cannot be checked: its nesting or the {self._whose}'s schema is too deep"
            raise _invalid(self._of, problem)
        if found:
            errors = [FieldError((self._of, *path), message) for path, message in found]
            raise Invalid(f"The {self._of} does not match the {self._whose}'s schema.", errors)
        return filled

    def _examine(self, config: Json, caller: str) -> tuple[Json, list[json_schema.Mistake] | None]:
        """The config with the defaults, and what is wrong with it."""
        value: Any = config
        if self._is_quick(value):
            value, found = json_schema.filled(self.document, value, _MOST_DEFAULTS)
            if found != []:
                return value, found
            if self._is_quick(value):
                return value, json_schema.mistakes(self.document, value)
        answer = processes.call({"schema": self.document, "value": value, "most": _MOST_DEFAULTS}, caller)
        return answer["value"], answer["mistakes"]

    def _is_quick(self, config: Json) -> bool:
        return self._cost is not None and self._cost * len(orjson.dumps(config)) <= _IN_PLACE


def check_size(config: Json, of: str = "config") -> None:
    """Raises Invalid where ``config``, called ``of``, is larger, or nests deeper, than a config may."""
    try:
        size = len(orjson.dumps(config))
    except orjson.JSONEncodeError as error:
        raise _invalid(of, "nests too deeply") from error
    if size > MAX_BYTES:
        raise _invalid(of, f"must be at most {MAX_BYTES >> 10} KiB as JSON, and is {size >> 10} KiB")


def _invalid(of: str, problem: str) -> Invalid:
    return Invalid(f"The {of} {problem}.", [FieldError((of,), problem)])


def _keywords(document: Mapping[str, Json]) -> Any:
    kind = json_schema.draft(document)
    return () if kind is None else kind.VALIDATORS


def _fault(document: Mapping[str, Json]) -> str | None:
    """What is wrong with a schema, found within the time that a check may take."""
    try:
        content = orjson.dumps(document)
        if len(content) > MAX_BYTES:
            return f"is larger than {MAX_BYTES >> 10} KiB"
        if schema_cost.is_quickly_validated(document, len(content), _keywords(document)):
            return _quick_fault(content)
        fault: str | None = processes.call({"schema": document})["fault"]
    except LimitExceeded:
        return f"could not be checked within {CHECK_SECONDS:g} s; make it smaller, or its patterns simpler"
    except (RecursionError, orjson.JSONEncodeError):
        return "nests too deeply"
    return fault


@lru_cache(256)
def _quick_fault(content: bytes) -> str | None:
    """What is wrong with the schema that is JSON in ``content``.

    To hold a schema to that of its draft takes 2 to 10 ms. A process reads the same one often: from the
    worker's folder, from what the pools have registered, and again with each new version of a worker.
    """
    return json_schema.fault(orjson.loads(content))
