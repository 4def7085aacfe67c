"""``python -m bench.explain``: the plans of what the product asks of a database with a million messages.

Starts a PostgreSQL of its own (with auto_explain, which Debian's packages carry),
fills it, and lets the product do all of its work on it: runs from the request to
the end, streams, history, lists. The database logs the plan of every statement;
they are printed as a Markdown table, the slowest first. Ends with 1 where one of
them has read a big table from its beginning to its end.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psycopg

from bench import branchline, million, postgresql
from bench.branchline import Branchline, InputState

_LOGGED = {
    "shared_preload_libraries": "auto_explain",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "log_line_prefix": "",
    "autovacuum": "off",
    "fsync": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "maintenance_work_mem": "256MB",
}
"""Plans in the log; the second half only fills the database quicker."""
_PLAN = re.compile(r"^LOG:  duration: ([\d.]+) ms  plan:\n((?:\t.*\n)+)", re.MULTILINE)
_COLUMNS = re.compile(r"SELECT [^()]{40,}? FROM")
_LISTED = re.compile(r"IN \(\$[^()]*\)")
"""What makes two of the same statement out of one."""
_MATTERS = 10_000
"""Rows from which on a table is too big to be read as a whole."""
_BIG = """
SELECT relname, reltuples::bigint FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples >= %s ORDER BY 2 DESC
"""
_ALLOWED_FULL_SCANS = {
    "SELECT runs.worker_id, runs.pool, runs.status, CAST(runs.error": "/metrics counts all runs; it spends "
    "no more than a hundredth of the time on it",
}
"""Beginnings of statements that may read a big table as a whole, and why."""
_LETTERS = 130
"""Of a statement that are shown."""


@dataclass(slots=True)
class Plan:
    """A statement, and what the database did for it."""

    text: str
    took: list[float] = field(default_factory=list)
    """Milliseconds, once per execution."""
    read: int = 0
    """Most pages that an execution looked at."""
    access_paths: set[str] = field(default_factory=set)
    """How it reached its rows."""
    full_scans: set[str] = field(default_factory=set)
    """Big tables that were read as a whole."""

    def add(self, took: float, entry: dict[str, Any], big: Mapping[str, int]) -> None:
        """Note one execution."""
        plan = entry["Plan"]
        self.took.append(took)
        if "JIT" in entry:
            self.access_paths.add("compiled first (JIT)")
        pages = plan.get("Shared Hit Blocks", 0) + plan.get("Shared Read Blocks", 0)
        self.read = max(self.read, pages)
        for node in _nodes(plan):
            kind = node["Node Type"]
            if kind.endswith("Scan") and (target := node.get("Index Name") or node.get("Relation Name")):
                self.access_paths.add(f"{kind} {target}")
            if kind == "Seq Scan" and (table := node["Relation Name"]) in big:
                self.full_scans.add(table)


def main() -> int:
    """Fill, work, print. Returns an exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    with tempfile.TemporaryDirectory(prefix="branchline-explain-") as name:
        folder = Path(name)
        try:
            with postgresql.own(folder / "postgresql", "auto_explain", **_LOGGED) as server:
                big = asyncio.run(_work(folder, server))
        except postgresql.NoPostgreSQL as error:
            print(error, file=sys.stderr)
            return 2
        plans = _plans((folder / "postgresql" / "log").read_text(errors="replace"), big)
    print(f"Rows: {', '.join(f'{rows:,} {table}' for table, rows in big.items())}.\n\n{_table(plans)}")
    bad = False
    for plan in plans:
        if plan.full_scans:
            reason = next(
                (why for begin, why in _ALLOWED_FULL_SCANS.items() if plan.text.startswith(begin)), None
            )
            bad = bad or reason is None
            note = f" ({reason})" if reason else ""
            print(f"\nreads all of {', '.join(plan.full_scans)}{note}: {plan.text}", file=sys.stderr)
    return 1 if bad else 0


async def _work(folder: Path, server: str) -> dict[str, int]:
    """Returns how many rows the big tables had."""
    with branchline.running(folder / "branchline", server) as system:
        _log("filling ...")
        user = (await system.client.request("GET", "/api/me")).json()["user"]
        with psycopg.connect(system.database_url, autocommit=True) as connection:
            filled = million.fill(connection, user["id"])
            big: dict[str, int] = dict(connection.execute(_BIG, [_MATTERS]).fetchall())
            for statement in (
                "ALTER SYSTEM SET auto_explain.log_min_duration = 0",
                "SELECT pg_reload_conf()",
            ):
                connection.execute(statement)
        _log("working ...")
        await _runs(system, filled)
        await _reads(system, filled)
    return big


