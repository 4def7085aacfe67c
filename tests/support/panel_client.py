"""The panel's client of Socket.IO in Python, which hears events in the order in which they come."""

from __future__ import annotations

from typing import Any

import engineio
import socketio


class _InOrder(engineio.Client):  # type: ignore[misc]
    def _trigger_event(self, event: str, *args: Any, run_async: bool = False, **more: Any) -> Any:
        """Where it is given a message, engineio begins a thread, which may overtake the one before it."""
        return super()._trigger_event(event, *args, **more)


class PanelClient(socketio.Client):  # type: ignore[misc]
    """As the one in a browser, it calls no handler before the last one has returned."""

    def _engineio_client_class(self) -> type[engineio.Client]:
        return _InOrder
