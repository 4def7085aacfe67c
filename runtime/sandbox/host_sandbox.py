"""What a host does to itself before it imports anything of a worker's author, and to its children.

The host enters the worker's sandbox first. Each child is then in a second one inside it,
which allows the same but for the folders of other runs. Its ruleset and its folder are
made before it is forked: a ruleset by the host, which has what it takes in memory, and
entered by the spare while nobody waits for it.
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

    def discard(self) -> None:
        """It was made for nobody."""
        self.close()
        os.rmdir(self.folder)


class HostSandbox:
    """The sandbox of one host, and those of its children inside it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._made = 0
        self._scopes = landlock.scopes() if plan.scopes else 0
        self._held: list[tuple[int, list[tuple[int, bool]]]] = []
        self._ranges: list[tuple[int, int]] = []
        """The descriptors of what is held, as ranges, which a child closes with one call each."""

    def leave_network(self) -> socket.socket | None:
        """Have the host leave the machine's network, if it is to; the socket that listens in its own.

        Before all else: it takes what :meth:`enter` gives up. Raises OSError.
        """
        return namespaces.enter() if self.plan.strict else None

    def enter(self) -> None:
        """Put the host into it. Raises OSError."""
        plan = self.plan
        self._hold()
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_FSIZE, plan.disk_bytes)
        if plan.own_uid:
            _limit(resource.RLIMIT_NPROC, plan.processes)
        landlock.refuse_new_privileges()
        if plan.landlock:
            ruleset = self._ruleset(plan.folder)
            ruleset.enter()
            ruleset.close()
        if identity.is_root():
            identity.drop_capabilities(plan.own_uid)
        if plan.system_calls:
            seccomp.install(seccomp.program(seccomp.Profile(own_uid=plan.own_uid, strict=plan.strict)))

    def prepare(self) -> RunSandbox:
        """What the next child needs. Raises OSError."""
        self._made += 1
        folder = f"{self.plan.folder}/{self._made}"
        os.mkdir(folder, 0o700)
        try:
            return RunSandbox(folder, self._ruleset(folder) if self.plan.landlock else None)
        except OSError:
            os.rmdir(folder)
            raise

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

    def _hold(self) -> None:
        """Open what the rulesets allow."""
        if not self.plan.landlock:
            return
        wanted = (
            (landlock.READ, self.plan.read),
            (landlock.DEVICE, _DEVICES),
            (landlock.READ, (self.plan.home,)),
            (landlock.WRITE, self.plan.write),
        )
        for rights, paths in wanted:
            self._held.append((rights, landlock.hold(paths)))
        self._ranges = _ranges([descriptor for _, held in self._held for descriptor, _ in held])

    def _ruleset(self, folder: str) -> Ruleset:
        """One that allows what the worker may, and to write in ``folder``. Raises OSError."""
        ruleset = Ruleset(self._scopes)
        try:
            for rights, held in self._held:
                ruleset.allow(rights, held)
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
