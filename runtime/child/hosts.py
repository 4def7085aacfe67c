"""The host processes of a pool: one for each worker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from runtime.child import environment
from runtime.child.egress import routes
from runtime.child.host_process import HostProcess
from runtime.child.sandboxing import Sandboxing
from runtime.errors import ChildFailed, ChildLost
from runtime.registry import Worker

log = logging.getLogger(__name__)

_MAX_IDLE = 600.0
"""Seconds after which a host of commands may be ended. It is started again in less than a tenth of
a second, and weighs some 5 MB until then; a host that has imported a worker is kept."""

_IMPORTS = 5
"""How often a worker is imported whose folder is changed meanwhile."""


class Hosts:
    """Starts a host when it is first needed, and another one in place of an old or dead one.

    No two workers share a host: what one of them does to its host harms no run of another.
    """

    def __init__(self, environ: Mapping[str, str], recycle: int, sandboxing: Sandboxing) -> None:
        """``recycle``: after how many children a host is replaced."""
        self._environ = environ
        self._sandboxing = sandboxing
        self._recycle = recycle
        self._hosts: dict[str, HostProcess] = {}
        """By worker."""
        self._locks: dict[str, threading.Lock] = {}
        self._closed = False

    def for_worker(self, worker: Worker) -> HostProcess:
        """The host of this version of a worker. Raises ChildFailed."""
        with self._lock(worker.id):
            if self._closed:
                raise ChildLost("its pool was shutting down")
            host = self._hosts.get(worker.id)
            if host is None or not host.alive or host.digest != worker.digest:
                self._retire_idle()
                host = self._replace(worker)
            elif host.started >= self._recycle and not host.being_replaced:
                host.being_replaced = True
                threading.Thread(target=self._renew, args=(worker,), daemon=True).start()
            host.mark_used()
            return host

    def close(self) -> None:
        """End all hosts and their children."""
        self._closed = True
        for host in self._hosts.values():
            host.close()
        for host in self._hosts.values():
            host.wait()
        self._hosts.clear()

    def _lock(self, worker_id: str) -> threading.Lock:
        return self._locks.setdefault(worker_id, threading.Lock())

    def _renew(self, worker: Worker) -> None:
        """Replace a host that has started many children; it goes on until the next one is ready."""
        try:
            self._replace(worker)
        except Exception as error:
            if not isinstance(error, ChildFailed):
                log.exception("the host of the worker %s could not be replaced", worker.id)
            self._hosts[worker.id].being_replaced = False  # try again at the next start

    def _replace(self, worker: Worker) -> HostProcess:
        basics = environment.basic(self._environ)
        variables = {**basics, **environment.of_worker(worker, self._environ)}
        allowed = self._sandboxing.routes(worker)
        if allowed is not None:
            variables |= routes.variables(worker.sandbox.credentials)
        for remaining in reversed(range(_IMPORTS)):
            host = HostProcess(worker, variables, self._sandboxing.plan(worker), allowed)
            if host.import_worker():
                break
            if not remaining:  # it writes there itself, and would never run
                log.warning(
                    "the folder of the worker %s changes whenever it is imported; "
                    "its runs name the version from before",
                    worker.id,
                )
                break
            host.close()
        before = self._hosts.get(worker.id)
        self._hosts[worker.id] = host
        if before is not None:
            before.retire()
        if self._closed:
            host.close()
        return host

    def _retire_idle(self) -> None:
        """Retire the hosts of commands that have been idle for long.

        It happens only when another host is about to be started, since memory grows only then.
        """
        for worker_id, host in list(self._hosts.items()):
            lock = self._lock(worker_id)
            if host.python or host.idle < _MAX_IDLE or not lock.acquire(blocking=False):
                continue  # whoever holds the lock is about to use it
            try:
                if self._hosts.get(worker_id) is host and host.idle >= _MAX_IDLE:
                    del self._hosts[worker_id]
                    host.retire()
            finally:
                lock.release()
