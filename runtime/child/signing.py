"""Signs what is sent to a web service, so that it knows who has sent it.

As Standard Webhooks has it (https://www.standardwebhooks.com), for which there are libraries in many
languages: HMAC-SHA256 over an id, the time and the body.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time

_PREFIX = "whsec_"
"""What a secret begins with whose rest is base64; any other is used as it is written."""


def signature(secret: str, body: bytes, *, id: str = "", moment: float | None = None) -> dict[str, str]:
    """The headers for a body. ``moment``: seconds since 1970; now if None. ``id``: a new one if empty."""
    id = id or f"msg_{secrets.token_hex(16)}"
    timestamp = str(int(time.time() if moment is None else moment))
    signed = b".".join((id.encode(), timestamp.encode(), body))
    mac = base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()
    return {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{mac}"}


def _key(secret: str) -> bytes:
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            pass  # it only begins so
    return secret.encode()
