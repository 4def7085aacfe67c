"""Install Branchline from this checkout: `python config/install.py [EXTRA,…]`.

Everything that setup.cfg asks for comes as config/requirements.lock names it, each file checked
by its hash; the checkout itself is installed in place. The environment is that of the Python
which executes this. It needs pip and nothing else.

pip itself cannot do that with one lock for all extras: hashes count in a file of requirements
only, and such a file is installed as a whole.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
LOCK = CHECKOUT / "config" / "requirements.lock"
ITSELF = "branchline"
BUILD = "build"
"""The extra with what builds the checkout; always needed, for the build fetches nothing."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def normal(requirement: str) -> str:
    """The normal form of the name that a requirement begins with (PEP 503)."""
    match = _NAME.match(requirement)
    assert match is not None, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def wanted(extras: Iterable[str]) -> set[str]:
    """What setup.cfg asks for directly. Raises SystemExit for an extra that it does not have."""
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    known = setup["options.extras_require"]
    if unknown := [extra for extra in extras if extra not in known]:
        sys.exit(f"There is no extra {unknown[0]}; those of setup.cfg are {', '.join(sorted(known))}.")
    texts = [setup["options"]["install_requires"], *(known[extra] for extra in (*extras, BUILD))]
    return {normal(line.strip()) for text in texts for line in text.splitlines() if line.strip()}


def locked() -> dict[str, str]:
    """What the lock says of each package, by its name."""
    entries = re.split(r"^(?=[A-Za-z0-9])", LOCK.read_text(), flags=re.MULTILINE)
    return {normal(entry): entry for entry in entries if _NAME.match(entry)}


def parents(entry: str) -> set[str]:
    """Whose dependency a package is: the names in the lock's comment below it."""
    comment = " ".join(line.strip("# ") for line in entry.splitlines() if line.lstrip().startswith("#"))
    return {normal(word) for word in comment.removeprefix("via ").split() if _NAME.match(word)}


def chosen(extras: Iterable[str]) -> list[str]:
    """The entries of the lock that these extras need, with all that those need."""
    entries = locked()
    needed = wanted(extras)
    if missing := needed - entries.keys():
        sys.exit(
            f"{LOCK.name} lacks {', '.join(sorted(missing))}, which setup.cfg asks for: call `make lock`."
        )
    while more := {name for name, entry in entries.items() if name not in needed and parents(entry) & needed}:
        needed |= more
    return [entry for name, entry in entries.items() if name in needed]


def pip(*arguments: str) -> None:
    """Call pip. Raises SystemExit with its exit code if it fails."""
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", *arguments]
    if code := subprocess.run(command, check=False).returncode:
        sys.exit(code)


def main(extras: list[str]) -> None:
    """Install the packages, then the checkout."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text("".join(chosen(extras)))
        pip("--require-hashes", "--requirement", str(requirements))
    where = f"{CHECKOUT}[{','.join(extras)}]" if extras else str(CHECKOUT)
    pip("--no-build-isolation", "--editable", where)


if __name__ == "__main__":
    main([extra for argument in sys.argv[1:] for extra in argument.split(",") if extra])
