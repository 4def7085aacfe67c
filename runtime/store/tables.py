"""The tables. Migrations under ``migrations/`` create them; a test holds the two together.

Ids are UUIDv7: native on PostgreSQL, 32 hexadecimal digits on SQLite. Times are
``timestamptz`` on PostgreSQL and sortable text on SQLite; both come from the
database's own clock (:class:`now`). So the order of what several processes write is that
of the times, and ids only decide between equal ones.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles

from runtime.model import MessageStatus, RunStatus, ThreadStatus, encode_time


class Time(sa.types.TypeDecorator[datetime]):
    """An aware ``datetime`` in UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """Text of fixed width on SQLite, so that it sorts and compares as time does."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.String(24))
        return super().load_dialect_impl(dialect)

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        return encode_time(value) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return datetime.fromisoformat(value) if isinstance(value, str) else value.astimezone(UTC)


class now(sa.sql.functions.FunctionElement[datetime]):
    """The database's clock, ``seconds`` from now (a number or a bound parameter)."""

    type = Time()
    inherit_cache = True
    name = "now"

    def __init__(self, seconds: Any = 0) -> None:
        super().__init__(sa.literal(seconds, sa.Float()) if isinstance(seconds, int | float) else seconds)


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: Any, **kw: Any) -> str:
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kw)}))"


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: Any, **kw: Any) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', 'now', {compiler.process(element.clauses, **kw)} || ' seconds')"


def moment(seconds: Any = 0) -> sa.ScalarSelect[datetime]:
    """:class:`now`, read once in a statement, so that an index can be searched by it.

    PostgreSQL reads its clock anew for each row that is compared with that, and so looks at all rows.
    """
    return sa.select(now(seconds)).scalar_subquery()


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = sa.Uuid(as_uuid=False)
Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def _partial_index(name: str, *columns: Any, where: str) -> sa.Index:
    condition = sa.text(where)
    return sa.Index(name, *columns, postgresql_where=condition, sqlite_where=condition)


workspaces = sa.Table(
    "workspaces",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("created_at", Time, nullable=False),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("workspace_id", Id, sa.ForeignKey("workspaces.id"), nullable=False),
    sa.Column("email", sa.Text, nullable=False, unique=True),  # lower case
    sa.Column("name", sa.Text),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("created_at", Time, nullable=False),
)

logins = sa.Table(
    "logins",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("expires_at", Time, nullable=False),
    sa.Column("ended_at", Time),
)

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("last_used_at", Time),
)

pool_tokens = sa.Table(
    "pool_tokens",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("last_used_at", Time),
)

threads = sa.Table(
    "threads",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("workspace_id", Id, sa.ForeignKey("workspaces.id"), nullable=False),
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), nullable=False),
    sa.Column("title", sa.Text),
    sa.Column("worker_id", sa.Text),
    sa.Column("config", Json, nullable=False),
    sa.Column("metadata", Json, nullable=False),
    sa.Column("status", sa.String(10), nullable=False, default=ThreadStatus.ACTIVE),
    sa.Column("root_state_id", Id, nullable=False),
    sa.Column("latest_state_id", Id, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("updated_at", Time, nullable=False),
    sa.Column("deleted_at", Time),
    sa.Column("title_wanted", sa.Boolean, nullable=False, server_default=sa.false()),  # of a worker
    # The title as it is searched; empty: what an earlier version stored in this thread is not folded yet.
    sa.Column("folded", sa.Text, server_default=sa.text("''")),
    sa.Column("titles", Id),  # the thread to name or to sum up which this one, in no list, was made
    # The thread that this one, in no list, was made for: whose run has called the sub-run that works on it,
    # or that of the system whose entity it is. That of a system is in no list either, and names itself.
    sa.Column("called_from", Id),
    sa.Index("ix_threads_list", "workspace_id", "status", "updated_at", "id"),
    _partial_index(
        "ix_threads_deleted",
        "deleted_at",
        where="deleted_at IS NOT NULL",
    ),
    _partial_index(
        "ix_threads_trash",
        "workspace_id",
        "deleted_at",
        "id",
        where="deleted_at IS NOT NULL AND titles IS NULL",
    ),
    _partial_index(
        "ix_threads_called_from",
        "called_from",
        where="called_from IS NOT NULL",
    ),
    _partial_index(
        "ix_threads_title_wanted",
        "updated_at",
        where="title_wanted",
    ),
    _partial_index(
        "ix_threads_unfolded",
        "updated_at",
        where="folded = ''",
    ),
    _partial_index(
        "ix_threads_titles",
        "titles",
        where="titles IS NOT NULL AND deleted_at IS NULL",
    ),
)

