"""The first line that a worker reads: its run, and what it needs to know of it."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from runtime.model import Json, Message, Run
from runtime.sdk.version import PROTOCOL
from runtime.settings import Settings
from runtime.store.attempts import Claim


def encoded(message: Message, run: Run, settings: Settings) -> dict[str, Json]:
    """A message as a worker gets it: each file that it names has the URL at which the run reads it."""
    shown = message.encode()
    if message.files:
        base = f"{settings.api_url}/worker/runs/{run.id}/files"
        shown["files"] = [{**file, "url": f"{base}/{file['id']}"} for file in message.files]
    return shown


def first_line(claim: Claim, open: Sequence[Message] | None, settings: Settings) -> bytes:
    """What begins an attempt. ``open``: what its worker goes on with; None: it begins anew."""

    def shown(messages: Sequence[Message]) -> list[dict[str, Json]]:
        return [encoded(message, claim.run, settings) for message in messages]

    return orjson.dumps(
        {
            "type": "run",
            "protocol": PROTOCOL,
            "run": claim.run.encode(),
            "config": claim.run.config,
            "args": claim.run.args,
            "messages": shown(claim.messages),
            "earlier": shown(claim.earlier),
            "open": shown(open or ()),
            "continued": open is not None,
            "answers": claim.run.answers,
            "saved": {saved.key: orjson.Fragment(saved.value) for saved in claim.saved},
            "thread": claim.thread,
            "state": claim.data,
            "message": claim.run.message,
            "digests": {saved.key: saved.digest for saved in claim.saved if saved.digest},
        }
    )
