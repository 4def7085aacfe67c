"""Workers of type ``node``: Node.js executes their entrypoint, in a process that was started ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from runtime.child.child import Child
from runtime.child.host_process import HostProcess
from runtime.child.launchers import load_check, spare
from runtime.child.launchers.launcher import LaunchContext, ProcessLauncher
from runtime.errors import ChildFailed
from runtime.registry import Worker, node
from runtime.settings import CHECKOUT

_MOST = 4
"""Spares of a worker; each takes some 50 MB."""
_BETWEEN = 0.25
"""Seconds between the starts of two spares, so that they take no processor from runs that have begun."""
_UNUSED = 60.0
"""Seconds after which more than one spare are too many, if no run has needed the last of them."""
_LAUNCH = CHECKOUT / "runtime" / "node_sdk" / "launch.js"


class NodeLauncher(ProcessLauncher):
    """Executes the entrypoint with ``launch.js``, which knows the package ``branchline``.

    Of a worker that was warmed there is a spare, which has loaded it. A run that takes it has the next
    one started. Runs that come at the same time find more of them: where one has found none there is
    one more from then on, until none of these was needed for a while.
    """

    def __init__(self, context: LaunchContext) -> None:
        super().__init__(context)
        self._loadable: dict[str, str] = {}
        """Of each worker the digest of the version that was found to load."""
        self._counting = threading.Lock()
        """Held while the next two are changed."""
        self._wanted: dict[str, int] = {}
        """How many spares there are to be of each version of a worker that was warmed."""
        self._needed_at: dict[str, float] = {}
        """When a run has found no spare or taken the last one, of workers that want several."""

    def command(self, worker: Worker) -> list[str]:
        """Node.js, what executes workers in it, and the entrypoint."""
        assert worker.entrypoint is not None
        try:
            program = node.command(worker.entrypoint, self._context.environ)
        except node.NodeMissing as missing:
            raise ChildFailed(f"The worker cannot be started: {missing}.") from missing
        return [*program, str(_LAUNCH), str(worker.entrypoint)]

    def warm(self, worker: Worker) -> None:
        """See that the worker can be loaded, and start its spare."""
        if self._loadable.get(worker.id) != worker.digest:
            host = self._context.hosts.for_worker(worker)
            load_check.wait(self.start_in(host, worker, load_check.ENVIRON, b""), worker)
            self._loadable[worker.id] = worker.digest
        self._wanted.setdefault(worker.id, 1)
        host = self._context.hosts.for_worker(worker)
        with host.filling:
            self._start_spare(host, worker)

    def start(self, worker: Worker, environ: Mapping[str, str], line: bytes) -> Child:
        """Use a spare, or start a child where there is none."""
        host = self._context.hosts.for_worker(worker)
        child = spare.take(host, environ, line)
        if worker.id in self._wanted:
            self._count(worker.id, found=child is not None, left=len(host.spares))
            threading.Thread(target=self._refill, args=(host, worker), daemon=True).start()
        return child or super().start(worker, environ, line)

    def _count(self, worker_id: str, *, found: bool, left: int) -> None:
        """Want one more where a run has found none, and note when the last one was needed."""
        with self._counting:
            wants_several = worker_id in self._needed_at
            if not found:
                self._wanted[worker_id] = min(self._wanted[worker_id] + 1, _MOST)
            if not found or (wants_several and not left):
                self._needed_at[worker_id] = time.monotonic()
        if not found and not wants_several:
            threading.Thread(target=self._want_less, args=(worker_id,), daemon=True).start()

    def _want_less(self, worker_id: str) -> None:
        """Once the last spare was not needed for a while, end all but one of each version."""
        while (left := self._still_needed(worker_id)) > 0:
            time.sleep(left)
        for host in self._context.hosts.running(worker_id):
            with host.filling:  # else the one that is being started would be left as well
                spare.discard_all_but_one(host)

    def _still_needed(self, worker_id: str) -> float:
        """For how many seconds several are wanted at least; only one is wanted from the moment this is 0."""
        with self._counting:
            left = self._needed_at[worker_id] + _UNUSED - time.monotonic()
            if left <= 0:
                del self._needed_at[worker_id]
                self._wanted[worker_id] = 1
            return max(left, 0)

    def _refill(self, host: HostProcess, worker: Worker) -> None:
        """Start what is missing, one after the other.

        Each run of a version calls this, and one waits for the other: a run that comes while spares are
        started may take one that was counted already.
        """
        with host.filling, suppress(ChildFailed):  # the next run has none then, and says why if it fails
            while self._start_spare(host, worker):
                time.sleep(_BETWEEN)

    def _start_spare(self, host: HostProcess, worker: Worker) -> bool:
        """Start one if there are too few; whether more are missing."""
        if len(host.spares) < self._wanted[worker.id]:
            host.keep(self.start_in(host, worker, spare.AHEAD, b""))
        return len(host.spares) < self._wanted[worker.id]
