"""What holds the project together and no other test would notice."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent.parent
WORKERS = sorted(CHECKOUT.glob("workers/**/*.py"))


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("path", WORKERS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_a_worker_imports_nothing_of_ours_but_the_sdk(path: Path) -> None:
    ours = {name for name in imported(path) if name.split(".")[0] in ("runtime", "web", "tests")}
    assert ours <= {"runtime.sdk"}


def test_the_lock_is_exact_and_names_no_host() -> None:
    lines = (CHECKOUT / "config" / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert len(pins) > 50
    assert all("==" in pin and "://" not in pin and "@" not in pin for pin in pins)
