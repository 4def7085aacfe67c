"""Which files a program needs to run at all: its own, its interpreter's and the system's."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/proc",
    "/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage",
    "/run/systemd/resolve", "/run/resolvconf",
    # Of /etc, what is no secret: names, certificates, the locale, the time.
    "/etc/alternatives", "/etc/ca-certificates", "/etc/ca-certificates.conf", "/etc/debian_version",
    "/etc/fonts", "/etc/gai.conf", "/etc/group", "/etc/host.conf", "/etc/hostname", "/etc/hosts",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/locale.alias", "/etc/locale.conf",
    "/etc/localtime", "/etc/lsb-release", "/etc/magic", "/etc/mime.types", "/etc/networks",
    "/etc/nsswitch.conf", "/etc/os-release", "/etc/passwd", "/etc/pki/ca-trust", "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem", "/etc/protocols", "/etc/resolv.conf", "/etc/rpc", "/etc/services",
    "/etc/shells", "/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/terminfo",
    "/etc/timezone",
)  # fmt: skip
"""What every program of a Linux system may need; what a system does not have is left out."""

_PARTS = ("bin", "sbin", "lib", "lib64", "libexec", "pyvenv.cfg")
"""The parts of a folder such as ``/usr/local`` into which programs are installed."""
_SHIMS = "shims"
"""How version managers (pyenv, rbenv, asdf) call a folder of scripts that find the program elsewhere."""
_LONGEST_FIRST_LINE = 256
_HOME = re.compile(r"^home\s*=(.*)$", re.MULTILINE)
"""Where pyvenv.cfg names the folder of the interpreter that a virtual environment was made from."""


def of_python(checkout: Path, other: Path | None = None) -> list[str]:
    """What this process's interpreter needs, or another one, and a worker that it executes."""
    if other is not None:
        return [str(checkout / "runtime"), *_of_interpreter(other)]
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    found = [str(checkout / "runtime")]
    for prefix in sorted(prefixes):
        found += _parts(Path(prefix))
    # The checkout is on the path of a developer, and holds more than code.
    found += [path for path in sys.path if Path(path).is_absolute() and not checkout.is_relative_to(path)]
    return found


def _of_interpreter(python: Path) -> list[str]:
    """Its installation, and if it is that of a virtual environment, the one that this was made from."""
    found: list[str] = []
    for program in with_interpreters(python):
        found += [str(program), *_installation(program.parent)]
        config = program.parent.parent / "pyvenv.cfg"
        try:
            home = _HOME.search(config.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        found.append(str(config.parent))
        if home is not None:
            found += _installation(Path(home[1].strip()))
    return found


def of_command(command: Sequence[str], path: str) -> list[str]:
    """What the programs of the search path ``path`` need, and the first one of ``command``."""
    found: list[str] = []
    for folder in filter(os.path.isabs, path.split(os.pathsep)):
        found += _installation(Path(folder))
    for program in with_interpreters(Path(command[0])):
        found += [str(program), *_installation(program.parent)]
    return found


def resolved(paths: Iterable[str], private: Sequence[Path]) -> tuple[str, ...]:
    """The files and folders behind these names, without what is private.

    Of a folder in which something private is, it is what else is there now: a rule of
    Landlock allows a folder with all that is in it.
    """
    found: dict[str, None] = {}
    for path in paths:
        try:
            real = Path(path).resolve(strict=True)
        except (OSError, RuntimeError):
            continue
        found |= dict.fromkeys(map(str, _apart_from(real, private)))
    return tuple(found)


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """These paths without those below others of them, which a rule for the other allows already."""
    found: list[str] = []
    for path in sorted(set(paths), key=lambda path: path.split("/")):
        if not found or not f"{path}/".startswith(f"{found[-1]}/".replace("//", "/")):
            found.append(path)
    return tuple(found)


def _apart_from(path: Path, private: Sequence[Path]) -> Iterator[Path]:
    if not any(secret.is_relative_to(path) for secret in private):
        yield path
    elif path not in private:
        try:
            entries = sorted(path.iterdir())
        except OSError:
            return
        for entry in entries:
            if not entry.is_symlink():
                yield from _apart_from(entry, private)


def _parts(prefix: Path) -> list[str]:
    return [str(prefix / part) for part in _PARTS]


def _installation(folder: Path) -> list[str]:
    """The parts of the installation whose programs are in ``folder``."""
    if folder.name == _SHIMS:
        return [str(folder.parent)]
    if folder.name not in ("bin", "sbin"):
        return [str(folder)]
    found = _parts(folder.parent)
    try:
        real = folder.resolve(strict=True)
    except (OSError, RuntimeError):
        return found
    return found if real == folder else [*found, *_parts(real.parent)]


def with_interpreters(program: Path) -> Iterator[Path]:
    """A program, what its name is a link to, and the interpreters that the first lines of scripts name."""
    seen: set[Path] = set()
    while program not in seen and program.is_absolute():
        seen.add(program)
        yield program
        try:
            target = program.resolve(strict=True)
            if target != program:
                yield target
            with target.open("rb") as file:
                line = file.readline(_LONGEST_FIRST_LINE)
        except (OSError, RuntimeError):
            return
        words = line.removeprefix(b"#!").split() if line.startswith(b"#!") else []
        if not words:
            return
        program = Path(os.fsdecode(words[0]))


def asked_of_env(program: Path) -> str | None:
    """The program that a script has ``/usr/bin/env`` look for in its first line; None for any other one."""
    try:
        with program.open("rb") as file:
            line = file.readline(_LONGEST_FIRST_LINE)
    except OSError:
        return None
    words = line.removeprefix(b"#!").split() if line.startswith(b"#!") else []
    if not words or os.path.basename(words[0]) != b"env":
        return None
    names = (word for word in words[1:] if not word.startswith(b"-") and b"=" not in word)
    return next((os.fsdecode(name) for name in names), None)
