"""The event log in Redis: written by attempts, read by streams."""

from runtime.stream.connection import KEEPALIVE, Link, translated
from runtime.stream.entries import Batch, Chunk, Entry, Record, Signal, reset_signal
from runtime.stream.follower import DirectWriter, Follower
from runtime.stream.hints import Hint
from runtime.stream.hub import Hub
from runtime.stream.inbox import Inbox, Line
from runtime.stream.log import Appended, EventLog, OpenMessage, Span
from runtime.stream.notices import Notices
from runtime.stream.offers import Offers
from runtime.stream.revocations import Revocations
from runtime.stream.sliding_window import SlidingWindow

__all__ = [
    "KEEPALIVE",
    "Appended",
    "Batch",
    "Chunk",
    "DirectWriter",
    "Entry",
    "EventLog",
    "Follower",
    "Hint",
    "Hub",
    "Inbox",
    "Line",
    "Link",
    "Notices",
    "Offers",
    "OpenMessage",
    "Record",
    "Revocations",
    "Signal",
    "SlidingWindow",
    "Span",
    "reset_signal",
    "translated",
]
