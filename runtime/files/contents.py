"""Where contents are kept: what each place for them can do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

PIECE = 1 << 20
"""Bytes that are read at once."""


class Contents(Protocol):
    """A place for contents, each by its workspace and its hash. It knows nothing of files.

    Each call is made under the lock of :mod:`runtime.store.files`, but for those that read. What
    is not there or cannot be reached raises FilesUnavailable.
    """

    def put(self, staged: Path, workspace_id: str, hash: str) -> None:
        """Keep the content of a file of this machine, which may be moved. It may be there already."""

    def read(self, workspace_id: str, hash: str, start: int, end: int) -> Iterator[bytes]:
        """Its bytes from ``start`` to before ``end``, in pieces. Fails before it returns, if it does."""

    def delete(self, workspace_id: str, hash: str) -> None:
        """Remove it, if it is there."""
