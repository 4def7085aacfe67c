"""Takes as long as it is told."""

from __future__ import annotations

import time
from collections.abc import Iterator

from runtime.sdk import Run, worker


@worker
def narrow(run: Run) -> Iterator[str]:
    """Says that it begins, and waits ``args`` seconds."""
    yield "begun"
    time.sleep(run.args)
