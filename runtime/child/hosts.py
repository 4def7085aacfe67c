"""The host processes of a pool: one for each Python worker, and one for all commands."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from runtime.child import environment
from runtime.child.host_process import HostProcess
from runtime.errors import ChildFailed
from runtime.registry import Worker

_COMMANDS = ""
"""The key of the host that executes commands."""


class Hosts:
    """Starts a host when it is first needed, and another one in place of an old or dead one."""

    def __init__(self, environ: Mapping[str, str], recycle: int) -> None:
        """``recycle``: after how many children a host is replaced."""
        self._environ = environ
        self._recycle = recycle
        self._hosts: dict[str, HostProcess] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._closed = False

    def for_worker(self, worker: Worker) -> HostProcess:
        """The host that has imported this version of a Python worker. Raises ChildFailed."""
        return self._get(worker.id, worker.digest, worker)

    def for_commands(self) -> HostProcess:
        """The host that executes commands. Raises ChildFailed."""
        return self._get(_COMMANDS, "", None)

    def close(self) -> None:
        """End all hosts and their children."""
        self._closed = True
        for host in self._hosts.values():
            host.close()
        for host in self._hosts.values():
            host.wait()
        self._hosts.clear()

    def _get(self, key: str, digest: str, worker: Worker | None) -> HostProcess:
        with self._locks.setdefault(key, threading.Lock()):
            if self._closed:
                raise ChildFailed("The pool is shutting down.")
            host = self._hosts.get(key)
            if host is None or not host.alive or host.digest != digest:
                return self._replace(key, digest, worker)
            if host.started >= self._recycle and not host.being_replaced:
                host.being_replaced = True
                threading.Thread(target=self._renew, args=(key, digest, worker), daemon=True).start()
            return host

    def _renew(self, key: str, digest: str, worker: Worker | None) -> None:
        """Replace a host that has started many children; it goes on until the next one is ready."""
        try:
            self._replace(key, digest, worker)
        except ChildFailed:
            self._hosts[key].being_replaced = False  # try again at the next start

    def _replace(self, key: str, digest: str, worker: Worker | None) -> HostProcess:
        host = HostProcess(digest, str(worker.entrypoint) if worker else None, self._environment(worker))
        host.wait_ready()
        before = self._hosts.get(key)
        self._hosts[key] = host
        if before is not None:
            before.retire()
        if self._closed:
            host.close()
        return host

    def _environment(self, worker: Worker | None) -> dict[str, str]:
        """What a host gets: no secret of the pool, and a worker's only if it imports that worker."""
        basics = environment.basic(self._environ)
        return {**basics, **environment.of_worker(worker, self._environ)} if worker else basics
