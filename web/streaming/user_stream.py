"""The stream of a user: hints about the lists, and the logs of the threads that are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runtime.events import Cursor
from runtime.store import threads
from runtime.stream import Batch, DirectWriter, Signal, reset_signal
from web.core import Core


class UserStream:
    """A source (:class:`web.streaming.sse.Source`): resets of what cannot be followed, then all else."""

    def __init__(
        self, core: Core, workspace_id: str, seen: Mapping[str, str], writer: DirectWriter | None = None
    ) -> None:
        """``seen``: of each thread the id of the last event that the reader has; 0: none.

        Raises StreamUnavailable, StoreUnavailable.
        """
        existing = core.database.read(threads.existing, workspace_id, list(seen)) if seen else set()
        self._resets: list[Signal] = []
        cursors: dict[str, Cursor] = {}
        for thread_id, shown in seen.items():
            if thread_id not in existing:
                self._resets.append(reset_signal(thread_id, "not_found"))
            elif cursor := core.log.oldest(thread_id) if shown == "0" else Cursor.decode(shown):
                cursors[thread_id] = cursor
            else:
                self._resets.append(reset_signal(thread_id, "malformed"))
        self.logs = len(cursors)
        """How many logs it follows."""
        self._combined = core.hub.follow_all(workspace_id, cursors, writer)

    def __iter__(self) -> Iterator[Batch | None]:
        if self._resets:
            yield Batch(self._resets)
        yield from self._combined

    def close(self) -> None:
        """Leave all feeds."""
        self._combined.close()
