"""The event log in Redis: written by attempts, read by streams."""

from runtime.stream.follower import Follower, Outlet, encode_reset
from runtime.stream.hub import Hub
from runtime.stream.link import KEEPALIVE, Link
from runtime.stream.log import Appended, Chunk, Entry, EventLog, OpenMessage, Span
from runtime.stream.notices import Hint, Notices
from runtime.stream.revocations import Revocations
from runtime.stream.tries import Tries

__all__ = [
    "KEEPALIVE",
    "Appended",
    "Chunk",
    "Entry",
    "EventLog",
    "Follower",
    "Hint",
    "Hub",
    "Link",
    "Notices",
    "OpenMessage",
    "Outlet",
    "Revocations",
    "Span",
    "Tries",
    "encode_reset",
]
