"""The host processes of a pool: one for each version of a worker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from runtime.child import environment
from runtime.child.egress import routes
from runtime.child.host_process import HostProcess
from runtime.child.sandboxing import Sandboxing
from runtime.errors import ChildFailed, ChildLost
from runtime.registry import Worker, WorkerType

log = logging.getLogger(__name__)

_MAX_IDLE = 600.0
"""Seconds after which a host of commands may be ended. It is started again in less than a tenth of
a second, and weighs some 5 MB until then; a host that has imported a worker is kept."""

NOT_FORKED = "Its import starts threads, so its runs are no forks but interpreters that are started ahead"
HOW_TO_FORK = (
    "Start threads when a run needs them instead, or tell the library to start none (many read a variable "
    "such as OMP_NUM_THREADS)."
)

_Key = tuple[str, str]
"""A worker's id and digest."""


class Hosts:
    """Starts a host when it is first needed, and another one in place of an old or dead one.

    No two workers share a host: what one of them does to its host harms no run of another. Nor do
    two versions of one, which may both have runs.
    """

    def __init__(self, environ: Mapping[str, str], recycle: int, sandboxing: Sandboxing) -> None:
        """``recycle``: after how many children a host is replaced."""
        self._environ = environ
        self._sandboxing = sandboxing
        self._recycle = recycle
        self._hosts: dict[_Key, HostProcess] = {}
        self._locks: dict[_Key, threading.Lock] = {}
        self.notes: dict[str, str | None] = {}
        """By worker that was imported here, what its author should know of that, as sentences."""
        self.choosing: dict[str, bool] = {}
        """By worker that was imported here, whether it says what may be chosen in its config."""
        self._closed = False
        self._retired: set[str] = set()
        """Copies of folders that no run is started in any more."""

    def for_worker(self, worker: Worker) -> HostProcess:
        """The host of this version of a worker. Raises ChildFailed."""
        key = _key(worker)
        with self._lock(key):
            if self._closed:
                raise ChildLost("its pool was shutting down")
            if str(worker.folder) in self._retired:
                raise ChildLost("another version of its worker is there")
            host = self._hosts.get(key)
            if host is None or not host.alive:
                self._retire_idle()
                host = self._replace(worker)
            elif host.started >= self._recycle and not host.being_replaced:
                host.being_replaced = True
                threading.Thread(target=self._renew, args=(worker,), daemon=True).start()
            host.mark_used()
            return host

    def running(self, worker_id: str) -> list[HostProcess]:
        """The hosts that there are of all versions of a worker."""
        return [host for (id, _), host in list(self._hosts.items()) if id == worker_id and host.alive]

    def retire(self, worker: Worker) -> None:
        """No run of this version follows: end its host once the last one has ended."""
        if worker.folder != worker.source:
            self._retired.add(str(worker.folder))
        host = self._hosts.pop(_key(worker), None)
        self._locks.pop(_key(worker), None)
        if host is not None:
            host.retire()

    def close(self) -> None:
        """End all hosts and their children. May be called twice, also at the same time."""
        self._closed = True
        hosts = list(self._hosts.values())
        for host in hosts:
            host.close()
        for host in hosts:
            host.wait()
        for host in hosts:
            host.wait_removed()
        self._hosts.clear()

    def _lock(self, key: _Key) -> threading.Lock:
        return self._locks.setdefault(key, threading.Lock())

    def _renew(self, worker: Worker) -> None:
        """Replace a host that has started many children; it goes on until the next one is ready."""
        try:
            self._replace(worker)
        except Exception as error:
            if not isinstance(error, ChildFailed):
                log.exception("the host of the worker %s could not be replaced", worker.id)
            if host := self._hosts.get(_key(worker)):
                host.being_replaced = False  # try again at the next start

    def _replace(self, worker: Worker) -> HostProcess:
        basics = environment.basic(self._environ)
        variables = {**basics, **environment.of_worker(worker, self._environ)}
        if worker.type is WorkerType.PYTHON:
            variables = {**environment.of_import(), **variables}
        allowed = self._sandboxing.routes(worker)
        if allowed is not None:
            variables |= routes.variables(worker.sandbox.credentials)
        python = self._sandboxing.environments.python(worker)
        if python is not None:
            variables = environment.of_interpreter(python, variables)
        host = HostProcess(worker, variables, self._sandboxing.plan(worker), allowed, python)
        host.wait_ready()
        self._note_threads(worker, host)
        self.choosing[worker.id] = host.choices
        before = self._hosts.get(_key(worker))
        self._hosts[_key(worker)] = host
        if before is not None:
            before.retire()
        if self._closed:
            host.close()
        return host

    def _note_threads(self, worker: Worker, host: HostProcess) -> None:
        """Log once of each version what keeps its runs from being forks."""
        said = f"{NOT_FORKED}: {host.threads}. {HOW_TO_FORK}" if host.threads else None
        if said is not None and said != self.notes.get(worker.id):
            log.warning("worker %s: %s", worker.id, said)
        self.notes[worker.id] = said

    def _retire_idle(self) -> None:
        """Retire the hosts of commands that have been idle for long.

        It happens only when another host is about to be started, since memory grows only then.
        """
        for key, host in list(self._hosts.items()):
            lock = self._lock(key)
            if host.python or host.idle < _MAX_IDLE or not lock.acquire(blocking=False):
                continue  # whoever holds the lock is about to use it
            try:
                if self._hosts.get(key) is host and host.idle >= _MAX_IDLE:
                    del self._hosts[key]
                    host.retire()
            finally:
                lock.release()


def _key(worker: Worker) -> _Key:
    return worker.id, worker.digest
