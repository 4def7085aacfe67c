"""Hostile workers at level ``strict``, one of each type; what they try is in ``strict_acts``."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.hostile import KINDS, write_workers

ACTS = Path(__file__).with_name("strict_acts.py")


def write_strict_workers(folder: Path, python: str, sandbox: str, certificate: Path) -> None:
    """Make a worker of each kind below ``folder``; ``sandbox``: the rest of its table in worker.toml."""
    write_workers(folder, python)
    for kind in KINDS:
        own = folder / f"hostile_{kind}"
        shutil.copy(ACTS, own)
        shutil.copy(certificate, own / "authority.pem")
        for path in (*own.glob("worker.*"),):
            path.write_text(path.read_text().replace("hostile_acts", "strict_acts"))
        with (own / "worker.toml").open("a") as manifest:
            manifest.write(f'\n[sandbox]\nlevel = "strict"\nrequired = true\n{sandbox}')
