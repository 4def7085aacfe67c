"""The machine: asks a pool for runs, for as many as it has slots, and has each executed."""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from .api import Api, Refused, Unreachable
from .connections import Connections
from .execution import Execution
from .worker import Start

_CLAIM_WAIT = 10.0
"""Seconds that a request for a run waits at the server."""
_MARGIN = 10.0
"""Seconds more until its connection counts as broken."""
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between two tries to reach the server; the last one repeats."""


class Machine:
    """Executes runs of a pool until it is told to drain."""

    def __init__(self, server: str, token: str, pool: str, slots: int, start: Start) -> None:
        """``server``: its URL, with its BASE_PATH; ``slots``: runs at once. Raises ValueError."""
        self._server = Connections(server)
        self._pool = Api(self._server, f"/worker/pools/{pool}", token)
        self._slots = threading.Semaphore(slots)
        self._start = start
        self._executions: set[Execution] = set()
        self._draining = threading.Event()
        self._offer: str | None = None
        """What it asks by, while there is no answer; None: it does not ask."""
        self._asks = False
        """Whether a request for a run is under way."""
        self._taken: str | None = None
        """The token of the run that it was given last."""
        self._taking = threading.Lock()
        self.refusal: str | None = None
        """Why the server refuses this machine."""

    def run(self, drain: float) -> None:
        """Ask for runs until :meth:`drain` is called or the server refuses; then let them end.

        Those that have not ended after ``drain`` seconds are handed back.
        """
        threading.Thread(target=self._claim_on, name="claims", daemon=True).start()
        self._draining.wait()
        until = time.monotonic() + drain
        self._end_offer()
        while self._executions and time.monotonic() < until:
            time.sleep(0.05)
        for execution in list(self._executions):
            execution.hand_back()
        while self._executions and time.monotonic() < until + _MARGIN:
            time.sleep(0.05)
        self._server.close()

    def drain(self, *_: object) -> None:
        """Ask for no more runs. May be called in a signal handler."""
        self._draining.set()

    def _end_offer(self) -> None:
        """Have no more run given to this machine, which soon executes none, and hand back one that was."""
        offer, until = self._offer, time.monotonic() + _MARGIN
        if offer is None or self.refusal is not None:
            return
        try:
            self._take(self._pool.post("/claims", {"offer": offer, "wait": 0}, _MARGIN)["claim"])
        except (Unreachable, Refused):
            return  # it ends by itself in a moment
        while self._asks and time.monotonic() < until:
            time.sleep(0.05)

    def _claim_on(self) -> None:
        failures = 0
        while not self._draining.is_set():
            self._slots.acquire()
            self._offer = offer = self._offer or secrets.token_urlsafe(24)
            self._asks = True  # before the look: whoever drains looks the other way round
            if self._draining.is_set():
                self._asks = False
                return
            try:
                answer = self._pool.post(
                    "/claims", {"offer": offer, "wait": _CLAIM_WAIT}, _CLAIM_WAIT + _MARGIN
                )
            except Unreachable as error:
                self._asks = False
                self._slots.release()
                if not failures:
                    say(f"the server cannot be reached, and is tried again: {error}")
                self._draining.wait(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1
                continue
            except Refused as error:
                self._asks = False
                self.refusal = str(error)
                return self._draining.set()
            failures = 0
            if not self._take(answer["claim"]):
                self._slots.release()
            self._offer, self._asks = None, False  # only now: whoever drains may not miss the run

    def _take(self, claim: Mapping[str, Any] | None) -> bool:
        """Execute a run, if one was given that is not here already; whether it was."""
        with self._taking:
            if claim is None or claim["token"] == self._taken:
                return False
            self._taken = claim["token"]
            execution = Execution(self._server, claim, self._start)
            self._executions.add(execution)
        threading.Thread(target=self._execute, args=(execution,), daemon=True).start()
        return True

    def _execute(self, execution: Execution) -> None:
        try:
            if self._draining.is_set():
                execution.hand_back()
            execution.run()
        finally:
            self._executions.discard(execution)
            self._slots.release()


def say(text: str) -> None:
    """Tell the operator."""
    print(f"branchline remote: {text}", file=sys.stderr, flush=True)
