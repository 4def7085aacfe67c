"""Install Branchline from this checkout: `python config/install.py [EXTRA,…]`.

Everything that setup.cfg asks for comes as config/requirements.lock names it, each file checked
by its hash; the checkout itself is installed in place. The environment is that of the Python
which executes this. It needs nothing else. `python config/install.py --npm` fetches what the
browser interface is made of, as web/ui/package-lock.json names it.

What pip and npm print is in install.log and npm.log of that environment; of that only the
progress is shown, and where one fails its end, and a sentence with the cause.

pip itself cannot do that with one lock for all extras: hashes count in a file of requirements
only, and such a file is installed as a whole.
"""

from __future__ import annotations

import configparser
import importlib.util
import re
import shutil
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

LOG = Path(sys.prefix) / "install.log"
LOG_OF_NPM = Path(sys.prefix) / "npm.log"
_SHOWN = 20
"""Lines of a program's output that are shown where it fails."""
_OF_PIP = re.compile(r"(?:Collecting|Obtaining|Requirement already satisfied:) ([^\s=]+)")
_OF_NPM = re.compile(r"npm http fetch GET 200 \S+/([^/\s]+)\.tgz")
"""The lines with which a package begins, or is there, and its name."""
_CAUSES = {
    "No space left|ENOSPC": "the disk is full",
    "DO NOT MATCH|EINTEGRITY": "a file is not the one that the lock names",
    "Permission denied|EACCES|EPERM|Read-only file system|EROFS": "a file may not be written",
    "CERTIFICATE|_CERT|UNABLE_TO_VERIFY": "the certificate of the package index is not accepted",
    "NewConnection|NameResolution|name resolution|Name or service|timed out|Timeout|unreachable|ProxyError|"
    "ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|ENETUNREACH": "the package index cannot be reached",
    "(?i)requires.a?.?different Python|EBADENGINE": "a package does not go with this version",
}
"""What the end of the output says, and what that means."""
_ONLY_FOR = {"cryptography": "mcp"}
"""What a package needs for one of its extras only → who asks for that extra, here ``pyjwt[crypto]``. The
lock says whose dependency a package is, but not of which extra."""
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
    """What the lock says of each package, by its name: one entry, or several for different Pythons."""
    found: dict[str, str] = {}
    for entry in re.split(r"^(?=[A-Za-z0-9])", LOCK.read_text(), flags=re.MULTILINE):
        if _NAME.match(entry):
            found[normal(entry)] = found.get(normal(entry), "") + entry
    return found


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
    while more := {name for name, entry in entries.items() if comes(name, entry, needed)} - needed:
        needed |= more
    return [entry for name, entry in entries.items() if name in needed]


def comes(name: str, entry: str, needed: set[str]) -> bool:
    """Whether a package comes with those that are needed."""
    return bool(parents(entry) & needed) and _ONLY_FOR.get(name, "") in {"", *needed}


def pip(*arguments: str, packages: int) -> None:
    """Call pip to install so many packages. Raises SystemExit if it fails."""
    options = ["--disable-pip-version-check", "--no-deps", "--progress-bar", "off"]
    call([sys.executable, "-m", "pip", "install", *options, *arguments], LOG, _OF_PIP, f" of {packages}")


def npm() -> None:
    """Call npm to install what the browser interface is made of. Raises SystemExit if it fails."""
    LOG_OF_NPM.write_text("")
    folder = CHECKOUT / "web" / "ui"
    options = ["--no-progress", "--loglevel=http"]
    call([str(folder / "with-node"), "npm", "ci", *options], LOG_OF_NPM, _OF_NPM, cwd=folder)


def call(command: list[str], log: Path, item: re.Pattern[str], of: str = "", cwd: Path = CHECKOUT) -> None:
    """Call a program that installs packages, and show how far it is.

    ``item`` finds the name of the next package in a line, ``of`` stands behind their number.
    Raises SystemExit, with the end of what it printed and the cause, if it fails.
    """
    started = 0
    output: list[str] = []
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with log.open("a") as file, subprocess.Popen(command, cwd=cwd, **how) as process:
        for line in process.stdout or ():
            file.write(line)
            output.append(line)
            if found := item.match(line):
                started += 1
                show(f"{started}{of} packages: {found[1]}")
    show("")
    if process.returncode:
        end = "".join(output[-_SHOWN:])
        print(end, end="", file=sys.stderr)
        program = "npm" if "npm" in command else "pip"
        sys.exit(f"{program} failed{cause(end)}; all that it said is in {log}")


def cause(end: str) -> str:
    """Why a program has failed, by the end of its output; empty where that says nothing known."""
    return next((f": {meaning}" for said, meaning in _CAUSES.items() if re.search(said, end)), "")


def show(progress: str) -> None:
    """Show how far it is, on a terminal, in place of what it showed before."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(
            f"\r{f'  {progress}'[:width] if progress else '':<{width}}",
            end="" if progress else "\r",
            flush=True,
        )


def main(extras: list[str]) -> None:
    """Install the packages, then the checkout."""
    LOG.write_text("")
    packages = chosen(extras)
    if importlib.util.find_spec("pip") is None:  # the environment was left half made
        call([sys.executable, "-m", "ensurepip"], LOG, _OF_PIP)
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text("".join(packages))
        pip("--require-hashes", "--requirement", str(requirements), packages=len(packages))
    where = f"{CHECKOUT}[{','.join(extras)}]" if extras else str(CHECKOUT)
    pip("--no-build-isolation", "--editable", where, packages=1)
    print(f"  {len(packages)} packages are installed; what pip said is in {LOG}")


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["--npm"]:
            npm()
        else:
            main([extra for argument in sys.argv[1:] for extra in argument.split(",") if extra])
    except OSError as error:
        sys.exit(f"Installing failed: {error.strerror} ({error.filename or LOG})")
    except KeyboardInterrupt:
        sys.exit(130)
