"""Build the package branchline-sdk: `python config/sdk/build.py FOLDER` writes its wheel to FOLDER.

It is runtime/sdk under the name branchline_sdk, in the version of the product. The modules are
copied first, for a build leaves files beside what it builds. Nothing is fetched; setuptools is
installed with the checkout.
"""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
_LEFT_OUT = shutil.ignore_patterns("__pycache__")


def version() -> str:
    """The product's."""
    return str(runpy.run_path(str(CHECKOUT / "runtime" / "__init__.py"))["__version__"])


def collect(folder: Path) -> None:
    """Put together what the package is built from."""
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(CHECKOUT / "config" / "sdk" / name, folder)
    (folder / "VERSION").write_text(version())
    package = shutil.copytree(CHECKOUT / "runtime" / "sdk", folder / "branchline_sdk", ignore=_LEFT_OUT)
    (package / "py.typed").touch()


def build(target: Path) -> Path:
    """The wheel. Raises SystemExit where pip fails."""
    with tempfile.TemporaryDirectory() as folder:
        collect(Path(folder))
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        options = ["--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target)]
        done = subprocess.run([*pip, "wheel", *options, folder], check=False)
    if done.returncode:
        sys.exit("The package could not be built, for the reason above.")
    return target / f"branchline_sdk-{version()}-py3-none-any.whl"


if __name__ == "__main__":
    print(build(Path(sys.argv[1]).absolute()))