async def _runs(system: Branchline, filled: million.Filled) -> None:
    """All that can become of a run."""
    inputs = [InputState(thread, state) for thread, state in filled.newest]
    await asyncio.gather(*(system.stream_run_at(input_state, 3, 0.01) for input_state in inputs))
    await asyncio.gather(
        *(system.stream_run_at(input_state, 3, 0.01) for input_state in [filled.deep, filled.wide])
    )
    # Long enough for a lease to be renewed meanwhile.
    long = await asyncio.gather(*(system.ask(input_state, 40, 0.1) for input_state in inputs[:4]))
    for _, run_id in long[:2]:
        await system.cancel(run_id)
    for _, run_id in long[2:]:
        await system.client.request("GET", f"/api/runs/{run_id}/wait?timeout=20")
    body = {"input_state_id": inputs[5].state_id, "worker_id": "stamp", "args": {"n": 1, "gap": 0}, "n": 2}
    for _ in range(2):
        path = f"/api/threads/{inputs[5].thread_id}/runs"
        await system.client.request("POST", path, body, Idempotency_Key="the same")
    await asyncio.sleep(2)  # what the reaper and the pools do every second or so


async def _reads(system: Branchline, filled: million.Filled) -> None:
    """What clients read."""
    for input_state in (InputState(*filled.newest[0]), filled.deep, filled.wide):
        for path in (
            f"/api/states/{input_state.state_id}/messages?limit=10",
            f"/api/states/{input_state.state_id}",
            f"/api/threads/{input_state.thread_id}",
            f"/api/threads/{input_state.thread_id}/states?limit=50",
            f"/api/threads/{input_state.thread_id}/states?structure=1",
            f"/api/threads/{input_state.thread_id}/snapshot?state={input_state.state_id}",
        ):
            await system.client.request("GET", path)
    for path in (
        "/api/threads",
        "/api/threads?query=lantern",
        "/api/runs",
        "/api/runs?status=running",
        "/api/runs?status=success&worker_id=stamp",
        f"/api/runs?thread_id={filled.newest[0][0]}",
        f"/api/runs/{filled.run}",
        f"/api/runs/{filled.run}/events",
        f"/api/runs/{filled.run}/attempts",
        f"/api/runs/{filled.run}/log",
        "/api/workers",
        "/metrics",
    ):
        await system.client.request("GET", path)


def _plans(log: str, big: Mapping[str, int]) -> list[Plan]:
    found: dict[str, Plan] = {}
    for took, text in _PLAN.findall(log):
        entry = orjson.loads(re.sub(r"^\t", "", text, flags=re.MULTILINE))
        statement = _LISTED.sub("IN (…)", re.sub(r"\s+", " ", entry["Query Text"]))
        if "pg_" not in statement:
            found.setdefault(statement, Plan(statement)).add(float(took), entry, big)
    return sorted(found.values(), key=lambda plan: -max(plan.took))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _table(plans: list[Plan]) -> str:
    lines = ["| statement | times | median ms | longest ms | pages | way |", "|---|---:|---:|---:|---:|---|"]
    for plan in plans:
        took = sorted(plan.took)
        full_scans = [f"**all of {table}**" for table in sorted(plan.full_scans)]
        access = ", ".join([*full_scans, *sorted(_short(plan.access_paths))])
        lines.append(
            f"| `{_brief(plan.text)}` | {len(took)} | {took[len(took) // 2]:.2f} "
            f"| {took[-1]:.2f} | {plan.read:,} | {access} |"
        )
    return "\n".join(lines)


def _brief(statement: str) -> str:
    """What tells it from others: without the columns that it lists."""
    text = _COLUMNS.sub("SELECT … FROM", statement.strip())
    return text[:_LETTERS].replace("|", "¦")


def _short(access_paths: set[str]) -> set[str]:
    return {access.replace("Index Only Scan ", "").replace("Index Scan ", "") for access in access_paths}


def _log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