states = sa.Table(
    "states",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("thread_id", Id, sa.ForeignKey("threads.id", ondelete="CASCADE"), nullable=False),
    sa.Column("parent_id", Id),
    sa.Column("depth", sa.Integer, nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("children", sa.Integer, nullable=False, default=0),
    sa.Column("run_id", Id),
    sa.Column("label", sa.Text),
    sa.Column("starred", sa.Boolean, nullable=False, default=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("data", Json),  # what the worker that has filled it keeps for the next one
    sa.Column("data_of", Id),  # the state whose data counts here: itself, or where it was last set
    sa.Index("ix_states_thread", "thread_id", "created_at", "id"),
    sa.Index("ix_states_siblings", "parent_id", "ordinal", unique=True),
)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("state_id", Id, sa.ForeignKey("states.id", ondelete="CASCADE"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),
    sa.Column("void", sa.Boolean, nullable=False, default=False),  # of an attempt that was lost
    sa.Column("role", sa.String(10), nullable=False),
    sa.Column("type", sa.String(12), nullable=False),
    sa.Column("channel", sa.String(10), nullable=False),
    sa.Column("author", sa.Text),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("folded", sa.Text),  # the content as it is searched; none: lower(content) is
    sa.Column("data", Json, nullable=False),
    sa.Column("status", sa.String(10), nullable=False, default=MessageStatus.COMPLETE),
    sa.Column("run_id", Id),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("files", Json),  # those that it names: id, name, type, size of each
    sa.Index("ix_messages_state", "state_id", "position"),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("thread_id", Id, sa.ForeignKey("threads.id", ondelete="CASCADE"), nullable=False),
    sa.Column("workspace_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("parent_run_id", Id),
    sa.Column("input_state_id", Id, nullable=False),
    sa.Column("output_state_id", Id, nullable=False),
    sa.Column("worker_id", sa.Text, nullable=False),
    sa.Column("worker_digest", sa.String(64), nullable=False),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("config", Json, nullable=False),
    sa.Column("args", Json),
    sa.Column("status", sa.String(10), nullable=False, default=RunStatus.QUEUED),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),
    sa.Column("failures", sa.Integer, nullable=False, default=0),
    sa.Column("reaps", sa.Integer, nullable=False, default=0),  # failures that were lost attempts
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("timeout_seconds", sa.Float, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False, default=0),
    sa.Column("lease_until", Time),
    sa.Column("claimed_by", sa.Text),
    sa.Column("not_before", Time),  # a retry waits for its backoff
    sa.Column("cancel_requested_at", Time),
    sa.Column("published_at", Time),
    sa.Column("announced_at", Time),
    sa.Column("error", Json),
    sa.Column("last_failure", Json),  # of the attempt before, if it failed
    sa.Column("usage", Json),
    sa.Column("confirmation", Json),
    sa.Column("answers", Json, nullable=False),
    sa.Column("sandbox", Json),  # of the last attempt
    sa.Column("created_at", Time, nullable=False),
    sa.Column("started_at", Time),
    sa.Column("first_delta_at", Time),  # of the text that stands; written when an attempt ends
    sa.Column("finished_at", Time),
    sa.Column("imported", sa.Boolean, nullable=False, server_default=sa.false()),  # it did not run here
    sa.Column("steered", sa.Boolean, nullable=False, server_default=sa.false()),  # it has queued messages
    # Of a sub-run; see runtime.store.calls.
    sa.Column("call_id", sa.Text),
    sa.Column("call_digest", sa.Text),
    sa.Column("root_run_id", Id),
    sa.Column("call_depth", sa.Integer, nullable=False, server_default="0"),
    # How many sub-runs it has made; of one that a client has asked for, with all that those have made.
    sa.Column("calls", sa.Integer, nullable=False, server_default="0"),
    sa.Column("inbox_reads", sa.Integer, nullable=False, server_default="0"),  # by its worker
    sa.Column("window", Json, quote=True),  # what of the conversation its last attempt was not given
    sa.Column("session_id", Id),  # of a turn of a session
    sa.Column("turn", sa.Integer),
    sa.Column("finish_reason", sa.Text),
    sa.Column("awaited_by", sa.Text),  # the task of the outbox that its end wakes
    sa.Column("message", Json),  # of a system, which it handles
    sa.Index("ix_runs_of_thread", "thread_id", "created_at", "id"),
    sa.Index("ix_runs_of_workspace", "workspace_id", "created_at", "id"),
    # What is under way is little, however many runs have ended: partial indexes.
    _partial_index(
        "ix_runs_backlog",
        "pool",
        "user_id",
        sa.desc("priority"),
        "created_at",
        "id",
        where="status = 'queued' AND published_at IS NULL",
    ),
    _partial_index(
        "ix_runs_published",
        "pool",
        "published_at",
        where="status = 'queued' AND published_at IS NOT NULL",
    ),
    _partial_index(
        "ix_runs_queued",
        "user_id",
        where="status = 'queued'",
    ),
    _partial_index(
        "ix_runs_running",
        "lease_until",
        where="status = 'running'",
    ),
    _partial_index(
        "ix_runs_unannounced",
        "finished_at",
        where="finished_at IS NOT NULL AND announced_at IS NULL",
    ),
    sa.Index(
        "ix_runs_calls",
        "parent_run_id",
        "call_id",
        unique=True,
        postgresql_where=sa.text("call_id IS NOT NULL"),
        sqlite_where=sa.text("call_id IS NOT NULL"),
    ),
)

# Literals, as in the conditions of the partial indexes: of a parameter no planner could tell that they apply.
IS_QUEUED = runs.c.status == sa.literal_column("'queued'")
IS_RUNNING = runs.c.status == sa.literal_column("'running'")
IS_CALL = runs.c.call_id.is_not(None)
"""That it is a sub-run."""


def is_at_work(of: Any = runs) -> sa.ColumnElement[bool]:
    """That a run uses a slot: it runs and waits for no sub-run, or is a sub-run that is about to start."""
    below = runs.alias("below")
    called = (below.c.parent_run_id == of.c.id, below.c.call_id.is_not(None), below.c.finished_at.is_(None))
    is_running, is_queued = (
        of.c.status == sa.literal_column(f"'{status}'") for status in ("running", "queued")
    )
    return sa.or_(
        sa.and_(is_running, ~sa.and_(of.c.calls > 0, sa.exists().where(*called))),
        sa.and_(is_queued, of.c.published_at.is_not(None), of.c.call_id.is_not(None)),
    )


summaries = sa.Table(
    "summaries",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("thread_id", Id, sa.ForeignKey("threads.id", ondelete="CASCADE"), nullable=False, index=True),
    # Of the last message that it covers: it holds on every branch that leads through there.
    sa.Column("state_id", Id, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("messages", sa.Integer, nullable=False),  # that it covers, all from the first one on
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("run_id", Id, nullable=False),  # that has made it
    sa.Column("created_at", Time, nullable=False),
    sa.Index("ix_summaries_state", "state_id", "position", unique=True),
)
"""What was said at the beginning of conversations, in the words of workers that sum it up."""

run_steps = sa.Table(
    "run_steps",
    metadata,
    sa.Column("run_id", Id, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("created_at", Time, nullable=False),
)

run_logs = sa.Table(
    "run_logs",
    metadata,
    sa.Column("run_id", Id, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("truncated", sa.Boolean, nullable=False),  # its beginning was dropped
)

saved_values = sa.Table(
    "saved_values",
    metadata,
    sa.Column("run_id", Id, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text),
    sa.Column("value", sa.Text, nullable=False),  # JSON in ASCII, as it was said: JSONB knows no NUL
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),  # that has saved it
)

queued_messages = sa.Table(
    "queued_messages",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("run_id", Id, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),  # among those of its run, in the order of arrival
    sa.Column("role", sa.String(10), nullable=False),
    sa.Column("type", sa.String(12), nullable=False),
    sa.Column("channel", sa.String(10), nullable=False),
    sa.Column("author", sa.Text),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("data", Json, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("read_at", Time),  # by its run's worker
    sa.Column("read_number", sa.Integer),  # of the look into the inbox that has found it, from 1
    sa.Column("next_run_id", Id),  # the run that it has begun, because nobody had read it
    sa.Column("files", Json),  # as of a message
    sa.Index("ix_queued_messages_run", "run_id", "number", unique=True),
)

files = sa.Table(
    "files",
    metadata,
    sa.Column("id", Id, primary_key=True),  # random: it does not tell those of others
    sa.Column("workspace_id", Id, sa.ForeignKey("workspaces.id"), nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("run_id", Id),  # that has made it
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),  # SHA-256 of the content, by which it is kept
    sa.Column("created_at", Time, nullable=False),
    sa.Column("ready_at", Time),  # the content is there
    sa.Column("deleted_at", Time),  # nobody reaches it; its content is about to go
    sa.Index("ix_files_content", "workspace_id", "hash"),
    sa.Index("ix_files_user", "user_id"),
    sa.Index("ix_files_created", "created_at"),
    _partial_index(
        "ix_files_deleted",
        "deleted_at",
        where="deleted_at IS NOT NULL",
    ),
)

file_uses = sa.Table(
    "file_uses",
    metadata,
    sa.Column("file_id", Id, sa.ForeignKey("files.id"), primary_key=True),
    sa.Column(
        "thread_id",
        Id,
        sa.ForeignKey("threads.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
)
"""In which threads messages name a file: it stays for as long as one of them does."""

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("user_id", Id, primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("answer", Json),
    sa.Column("created_at", Time, nullable=False, index=True),
)

run_sends = sa.Table(
    "run_sends",
    metadata,
    sa.Column("run_id", Id, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("sent", Json, nullable=False),  # to others of its system, in order
)
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("payload", Json),
    sa.Column("due_at", Time, nullable=False),  # put off by whoever takes it
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),  # of the last try
    sa.Column("dead_at", Time),  # given up
    sa.Column("created_at", Time, nullable=False),
    _partial_index(
        "ix_outbox_due",
        "due_at",
        where="dead_at IS NULL",
    ),
)

pools = sa.Table(
    "pools",
    metadata,
    sa.Column("incarnation", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, index=True),
    sa.Column("slots", sa.Integer, nullable=False),
    sa.Column("workers", Json, nullable=False),
    sa.Column("seen_at", Time, nullable=False),
    sa.Column("clock_skew", sa.Float),  # seconds by which its clock is ahead of the database's
    sa.Column("dropped_messages", sa.Integer, nullable=False, server_default="0"),
    sa.Column("queue_refusal", sa.Text),  # why the broker refuses its queue
)

worker_versions = sa.Table(
    "worker_versions",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("worker_id", sa.Text, nullable=False),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("manifest", sa.Text, nullable=False),  # JSON, whose order counts: forms follow the schema
    sa.Column("registered_at", Time, nullable=False),
    sa.Column("seen_at", Time, nullable=False),  # by a pool process that has it, to the hour
)

figures = sa.Table(
    "figures",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", Json, nullable=False),
    sa.Column("claimant", sa.Text),
    sa.Column("good_until", Time),
)
"""What the metrics say of all runs: ``value`` is what ``claimant`` has found, or finds now."""

duties = sa.Table(
    "duties",
    metadata,
    sa.Column("process", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("ages", Json, nullable=False),
    sa.Column("seen_at", Time, nullable=False),
)
"""What each process reports of its duties: ``ages`` are the seconds since the last success of each."""
