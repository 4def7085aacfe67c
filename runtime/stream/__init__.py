"""The event log in Redis: written by attempts, read by streams."""

from runtime.stream.follower import Follower, encode_reset
from runtime.stream.hub import Hub
from runtime.stream.link import Link
from runtime.stream.log import Appended, Chunk, Entry, EventLog, OpenMessage, Span
from runtime.stream.notices import Notices

__all__ = [
    "Appended",
    "Chunk",
    "Entry",
    "EventLog",
    "Follower",
    "Hub",
    "Link",
    "Notices",
    "OpenMessage",
    "Span",
    "encode_reset",
]
