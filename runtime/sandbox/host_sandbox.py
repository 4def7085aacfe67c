"""What a host does to itself before it imports anything of a worker's author, and to its children.

The host enters the worker's sandbox first. Each child is then in a second one inside it,
which allows the same but for the folders of other runs. Its ruleset and its folder are
made before it is forked: a ruleset by the host, which has what it takes in memory, and
entered by the spare while nobody waits for it. What both allow is what a child may, so the
second one has few rules: it allows the system's folders whole, of which the first allows a
part. A folder that an ended child has left empty becomes that of a further child, for a file
system may take milliseconds to remove one.
"""

from __future__ import annotations

import os
import resource
import socket
import stat
import sys

from runtime.sandbox import disk, identity, landlock, namespaces, seccomp
from runtime.sandbox.landlock import Ruleset
from runtime.sandbox.plan import Plan
from runtime.system import processes

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SYSTEM = ("/bin", "/etc", "/lib", "/lib64", "/nix", "/opt", "/proc", "/sbin", "/sys", "/usr")
"""What a child's sandbox allows whole, where no runs have their folders, if the host's allows a part."""
_PRIVATE = 0o700
"""The mode of a run's folder."""
_EMPTY_FOLDERS = 100
"""How many folders are kept for further children."""


class RunSandbox:
    """What is ready for one child: a folder, and the ruleset that lets it write there and nowhere else."""

    def __init__(self, folder: str, ruleset: Ruleset | None) -> None:
        self.folder = folder
        self.ruleset = ruleset

    def close(self) -> None:
        """In the host, once the child is forked."""
        if self.ruleset is not None:
            self.ruleset.close()
            self.ruleset = None


