"""Pack the package branchline for JavaScript: `python config/sdk/pack.py FOLDER` writes it to FOLDER.

It is runtime/node_sdk in the version of the product, as npm installs it. Nothing is fetched, and
no npm is needed.
"""

from __future__ import annotations

import io
import json
import runpy
import sys
import tarfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PACKAGE = CHECKOUT / "runtime" / "node_sdk"


def version() -> str:
    """The product's."""
    return str(runpy.run_path(str(CHECKOUT / "runtime" / "__init__.py"))["__version__"])


def pack(target: Path) -> Path:
    """The tarball."""
    files = {file.name: file.read_bytes() for file in PACKAGE.iterdir()}
    description = json.loads(files.pop("package.json"))
    runs = {file.name for file in PACKAGE.iterdir() if file.stat().st_mode & 0o100}
    return write(target, description, files, runs)


def write(
    target: Path, description: Mapping[str, Any], files: Mapping[str, bytes], runs: Collection[str] = ()
) -> Path:
    """A package in the product's version, of files by their paths; those in ``runs`` can be executed.

    ``description``: its package.json.
    """
    content = json.dumps({**description, "version": version()}, indent=2).encode() + b"\n"
    name = str(description["name"]).lstrip("@").replace("/", "-")
    target.mkdir(parents=True, exist_ok=True)
    path = target / f"{name}-{version()}.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for file, data in sorted({**files, "package.json": content}.items()):
            entry = tarfile.TarInfo(f"package/{file}")
            entry.size, entry.mode = len(data), 0o755 if file in runs else 0o644
            archive.addfile(entry, io.BytesIO(data))
    return path


if __name__ == "__main__":
    print(pack(Path(sys.argv[1]).absolute()))
