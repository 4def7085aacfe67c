"""The time, as the database of this installation has it, as well as this process can tell.

The clocks of machines need not agree, but what one process notes another one compares:
when a delta was taken from its worker, or a message was begun. So a process that has
learnt how far its clock is from the database's takes that off. A difference of less than
half a second it leaves: it is measured over a connection, no better than NTP keeps it.
Nor does it believe what took long to measure, because the machine was busy.

For display and for figures only. What is decided by time is decided by the database.
"""

from __future__ import annotations

import time as machine

_TOLERATED = 0.5
"""Seconds of difference that are left."""
_MOST_UNSURE = 0.1
"""Seconds by which a difference may be wrong that is believed."""
_ahead = 0.0


def note_skew(seconds: float, within: float) -> bool:
    """This machine's clock was found to be so many seconds ahead of the database's, or ``within`` of that.

    Returns whether that is believed.
    """
    global _ahead
    if sure := within <= _MOST_UNSURE:
        _ahead = seconds if abs(seconds) > _TOLERATED else 0.0
    return sure


def time() -> float:
    """Seconds since 1970."""
    return machine.time() - _ahead
