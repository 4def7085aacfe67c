"""What may be chosen in a config, as a worker says it when its pool asks."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .wire import Connection

MOST = 500
"""For one field; a longer list is cut."""
LONGEST = 200
"""Characters of a value; longer ones are left out."""


def answer(choices: Mapping[str, Callable[[], object]], wire: Connection) -> int:
    """Send a line for each field. Returns an exit code."""
    failed = 0
    for field, function in choices.items():
        try:
            found = function()
            if not isinstance(found, Iterable) or isinstance(found, str):
                raise TypeError(f"what may be chosen for {field} is {type(found).__name__}, and no list")
            values = [*islice((text for text in map(str, found) if len(text) <= LONGEST), MOST)]
        except Exception:
            traceback.print_exc()
            failed = 1
            continue
        line = {"type": "choices", "field": field, "values": values}
        wire.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
    return failed
