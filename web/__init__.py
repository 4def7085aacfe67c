"""The web process: the Thread API, its streams, and the Worker API over HTTP."""

from __future__ import annotations

from web.app import create_app

__all__ = ["create_app"]
