"""The commands to a worker that talks to the Worker API: cancel, and the end of its attempt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runtime.model import Run
from runtime.store import runs
from runtime.stream import Batch, Record, Signal
from runtime.stream.hints import RELOAD
from web.core import Core
from web.streaming.sse import SILENCE

_CANCEL = Batch([Signal({"type": "cancel"})])
_END = Batch([Signal({"type": "end"})])


class Commands:
    """A source of the commands to one attempt (:class:`web.streaming.sse.Source`).

    The hints of the run's workspace say when to look; each heartbeat looks too.
    """

    def __init__(self, core: Core, run: Run) -> None:
        self._core = core
        self._run = run
        self._hints: Any = core.hub.hints(run.workspace_id)

    def __iter__(self) -> Iterator[Batch | None]:
        cancel_sent = False
        while True:
            run = self._core.database.read(runs.of_token, self._run.id, self._run.attempt)
            if run is None:
                yield _END
                return
            if run.cancel_requested_at is not None and not cancel_sent:
                cancel_sent = True
                yield _CANCEL
            for hints in self._hints:
                if hints is SILENCE:
                    yield SILENCE
                    break
                if any(self._concerns(hint) for hint in hints.records):
                    break
            else:
                return

    def _concerns(self, hint: Record) -> bool:
        """Whether the run may have changed."""
        return hint is RELOAD or hint.fields.get("run_id") == self._run.id

    def close(self) -> None:
        """Leave the hub."""
        self._hints.close()