class HostSandbox:
    """The sandbox of one host, and those of its children inside it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._made = 0
        self._scopes = landlock.scopes() if plan.scopes else 0
        self._held: list[tuple[int, list[tuple[int, bool]]]] = []
        """What every child's sandbox allows: rights, and descriptors of files and folders."""
        self._ranges: list[tuple[int, int]] = []
        """The descriptors of what is held, as ranges, which a child closes with one call each."""
        self._empty: list[str] = []
        """Folders that ended children have left as they were made."""

    def leave_network(self) -> socket.socket | None:
        """Have the host leave the machine's network, if it is to; the socket that listens in its own.

        Before all else: it takes what :meth:`enter` gives up. Raises OSError.
        """
        return namespaces.enter() if self.plan.strict else None

    def enter(self) -> None:
        """Put the host into it. Raises OSError."""
        plan = self.plan
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_FSIZE, plan.disk_bytes)
        if plan.own_uid:
            _limit(resource.RLIMIT_NPROC, plan.processes)
        landlock.refuse_new_privileges()
        if plan.landlock:
            self._enter_landlock()
        if identity.is_root():
            identity.drop_capabilities(plan.own_uid)
        if plan.system_calls:
            seccomp.install(seccomp.program(seccomp.Profile(own_uid=plan.own_uid, strict=plan.strict)))

    def resume(self) -> None:
        """In a program that has replaced the process which has entered it. Raises OSError."""
        if self.plan.landlock:
            self._hold()

    def prepare(self) -> RunSandbox:
        """What the next child needs. Raises OSError."""
        folder = self._empty.pop() if self._empty else self._make_folder()
        try:
            return RunSandbox(folder, self._ruleset(self._held, folder) if self.plan.landlock else None)
        except OSError:
            self.take_back(folder)
            raise

    def take_back(self, folder: str) -> bool:
        """Keep a folder for a further child, if nothing is in it and nothing remains of whose it was.

        For folders of children that have left no process behind. False: it is to be removed.
        """
        try:
            if os.listdir(folder) or os.listxattr(folder):
                return False
            if len(self._empty) == _EMPTY_FOLDERS:
                return False
            found = os.stat(folder)
            if found.st_uid != os.geteuid():
                os.chown(folder, os.geteuid(), os.getegid())
            if stat.S_IMODE(found.st_mode) != _PRIVATE:
                os.chmod(folder, _PRIVATE)
        except OSError:
            return False
        self._empty.append(folder)
        return True

    def enter_child(self, run: RunSandbox, host: int) -> None:
        """Put the calling process, a fork of the host, which has the pid ``host``, into its sandbox."""
        if self.plan.own_uid:
            uid = identity.own_uid(os.getpid())
            os.chown(run.folder, uid, uid)
        if run.ruleset is not None:
            run.ruleset.enter()
            run.ruleset.close()
        for first, end in self._ranges:
            os.closerange(first, end)
        if self.plan.own_uid:
            identity.become(uid, host)
        os.environ["HOME"] = os.environ["TMPDIR"] = run.folder
        if "tempfile" in sys.modules:
            sys.modules["tempfile"].tempdir = None  # type: ignore[attr-defined]  # it has asked before

    def exceeded(self, pid: int, folder: str) -> str | None:
        """Of what a child and its descendants have more than they may, as a part of a sentence."""
        plan = self.plan
        if disk.usage(folder, plan.disk_bytes + 1) > plan.disk_bytes:
            return f"more than {plan.disk_bytes} bytes in its folder"
        if sum(1 for _ in processes.descendants(pid)) >= plan.processes:
            return f"more than {plan.processes} processes"
        return None

    def hand_over(self, pid: int, descriptors: list[int]) -> None:
        """Let the child with that pid open its pipes by name, as ``/dev/stderr``."""
        if self.plan.own_uid:
            for descriptor in descriptors:
                if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                    os.fchown(descriptor, identity.own_uid(pid), -1)

    def _make_folder(self) -> str:
        self._made += 1
        folder = f"{self.plan.folder}/{self._made}"
        os.mkdir(folder, _PRIVATE)
        return folder

    def _enter_landlock(self) -> None:
        """Enter the host's ruleset, and open what those of its children allow. Raises OSError."""
        plan, allowed = self.plan, self._allowed()
        held = [(rights, landlock.hold(paths)) for rights, paths in allowed]
        ruleset = self._ruleset(held, plan.folder)
        ruleset.enter()
        ruleset.close()
        for descriptor in _descriptors(held):
            os.close(descriptor)
        self._hold()

    def _hold(self) -> None:
        """Open what the sandboxes of children allow, from inside of the host's."""
        allowed = widened(self._allowed(), self.plan.folder)
        self._held = [(rights, landlock.hold(paths)) for rights, paths in allowed]
        self._ranges = _ranges(_descriptors(self._held))

    def _allowed(self) -> list[tuple[int, list[str]]]:
        """What the worker may, beside what it may in its runs' folders."""
        plan = self.plan
        return [
            (landlock.READ, [*plan.read, plan.home]),
            (landlock.DEVICE, [*_DEVICES]),
            (landlock.WRITE, [*plan.write]),
        ]

    def _ruleset(self, held: list[tuple[int, list[tuple[int, bool]]]], folder: str) -> Ruleset:
        """One that allows what is held, and to write in ``folder``. Raises OSError."""
        ruleset = Ruleset(self._scopes)
        try:
            for rights, descriptors in held:
                ruleset.allow(rights, descriptors)
            own = landlock.hold([folder])
            try:
                ruleset.allow(landlock.WRITE, own)
            finally:
                for descriptor, _ in own:
                    os.close(descriptor)
        except OSError:
            ruleset.close()
            raise
        return ruleset


def widened(allowed: list[tuple[int, list[str]]], runs: str) -> list[tuple[int, list[str]]]:
    """The same with the system's folders whole, for a sandbox inside one that allows ``allowed``.

    But for the one that has the folder ``runs`` in it, which keeps those of siblings apart.
    """
    system = {top for top in _SYSTEM if _top(runs) != top}
    whole = {_top(path) for _, paths in allowed for path in paths} & system
    others = [(rights, [path for path in paths if _top(path) not in system]) for rights, paths in allowed]
    return [(landlock.WRITE, sorted(whole)), *others]


def _top(path: str) -> str:
    """The folder of the root that the path is in."""
    return "/" + path.lstrip("/").partition("/")[0]


def _descriptors(held: list[tuple[int, list[tuple[int, bool]]]]) -> list[int]:
    return [descriptor for _, descriptors in held for descriptor, _ in descriptors]


def _ranges(numbers: list[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges, each of which ends before its second number."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number:
            found[-1] = found[-1][0], number + 1
        else:
            found.append((number, number + 1))
    return found


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))
