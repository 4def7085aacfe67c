"""The first line that a worker reads: its run, and what it needs to know of it."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from runtime.model import Message
from runtime.sdk.version import PROTOCOL
from runtime.store.attempts import Claim


def first_line(claim: Claim, open: Sequence[Message] | None) -> bytes:
    """What begins an attempt. ``open``: what its worker goes on with; None: it begins anew."""
    return orjson.dumps(
        {
            "type": "run",
            "protocol": PROTOCOL,
            "run": claim.run.encode(),
            "config": claim.run.config,
            "args": claim.run.args,
            "messages": [message.encode() for message in claim.messages],
            "earlier": [message.encode() for message in claim.earlier],
            "open": [message.encode() for message in open or ()],
            "continued": open is not None,
            "answers": claim.run.answers,
            "saved": {saved.key: orjson.Fragment(saved.value) for saved in claim.saved},
            "thread": claim.thread,
            "state": claim.data,
            "digests": {saved.key: saved.digest for saved in claim.saved if saved.digest},
        }
    )
