"""The passages whose vectors are nearest to a query's, found by comparing it with all of them.

Where PostgreSQL has an index of them and they are many, that is asked instead (:mod:`hnsw`).
A process keeps the vectors of the sources that it has searched. Each source has a version, which changes
with its vectors: a search reads those that are new, and forgets those that are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy import Connection

from runtime.errors import TooManyVectors
from runtime.knowledge import hnsw
from runtime.knowledge.tables import documents, embeddings, sources
from runtime.knowledge.vectors import STORED
from runtime.system import greenlets

MOST = 1 << 30
"""Bytes of vectors that a process keeps."""
_READ_AT_ONCE = 2000
_threads = greenlets.ThreadPool(2)


@dataclass(frozen=True, slots=True)
class _Matrix:
    """The vectors of a source, at one version; one of zeros for a text that has none."""

    version: int
    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]

    @property
    def size(self) -> int:
        """In bytes."""
        return self.vectors.nbytes


class Vectors:
    """What a process has read of the vectors of one model."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._kept: dict[str, _Matrix] = {}
        """By source, what was searched longest ago first."""

    def nearest(
        self,
        c: Connection,
        workspace_id: str,
        vector: bytes,
        least: float,
        k: int,
        source_ids: Sequence[str] | None,
    ) -> Callable[[], list[int]]:
        """What waits for the ``k`` passages of a workspace that are nearest to a vector, the nearest first.

        They are found in another thread, while the caller does something else. ``least``: the least
        similarity, a cosine; ``source_ids``: of these sources; None: of all. Raises TooManyVectors.
        """
        query = sa.select(sources.c.id, sources.c.vectors_version).where(
            sources.c.workspace_id == workspace_id, sources.c.vectors_version > 0
        )
        if source_ids is not None:
            query = query.where(sources.c.id.in_(source_ids))
        wanted = np.frombuffer(vector, STORED).astype(np.float32)
        versions = {row.id: row.vectors_version for row in c.execute(query)}
        if self._has_index(c, versions, wanted.size):
            found = hnsw.nearest(c, self._model, vector, least, k, [*versions])
            return lambda: found
        matrices = [self._matrix(c, id, version, wanted.size) for id, version in versions.items()]
        if sum(matrix.size for matrix in matrices) > MOST:
            raise TooManyVectors
        self._forget_all_but(versions)
        # On SQLite this is a thread already, in which no greenlet could wait.
        begin = greenlets.begin if c.dialect.name == "sqlite" else _threads.begin
        return begin(_nearest, matrices, wanted, least, k)

    def _has_index(self, c: Connection, source_ids: Collection[str], dimensions: int) -> bool:
        """Whether so many vectors are searched that an index is asked, and there is one."""
        if not hnsw.is_there(c, self._model, dimensions):
            return False
        number = sa.select(sa.func.sum(documents.c.passages)).where(documents.c.source_id.in_(source_ids))
        return (c.execute(number).scalar() or 0) >= hnsw.LEAST

    def _matrix(self, c: Connection, source_id: str, version: int, dimensions: int) -> _Matrix:
        """The vectors of a source, at that version or a later one."""
        matrix = self._kept.pop(source_id, None)
        if matrix is None or matrix.vectors.shape[1] != dimensions:
            matrix = _Matrix(0, np.empty(0, np.int64), np.empty((0, dimensions), np.float32))
        if matrix.version < version:
            matrix = self._read(c, source_id, version, matrix)
        self._kept[source_id] = matrix
        return matrix

    def _read(self, c: Connection, source_id: str, version: int, before: _Matrix) -> _Matrix:
        """What a source has now; of that, only what is new is read."""
        of = (embeddings.c.source_id == source_id, embeddings.c.model == self._model)
        number = c.execute(sa.select(sa.func.count()).where(*of)).scalar_one()
        dimensions = before.vectors.shape[1]
        if number * dimensions * before.vectors.itemsize > MOST:
            raise TooManyVectors
        query = sa.select(embeddings.c.passage_id, embeddings.c.vector)
        ids, vectors = _rows(c, query.where(*of, embeddings.c.version > before.version), dimensions)
        stays = ~np.isin(before.ids, ids)
        if stays.sum() + len(ids) > number:
            now = c.execute(sa.select(embeddings.c.passage_id).where(*of)).scalars().all()
            stays &= np.isin(before.ids, np.array(now, np.int64))
        return _Matrix(
            version,
            np.concatenate([before.ids[stays], ids]),
            np.concatenate([before.vectors[stays], vectors]) if stays.any() else vectors,
        )

    def _forget_all_but(self, wanted: Mapping[str, Any]) -> None:
        """Until what is kept is no more than it may be."""
        size = sum(matrix.size for matrix in list(self._kept.values()))
        for source_id in [one for one in list(self._kept) if one not in wanted]:
            if size <= MOST:
                return
            if (matrix := self._kept.pop(source_id, None)) is not None:
                size -= matrix.size


def _rows(
    c: Connection, query: sa.Select[Any], dimensions: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    none = bytes(np.dtype(STORED).itemsize * dimensions)
    ids: list[int] = []
    parts: list[NDArray[np.float32]] = []
    rows = c.execute(query, execution_options={"yield_per": _READ_AT_ONCE})
    for some in rows.partitions():
        # Where the model answers with others than before, these say nothing.
        data = b"".join(row[1] if row[1] and len(row[1]) == len(none) else none for row in some)
        ids += [row[0] for row in some]
        parts.append(np.frombuffer(data, STORED).astype(np.float32).reshape(-1, dimensions))
    return np.array(ids, np.int64), np.concatenate([np.empty((0, dimensions), np.float32), *parts])


def _nearest(matrices: Sequence[_Matrix], wanted: NDArray[np.float32], least: float, k: int) -> list[int]:
    matrices = [matrix for matrix in matrices if matrix.ids.size]
    if not matrices:
        return []
    similarity = np.concatenate([matrix.vectors @ wanted for matrix in matrices])
    ids = np.concatenate([matrix.ids for matrix in matrices])
    near = np.flatnonzero(similarity >= max(least, 1e-6))
    if near.size > k:
        near = near[np.argpartition(-similarity[near], k - 1)[:k]]
    order = np.lexsort((ids[near], -similarity[near]))
    return [int(id) for id in ids[near][order]]
