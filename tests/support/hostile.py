"""Hostile workers, one of each type that is a process here; what they try is in ``hostile_acts``."""

from __future__ import annotations

import shutil
from pathlib import Path

ACTS = Path(__file__).with_name("hostile_acts.py")
KINDS = ("warm", "cold", "exec", "node")
"""A Python worker that is forked, one that is not because its import starts a thread, and commands."""

_PYTHON = 'type = "python"\nentrypoint_path = "worker.py"'
_MANIFESTS = {
    "warm": _PYTHON,
    "cold": _PYTHON,
    "exec": 'type = "exec"\ncommand = ["{python}", "hostile_acts.py"]',
    "node": 'type = "node"\nentrypoint_path = "worker.mjs"',
}
_WARM = """
from hostile_acts import perform

def run(run):
    yield from perform(run.args)
"""
_COLD = f"""
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
{_WARM}
"""
_NODE = """
import {{ spawnSync }} from "node:child_process";
process.exit(spawnSync("{python}", ["hostile_acts.py"], {{ stdio: "inherit" }}).status);
"""


def write_workers(folder: Path, python: str) -> None:
    """Make a worker of each kind below ``folder``, whose pool is its kind."""
    for kind in KINDS:
        own = folder / f"hostile_{kind}"
        own.mkdir(parents=True)
        shutil.copy(ACTS, own)
        manifest = _MANIFESTS[kind].format(python=python)
        (own / "worker.toml").write_text(
            f'id = "hostile_{kind}"\nname = "Hostile"\npool = "hostile"\n{manifest}\n'
        )
    (folder / "hostile_warm" / "worker.py").write_text(_WARM)
    (folder / "hostile_cold" / "worker.py").write_text(_COLD)
    (folder / "hostile_node" / "worker.mjs").write_text(_NODE.format(python=python))
