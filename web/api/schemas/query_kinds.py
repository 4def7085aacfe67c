"""The kinds of values in a query, where everything is text: each is written in one way."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from marshmallow import fields

from runtime.transfer.kinds import says


class QueryInteger(fields.Integer):
    """An integer in a query, in plain digits. Python would also read `1_0`, ` 5` and those of any script."""

    def _validated(self, value: Any) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", str(value)):
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


class QueryNumber(fields.Float):
    """A number in a query, written as in JSON."""

    def _validated(self, value: Any) -> float:
        if not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?", str(value)):
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


class Switch(fields.Field[bool]):
    """Yes or no in a query: `true`, `1`, `false` or `0`."""

    default_error_messages = {"invalid": "must be true, 1, false or 0"}
    _VALUES: ClassVar = {"true": True, "1": True, "false": False, "0": False}

    def __init__(self, note: str) -> None:
        """Off unless given. ``note`` says what it is for."""
        told = {"type": "string", "enum": list(self._VALUES), "default": "false"}
        super().__init__(load_default=False, metadata={**says(note), **told})

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        try:
            return self._VALUES[value]
        except KeyError:
            raise self.make_error("invalid") from None
