"""Subsystems: folders that the core does not know, and which reach it by few doors.

The rule is tried on imports made up for it, and then held for what there is.
"""

from __future__ import annotations

import grimp
import pytest

SUBSYSTEMS = (
    "runtime.files", "runtime.sessions", "runtime.knowledge", "runtime.systems", "runtime.webhooks",
    "runtime.panel", "web.panel", "web.sessions", "web.knowledge", "web.systems",
)  # fmt: skip
ADAPTERS = "web.adapters."
DOORS = ("runtime.dispatch", "runtime.store", "runtime.events", "runtime.stream")
VOCABULARY = (
    "runtime.model", "runtime.errors", "runtime.settings", "runtime.system", "runtime.process_pool",
    "runtime.transfer.kinds", "runtime.tokens", "runtime.duties", "runtime.registry.config_schema",
)  # fmt: skip
REGISTERS = (
    "runtime.services", "runtime.outboxes", "web.app", "web.api.threads", "web.security.credentials",
    "web.security.scope",
)  # fmt: skip
"""Where a subsystem says, by one line each, what it adds: services, tasks, routes, what a thread shows of
it, and what its tokens reach."""

BUILDS_ON = {"runtime.panel": "runtime.sessions"}
"""An agent chat is the session of a thread: one subsystem that is made of another."""


def subsystem_of(module: str) -> str | None:
    """The subsystem that a module is of; None for the core."""
    if module.startswith(ADAPTERS):
        return ADAPTERS + module.removeprefix(ADAPTERS).split(".")[0]
    return next((name for name in SUBSYSTEMS if f"{module}.".startswith(f"{name}.")), None)


def violations(graph: grimp.ImportGraph) -> set[tuple[str, str]]:
    """Imports that lead from the core into a subsystem, between two, or past the doors."""
    imports = {
        (module, imported)
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
    }
    return {pair for pair in imports if not _allowed(*pair)}


def _allowed(module: str, imported: str) -> bool:
    own, other = subsystem_of(module), subsystem_of(imported)
    if own is None:
        return other is None or module in REGISTERS
    if other is not None:
        return own == other or _is_behind(own, other) or BUILDS_ON.get(own) == other
    return not imported.startswith("runtime.") or imported.startswith((*DOORS, *VOCABULARY))


def _is_behind(own: str, other: str) -> bool:
    """Whether ``own`` has the routes of ``other``."""
    return own.removeprefix("web.") == other.removeprefix("runtime.")


@pytest.mark.parametrize(
    ("module", "imported", "allowed"),
    [
        ("runtime.files.service", "runtime.files.records", True),
        ("runtime.files.service", "runtime.store.runs", True),
        ("runtime.files.service", "runtime.model", True),
        ("web.panel.rooms", "web.http.errors", True),
        ("web.app", "web.panel.rooms", True),
        ("web.sessions.views", "runtime.sessions.store", True),
        ("runtime.panel.service", "runtime.sessions.service", True),
        ("runtime.sessions.service", "runtime.panel.service", False),
        ("web.panel.views", "runtime.sessions.service", False),
        ("web.sessions.views", "runtime.files.records", False),
        ("runtime.sessions.service", "web.sessions.views", False),
        ("runtime.files.service", "runtime.pool.executor", False),
        ("runtime.store.runs", "runtime.files.records", False),
        ("web.api.runs", "web.panel.rooms", False),
        ("runtime.sessions.loop", "runtime.files.records", False),
        ("web.adapters.openai.views", "web.adapters.acp.views", False),
    ],
)
def test_an_import_is_judged_by_the_rule(module: str, imported: str, allowed: bool) -> None:
    graph = grimp.ImportGraph()
    for name in (module, imported):
        graph.add_module(name)
    graph.add_import(importer=module, imported=imported)

    assert violations(graph) == (set() if allowed else {(module, imported)})


def test_no_import_breaks_the_rule() -> None:
    assert violations(grimp.build_graph("runtime", "web", cache_dir=None)) == set()
