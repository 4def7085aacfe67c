"""A child that is a process on a machine elsewhere (`branchline remote`).

That machine has neither Redis nor database. It has offered to execute a run, and is given it with
the run's token. All that it has to say comes by the Worker API; each request is a sign of life.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import orjson

from runtime.child import protocol
from runtime.child.egress.routes import Access
from runtime.errors import ChildLost, StreamUnavailable
from runtime.stream import Offers

_LOOK = 0.25
"""Seconds between two looks whether the machine is still in contact."""
_GIVEN_BACK = 1.0
"""Seconds for which an offer holds that was taken for nothing; the machine prolongs it."""
_LOST = -9
"""The exit code of a child that is lost: nobody knows another."""


class RemoteMachines:
    """The machines elsewhere that offer to execute runs of this pool."""

    def __init__(self, offers: Offers, pool: str, lease: float) -> None:
        """``lease``: seconds without contact after which a machine has lost its run."""
        self._offers = offers
        self._pool = pool
        self._lease = lease
        self._taken: dict[str, str] = {}
        """Offers that were taken, by run."""

    def count(self) -> int:
        """How many runs they could begin now. Raises StreamUnavailable."""
        return self._offers.count(self._pool)

    def reserve(self, run_id: str) -> bool:
        """Take an offer for a run that is about to be claimed; False if there is none."""
        try:
            offer = self._offers.take(self._pool)
        except StreamUnavailable:
            return False
        if offer is not None:
            self._taken[run_id] = offer
        return offer is not None

    def release(self, run_id: str) -> None:
        """The run was not begun; others may have its offer."""
        offer = self._taken.pop(run_id, None)
        if offer is not None:
            try:
                self._offers.give_back(self._pool, offer, _GIVEN_BACK)
            except StreamUnavailable:
                pass  # the machine makes another one

    def begin(self, run_id: str, environ: Mapping[str, str], line: bytes) -> RemoteChild:
        """Give a run to the machine whose offer was taken for it. Raises ChildLost."""
        offer = self._taken.pop(run_id, None)
        if offer is None:
            raise ChildLost("no machine had offered to execute it")
        claim = {
            "run_id": run_id,
            "token": environ["BRANCHLINE_RUN_TOKEN"],
            "lease": self._lease,
            "line": line.decode(),
        }
        try:
            self._offers.hand_over(self._pool, offer, orjson.dumps(claim))
        except StreamUnavailable:
            raise ChildLost("it could not be given to the machine that executes it") from None
        return RemoteChild(self._lease)


class RemoteChild:
    """One run on a machine elsewhere. See :class:`runtime.child.child.Child`."""

    listens = False
    pid = 0
    oom_killed = False
    digest: str | None = None
    exceeded: str | None = None

    def __init__(self, lease: float) -> None:
        """``lease``: seconds without contact after which it is lost."""
        self._lease = lease
        self._heard = time.monotonic()
        self._stopped = threading.Event()
        self._is_told = False
        """Whether it is told to end, and may have last words."""
        self.lost: str | None = None

    def note_contact(self) -> None:
        """Its machine has sent something."""
        self._heard = time.monotonic()

    def send(self, line: bytes) -> None:
        """It learns of a cancellation by the Worker API, and of the end of its time by its own clock."""
        self._is_told = self._is_told or line.strip() in (protocol.CANCEL, protocol.TIMEOUT)

    def on_access(self, report: Callable[[Access], None]) -> None:
        """It connects to what nobody here sees."""

    def read(self) -> bytes:
        """Nothing, at the end: once it was stopped, or its machine was out of contact for a lease."""
        while not self._stopped.wait(_LOOK):
            if time.monotonic() - self._heard > self._lease:
                self.lost = f"the machine that executes it was out of contact for {self._lease:g} seconds"
                self._stopped.set()
        return b""

    def read_log(self) -> bytes:
        """Nothing: its log comes as lines of the protocol."""
        return b""

    def wait(self, timeout: float | None = None) -> int | None:
        """0, or the code of one that is lost: how it has ended is a line of the protocol."""
        return _LOST if self.lost is not None else 0

    def show_stack(self) -> None:
        """Nobody here can have it do that."""

    def stop(self, grace: float) -> None:
        """Wait for the last words of one that is told to end. The end of its attempt ends it."""
        if self._is_told and grace:
            self._stopped.wait(grace)
        self._stopped.set()

    def close(self) -> None:
        """There are no pipes."""
