"""The passages whose vectors are nearest to a query's, found by comparing it with all of them.

Where PostgreSQL has an index of them and they are many, that is asked instead (:mod:`hnsw`).
A process keeps the vectors of the sources that it has searched. Each source has a version, which changes
with its vectors: a search reads those that are new, and forgets those that are gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

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
_NUMBER = np.dtype(np.float32).itemsize
_threads = greenlets.ThreadPool(2)
T = TypeVar("T")


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
        self._locks: dict[str, Any] = {}
        """By source: searches that begin together read it once."""

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
            found = hnsw.nearest(c, self._model, vector, k, [*versions])
            near = [id for id, similarity in found if similarity >= least]
            if len(found) == k:
                return lambda: near
            try:  # Among many vectors of others the index gives up before it has found enough.
                need = self._need(c, versions, wanted.size)
            except TooManyVectors:
                return lambda: near
        else:
            need = self._need(c, versions, wanted.size)
        self._forget_all_but(versions, need)
        matrices = [self._matrix(c, id, version, wanted.size) for id, version in versions.items()]
        self._forget_all_but(versions, sum(matrix.size for matrix in matrices))
        # On SQLite this is a thread already, in which no greenlet could wait.
        begin = greenlets.begin if _in_thread(c) else _threads.begin
        return begin(_nearest, matrices, wanted, least, k)

    def _has_index(self, c: Connection, source_ids: Collection[str], dimensions: int) -> bool:
        """Whether so many vectors are searched that an index is asked, and there is one."""
        if not hnsw.is_there(c, self._model, dimensions):
            return False
        number = sa.select(sa.func.sum(documents.c.passages)).where(documents.c.source_id.in_(source_ids))
        return (c.execute(number).scalar() or 0) >= hnsw.LEAST

    def _need(self, c: Connection, versions: Mapping[str, int], dimensions: int) -> int:
        """Bytes of the vectors of these sources, at most. Raises TooManyVectors where they are too many."""
        kept = [self._kept.get(id) for id in versions]
        fresh = [
            matrix.size
            for matrix, version in zip(kept, versions.values(), strict=True)
            if matrix is not None and matrix.version >= version and matrix.vectors.shape[1] == dimensions
        ]
        if len(fresh) == len(versions):
            return sum(fresh)
        number = sa.select(sa.func.sum(documents.c.passages)).where(documents.c.source_id.in_(versions))
        need = int(c.execute(number).scalar() or 0) * dimensions * _NUMBER
        if need > MOST:
            of = (embeddings.c.source_id.in_(versions), embeddings.c.model == self._model)
            counted = c.execute(sa.select(sa.func.count()).where(*of)).scalar_one()
            need = counted * dimensions * _NUMBER
        if need > MOST:
            raise TooManyVectors
        return need

    def _matrix(self, c: Connection, source_id: str, version: int, dimensions: int) -> _Matrix:
        """The vectors of a source, at that version or a later one."""
        with self._locks.setdefault(source_id, _lock(c)):
            matrix = self._kept.get(source_id)
            if matrix is None or matrix.vectors.shape[1] != dimensions:
                matrix = _Matrix(0, np.empty(0, np.int64), np.empty((0, dimensions), np.float32))
            if matrix.version < version:
                matrix = self._read(c, source_id, version, matrix)
            self._kept.pop(source_id, None)
            self._kept[source_id] = matrix
            return matrix

    def _read(self, c: Connection, source_id: str, version: int, before: _Matrix) -> _Matrix:
        """What a source has now; of that, only what is new is read."""
        of = (embeddings.c.source_id == source_id, embeddings.c.model == self._model)
        number = c.execute(sa.select(sa.func.count()).where(*of)).scalar_one()
        query = sa.select(embeddings.c.passage_id, embeddings.c.vector)
        query = query.where(*of, embeddings.c.version > before.version)
        ids, vectors = _rows(c, query, before.vectors.shape[1])
        stays = ~np.isin(before.ids, ids)
        if stays.sum() + len(ids) > number:
            now = c.execute(sa.select(embeddings.c.passage_id).where(*of)).scalars().all()
            stays &= np.isin(before.ids, np.array(now, np.int64))
        return _aside(c, _merged, version, before, stays, ids, vectors)

    def _forget_all_but(self, wanted: Mapping[str, Any], need: int) -> None:
        """Until what is kept beside the wanted, which need so many bytes, is no more than it may be."""
        others = {id: matrix.size for id, matrix in list(self._kept.items()) if id not in wanted}
        size = need + sum(others.values())
        for source_id, freed in others.items():
            if size <= MOST:
                return
            self._kept.pop(source_id, None)
            self._locks.pop(source_id, None)
            size -= freed


def _lock(c: Connection) -> Any:
    """On SQLite, it is threads that wait for it, which cannot wait as greenlets do."""
    return greenlets.original("_thread", "allocate_lock")() if _in_thread(c) else threading.Lock()


def _in_thread(c: Connection) -> bool:
    """Whether transactions are not in the thread of the greenlets."""
    return c.dialect.name == "sqlite"


def _aside(c: Connection, function: Callable[..., T], *args: Any) -> T:
    """Make a call that takes long where it holds up no greenlet."""
    return function(*args) if _in_thread(c) else _threads.call(function, *args)


def _rows(
    c: Connection, query: sa.Select[Any], dimensions: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    ids: list[int] = []
    parts = [np.empty((0, dimensions), np.float32)]
    rows = c.execute(query, execution_options={"yield_per": _READ_AT_ONCE})
    for some in rows.partitions():
        ids += [row[0] for row in some]
        parts.append(_aside(c, _decoded, [row[1] for row in some], dimensions))
    return np.array(ids, np.int64), _aside(c, np.concatenate, parts)


def _decoded(stored: Sequence[bytes | None], dimensions: int) -> NDArray[np.float32]:
    none = bytes(np.dtype(STORED).itemsize * dimensions)
    # Where the model answers with others than before, these say nothing.
    data = b"".join(one if one and len(one) == len(none) else none for one in stored)
    return np.frombuffer(data, STORED).astype(np.float32).reshape(-1, dimensions)


def _merged(
    version: int,
    before: _Matrix,
    stays: NDArray[np.bool_],
    ids: NDArray[np.int64],
    vectors: NDArray[np.float32],
) -> _Matrix:
    """What of a source stays, and what is new."""
    return _Matrix(
        version,
        np.concatenate([before.ids[stays], ids]),
        np.concatenate([before.vectors[stays], vectors]) if stays.any() else vectors,
    )


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
