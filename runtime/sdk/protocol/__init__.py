"""The lines that a worker writes: what they may say, and what it means.

The pool reads its workers by this, and :mod:`runtime.sdk.testing` does in a test of one. A new
line is a record in ``events`` and its fields in ``fields``; docs/reference/protocol.md lists them.

::

    values    the values of a message's role, type and channel
    message_types  what the data of each message type may hold
    events    what a worker may say, one record a line
    fields    a line's fields, checked, as a record
    reader    lines in their order: which messages are open, characters that were cut in half
    answer    what readers of a run's events are told of its answer

Nothing of a worker's process imports it.
"""

from .answer import Answer
from .events import (
    Call,
    CompleteMessage,
    Confirm,
    Delta,
    Discard,
    Done,
    End,
    Event,
    Failed,
    Finish,
    Follow,
    ReadInbox,
    Save,
    Send,
    Start,
    State,
    Step,
    Usage,
)
from .fields import MAX_LINE, ProtocolError, asked_for, decode, decode_line, is_utf16, size_of
from .message_types import fitting
from .reader import Reader
from .values import Channel, MessageType, Role

__all__ = [
    "MAX_LINE",
    "Answer",
    "Call",
    "Channel",
    "CompleteMessage",
    "Confirm",
    "Delta",
    "Discard",
    "Done",
    "End",
    "Event",
    "Failed",
    "Finish",
    "Follow",
    "State",
    "MessageType",
    "ProtocolError",
    "ReadInbox",
    "Reader",
    "Role",
    "Save",
    "Send",
    "Start",
    "Step",
    "Usage",
    "asked_for",
    "decode",
    "decode_line",
    "fitting",
    "is_utf16",
    "size_of",
]
