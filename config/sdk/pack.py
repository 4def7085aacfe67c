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
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PACKAGE = CHECKOUT / "runtime" / "node_sdk"


def pack(target: Path) -> Path:
    """The tarball."""
    version = str(runpy.run_path(str(CHECKOUT / "runtime" / "__init__.py"))["__version__"])
    target.mkdir(parents=True, exist_ok=True)
    path = target / f"branchline-{version}.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted(PACKAGE.iterdir()):
            content = file.read_bytes()
            if file.name == "package.json":
                content = json.dumps({**json.loads(content), "version": version}, indent=2).encode() + b"\n"
            entry = tarfile.TarInfo(f"package/{file.name}")
            entry.size, entry.mode = len(content), file.stat().st_mode & 0o755
            archive.addfile(entry, io.BytesIO(content))
    return path


if __name__ == "__main__":
    print(pack(Path(sys.argv[1]).absolute()))
