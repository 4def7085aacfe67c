"""Pack the panel for npm: `python config/sdk/pack_panel.py FOLDER` writes @branchline/panel to FOLDER.

It is web/ui/panel in the version of the product, with all that it is made of but React, and with its types.
It is built by what the browser interface is built by, which `make ui` has fetched.
"""

from __future__ import annotations

import json
import posixpath
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pack import CHECKOUT, write

UI = CHECKOUT / "web" / "ui"
PANEL = UI / "panel"
ENTRIES = ("index", "element", "react", "service")
_BUILD = (
    "vite",
    "build",
    "--logLevel=warn",
    "--config=panel/vite.package.config.ts",
    "panel",
    "--emptyOutDir",
)
_DECLARE = ("tsc", "--project", "panel/tsconfig.package.json")
_IMPORTED = re.compile(r"""((?:from|import) ['"])([^'"]+)(['"])""")
_OUTSIDE = {"react"}
"""What types may come from that is not within."""


def pack(target: Path) -> Path:
    """The tarball. Raises SystemExit where it cannot be built."""
    with tempfile.TemporaryDirectory() as folder:
        built, types = Path(folder) / "built", Path(folder) / "types"
        _run(*_BUILD, "--outDir", built)
        _run(*_DECLARE, "--outDir", types)
        made = (file for file in built.rglob("*") if file.is_file())
        files = {str(file.relative_to(built)): file.read_bytes() for file in made}
        files |= {name: text.encode() for name, text in _types(types / "panel" / "src")}
    files["README.md"] = (PANEL / "README.md").read_bytes()
    return write(target, _description(), files)


def _run(*command: str | Path) -> None:
    done = subprocess.run(["./with-node", "npx", "--no-install", *command], cwd=UI, check=False)
    if done.returncode:
        sys.exit("The panel could not be packed, for the reason above.")


def _description() -> Mapping[str, Any]:
    """Its package.json: of the one that it has here, what others need."""
    ours = json.loads((PANEL / "package.json").read_text())
    kept = ("name", "description", "type", "peerDependencies", "peerDependenciesMeta")
    exports = {f"./{name}": {"types": f"./{name}.d.ts", "default": f"./{name}.js"} for name in ENTRIES}
    return {
        **{name: ours[name] for name in kept},
        "exports": {".": exports.pop("./index"), **exports},
        "types": "./index.d.ts",
    }


def _types(folder: Path) -> Iterator[tuple[str, str]]:
    """The declarations that the entries need, whose imports name files as Node.js has them.

    Raises SystemExit where one needs a package that the reader of the types may not have.
    """
    wanted = [f"{name}.d.ts" for name in ENTRIES]
    for name in wanted:  # which grows
        text = (folder / name).read_text()
        for _, imported, _ in _IMPORTED.findall(text):
            if imported.startswith("."):
                found = posixpath.normpath(posixpath.join(posixpath.dirname(name), f"{imported}.d.ts"))
                wanted += [found] if found not in wanted else []
            elif imported not in _OUTSIDE:
                sys.exit(f"{name} names {imported}, which the package does not bring along.")
        yield name, _IMPORTED.sub(lambda found: _with_ending(*found.groups()), text)


def _with_ending(before: str, imported: str, after: str) -> str:
    return f"{before}{imported}{'.js' if imported.startswith('.') else ''}{after}"


if __name__ == "__main__":
    print(pack(Path(sys.argv[1]).absolute()))
