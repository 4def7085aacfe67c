"""The nearest vectors by an index of PostgreSQL: HNSW of its extension pgvector, where that is installed.

It is an index of an expression, so vectors are stored as bytes, as everywhere, and nothing has to be kept
equal. It finds nearly all of the nearest without looking at all of them (Malkov and Yashunin 2018). A scan
goes on until enough are found that are of the sources which are searched (pgvector calls that iterative).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import ConfigurationError
from runtime.knowledge.tables import embeddings
from runtime.knowledge.vectors import decode

LEAST = 10_000
"""Vectors of a workspace; fewer are compared one by one, which misses none."""
_LOOKED_AT = 100
"""Vectors of which the nearest are chosen at each step: more of them miss less, and take longer."""
_MOST_DIMENSIONS = 4_000
"""Of vectors in an index of ``halfvec``, see the documentation of pgvector."""
_FUNCTION = """
CREATE OR REPLACE FUNCTION knowledge_halfvec(stored bytea) RETURNS halfvec
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 100000
RETURN (
  SELECT array_agg(
    CASE WHEN half & 32768 = 0 THEN 1 ELSE -1 END *
    CASE WHEN (half >> 10) & 31 = 0 THEN (half & 1023) * 2::real ^ -24
         ELSE (1024 + (half & 1023)) * 2::real ^ (((half >> 10) & 31) - 25) END
    ORDER BY place
  )::real[]::halfvec
  FROM (
    SELECT place, get_byte(stored, 2 * place) | (get_byte(stored, 2 * place + 1) << 8) AS half
    FROM generate_series(0, length(stored) / 2 - 1) AS place
  ) AS halves
)
"""
"""Two bytes a number, as :mod:`runtime.knowledge.vectors` stores them, as pgvector has them. Its cost keeps
the planner from calling it for each vector rather than asking the index."""
_ALL = "knowledge_hnsw_"
_OLDEST = 0, 8
"""The version of pgvector that has iterative scans."""


def name_of(model: str, dimensions: int) -> str:
    """Of the index of a model's vectors."""
    return f"{_ALL}{zlib.crc32(model.encode()):08x}_{dimensions}"


def build(c: Connection, model: str) -> int:
    """Make the index of a model's vectors, and drop those of others; how many vectors there are.

    It takes minutes and keeps nobody waiting. ``c``: in autocommit. Raises ConfigurationError where the
    database cannot have it.
    """
    if c.dialect.name != "postgresql":
        raise ConfigurationError("SQLite has no such index; there, vectors are compared one by one.")
    _check(c.execute(sa.text("SELECT extversion FROM pg_extension WHERE extname = 'vector'")).scalar())
    of = embeddings.c.model == model
    has = sa.select(sa.func.length(embeddings.c.vector)).where(of, embeddings.c.vector.is_not(None))
    length = c.execute(has.limit(1)).scalar()
    if length is None:
        return 0
    if length // 2 > _MOST_DIMENSIONS:
        raise ConfigurationError(
            f"pgvector's index takes {_MOST_DIMENSIONS:,} dimensions at most, not {length // 2:,}: "
            "set BRANCHLINE_EMBEDDINGS_DIMENSIONS where the model can be asked for fewer."
        )
    name = name_of(model, length // 2)
    valid = "SELECT indexrelid::regclass::text, indisvalid FROM pg_index"
    found = c.execute(sa.text(f"{valid} WHERE indexrelid::regclass::text LIKE '{_ALL}%'")).all()
    for other, is_valid in found:
        if other != name or not is_valid:  # or one whose making was interrupted
            c.execute(sa.text(f"DROP INDEX CONCURRENTLY IF EXISTS {other}"))
    c.execute(sa.text(_FUNCTION))
    condition = sa.and_(*_in_index(model, length)).compile(c, compile_kwargs={"literal_binds": True})
    c.exec_driver_sql(
        f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON knowledge_embeddings USING hnsw "
        f"(({_expression(length // 2)}) halfvec_cosine_ops) WHERE {condition}"
    )
    return c.execute(sa.select(sa.func.count()).where(of)).scalar_one()


def is_there(c: Connection, model: str, dimensions: int) -> bool:
    """Whether the index of a model's vectors can be asked."""
    if c.dialect.name != "postgresql":
        return False
    query = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
    return bool(c.execute(query, {"name": name_of(model, dimensions)}).scalar())


def nearest(
    c: Connection, model: str, vector: bytes, k: int, source_ids: Sequence[str]
) -> list[tuple[int, float]]:
    """The ``k`` passages of these sources that are nearest to a vector, the nearest first, in a transaction.

    Each with its similarity, a cosine. They are fewer where these sources are so small a part of all that
    the scan gives up before (hnsw.max_scan_tuples).
    """
    numbers = decode(vector)
    for name, value in (("ef_search", max(_LOOKED_AT, 2 * k)), ("iterative_scan", "strict_order")):
        c.execute(sa.select(sa.func.set_config(f"hnsw.{name}", str(value), True)))
    wanted = sa.cast(f"[{','.join(map(str, numbers))}]", _HalfVector(len(numbers)))
    distance = sa.literal_column(_expression(len(numbers))).op("<=>", return_type=sa.Float())(wanted)
    query = (
        sa.select(embeddings.c.passage_id, distance.label("distance"))
        .where(*_in_index(model, len(vector)), embeddings.c.source_id.in_(source_ids))
        .order_by("distance")
        .limit(k)
    )
    return [(row.passage_id, 1 - row.distance) for row in c.execute(query)]


def _check(version: str | None) -> None:
    """Raises ConfigurationError where the database has no such pgvector; None: it has none at all."""
    if version is None:
        raise ConfigurationError(
            "The database has no pgvector. Install it on the server, and have a superuser execute "
            "CREATE EXTENSION vector; in this database."
        )
    if tuple(map(int, version.split(".")[:2])) < _OLDEST:
        raise ConfigurationError(
            f"The database has pgvector {version}, and the index needs 0.8 or later. Install that on the "
            "server, and have a superuser execute ALTER EXTENSION vector UPDATE; in this database."
        )


class _HalfVector(sa.types.UserDefinedType[str]):
    cache_ok = True

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions

    def get_col_spec(self, **_: object) -> str:
        return f"halfvec({self.dimensions})"


def _in_index(model: str, length: int) -> Sequence[sa.ColumnElement[bool]]:
    """Which vectors are: the planner must read the values in the query, to see that it asks for no others."""
    return (
        embeddings.c.model == sa.literal(model, literal_execute=True),
        sa.func.length(embeddings.c.vector) == sa.literal(length, literal_execute=True),
    )


def _expression(dimensions: int) -> str:
    return f"knowledge_halfvec(vector)::halfvec({dimensions})"
