"""Whose word it is that a request has failed: that of the server, or of a proxy on the way to it.

A proxy may answer anything while the server is away or restarts: 404 for a route that it does not know
yet, 401 with a sign-in of its own, a redirect to a page. What it says is not about the request.
"""

from __future__ import annotations

import json

_OURS = "urn:branchline:problem:"
"""How the ``type`` of the server's problem documents begins (RFC 9457)."""
_TOO_LARGE = 413


def problem_of(status: int, content: bytes) -> str | None:
    """What the server says is wrong; None where not the server has said it, or not to the end.

    ``content``: of an answer without success. What is too large for a proxy stays so: 413 is always one.
    """
    try:
        problem = json.loads(content)
        if str(problem["type"]).startswith(_OURS):
            return str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        pass
    return "The request is too large for a proxy on the way." if status == _TOO_LARGE else None


def by_another(status: int, location: str | None) -> str:
    """What to say where not the server has answered. ``location``: where a redirect leads."""
    more = f", which leads to {location}" if location else ""
    return f"not the server but something in between answered {status}{more}"
