"""Faults: carrying out what the plan breaks, and healing it again."""

from __future__ import annotations

import os
import random
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import redis
import redis.exceptions

from runtime.queue.app import queue
from tests.chaos.ledger import Injection, Ledger
from tests.chaos.plan import Fault, Plan
from tests.chaos.system import System

_SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP}
_LIMITS = {"descriptors": resource.RLIMIT_NOFILE, "processes": resource.RLIMIT_NPROC}
_TERMINATE_INTERVAL = 0.04
"""Seconds between two times at which all connections are ended."""
_EVICTED = 3
"""Keys that are evicted at once."""


class Faults:
    """Breaks what the plan names, each fault in a thread of its own."""

    def __init__(self, plan: Plan, ledger: Ledger, system: System) -> None:
        self._plan = plan
        self._ledger = ledger
        self._system = system
        self._threads: list[threading.Thread] = []
        self._queue = queue("python", plan.installation).name
        self._servers = {"redis": threading.Lock(), "database": threading.Lock()}

    def run(self, began: float) -> None:
        """Break everything at its time and wait until all is healed; ``began`` by ``time.monotonic()``."""
        for fault in self._plan.faults:
            time.sleep(max(0.0, began + fault.at - time.monotonic()))
            thread = threading.Thread(target=self._inject, args=(fault,), daemon=True)
            thread.start()
            self._threads.append(thread)
        for thread in self._threads:
            thread.join()

    def _inject(self, fault: Fault) -> None:
        injection = self._ledger.inject(fault)
        try:
            if fault.target in ("redis", "database"):
                with self._servers[fault.target]:  # what is away cannot go away
                    injection.began = time.time()
                    getattr(self, f"_{fault.target}")(fault)
            elif fault.target == "broker":
                self._broker(fault)
            elif fault.action in _LIMITS:
                self._limit(fault, injection)
            else:
                self._signal(fault, injection)
        except (OSError, redis.exceptions.RedisError, LookupError) as error:
            injection.skipped = f"{type(error).__name__}: {error}"
        finally:
            injection.ended = time.time()

    # ── processes ───────────────────────────────────────────────────────────

    def _signal(self, fault: Fault, injection: Injection) -> None:
        pid = self._choose(fault)
        injection.hit = self._affected_pools(fault.target, pid)
        # By a descriptor: the number may be another process's by the time we send SIGCONT.
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, _SIGNALS[fault.action])
            if fault.action == "stop":
                time.sleep(fault.seconds)
                with suppress(ProcessLookupError):  # its guardian has not waited for that
                    signal.pidfd_send_signal(descriptor, signal.SIGCONT)
        finally:
            os.close(descriptor)

    def _limit(self, fault: Fault, injection: Injection) -> None:
        """Let a process have no more descriptors or processes than it has."""
        pid = self._choose(fault)
        injection.hit = self._affected_pools(fault.target, pid)
        with no_more(pid, _LIMITS[fault.action]):
            time.sleep(fault.seconds)

    def _choose(self, fault: Fault) -> int:
        pids = self._system.targets(fault.target)
        if not pids:
            raise LookupError("there is none")
        return pids[int(fault.which * len(pids))]

    def _affected_pools(self, target: str, pid: int) -> set[str]:
        """Incarnations of the pool processes that may lose their leases, hit or their guardian hit."""
        found = self._system.pool_processes()
        if target == "pool":
            return {found[pid]} if pid in found else set()
        if target == "guardian":
            return {name for pool, name in found.items() if _parent(pool) == pid}
        return set()

    # ── servers ─────────────────────────────────────────────────────────────

    def _redis(self, fault: Fault) -> None:
        server = self._system.redis
        match fault.action:
            case "restart" | "empty":
                server.kill()
                time.sleep(fault.seconds)
                if fault.action == "empty":
                    server.erase()
                server.start()
            case "sleep":
                server.freeze()
                time.sleep(fault.seconds)
                server.thaw()
            case "evict":
                with redis.Redis.from_url(server.url) as client:
                    self._ledger.count("keys: evict", evict(client, fault.which))
            case "full":
                with redis.Redis.from_url(server.url) as client, full(client):
                    time.sleep(fault.seconds)
            case _:
                kind = {"disconnect": "normal", "unsubscribe": "pubsub"}[fault.action]
                with redis.Redis.from_url(server.url) as client:
                    client.client_kill_filter(_type=kind, skipme=True)

    def _database(self, fault: Fault) -> None:
        if fault.action in ("disconnect", "terminate"):
            until = time.monotonic() + (fault.seconds if fault.action == "terminate" else 0)
            return end_connections(self._system.database_url, until)
        assert self._system.postgresql is not None
        # In turn as an operator's restart, and as a crash.
        self._system.postgresql.stop(signal.SIGINT if fault.number % 2 else signal.SIGQUIT)
        time.sleep(fault.seconds)
        self._system.postgresql.start()

    def _broker(self, fault: Fault) -> None:
        """Compete with the pools for messages, and deal with them as a bad broker would."""
        until = time.monotonic() + fault.seconds
        stolen: list[bytes] = []
        with redis.Redis.from_url(self._system.redis.url) as client:
            while (rest := until - time.monotonic()) > 0:
                if found := client.brpop([self._queue], timeout=rest):
                    stolen.append(found[1])
                    if fault.action == "double":
                        client.lpush(self._queue, found[1], found[1])
                        break
            if fault.action == "delay" and stolen:
                time.sleep(fault.seconds)
                client.lpush(self._queue, *stolen)
        self._ledger.count(f"messages: {fault.action}", len(stolen))


def evict(client: redis.Redis, which: float) -> int:
    """Delete some keys of threads, as Redis does under ``volatile-lru``: any that would expire some day.

    ``which`` chooses them, as a share. Returns how many.
    """
    found = sorted(key for key in client.scan_iter(match="*{*}*", count=1000) if client.ttl(key) > 0)
    chance = random.Random(which)
    return int(client.delete(*chance.sample(found, min(len(found), _EVICTED)))) if found else 0


@contextmanager
def full(client: redis.Redis) -> Iterator[None]:
    """Have Redis refuse all writes, because its memory is used up."""
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    try:
        yield
    finally:
        client.config_set("maxmemory", "0")


@contextmanager
def no_more(pid: int, limit: int) -> Iterator[None]:
    """Let a process open or start nothing more: as if the machine had none left."""
    before = resource.prlimit(pid, limit)
    used = len(os.listdir(f"/proc/{pid}/fd")) if limit == resource.RLIMIT_NOFILE else 0
    resource.prlimit(pid, limit, (used, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, limit, before)


def end_connections(database_url: str, until: float) -> None:
    """Have PostgreSQL end every connection to a database, again and again ``until`` (monotonic) then."""
    query = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(query)
        while time.monotonic() < until:
            time.sleep(_TERMINATE_INTERVAL)
            connection.execute(query)


def _parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])
