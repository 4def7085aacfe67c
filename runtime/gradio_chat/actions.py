"""What a page asks the web process for. What becomes of it is told by events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.gradio_chat.tabs import Tab
from runtime.model import Json
from runtime.thread_api.client import Refused


async def send(tab: Tab, text: str, files: Sequence[Path], worker_id: str, config: dict[str, Json]) -> bool:
    """Have the worker answer a message: a new thread's first, the next of a branch, or one of a run
    that is under way. Returns whether it waits for such a run to read it."""
    message: dict[str, Any] = {"role": "user", "content": text}
    if files:
        message["files"] = [await tab.api.upload(path) for path in files]
    body = {"worker_id": worker_id, "config": config, "messages": [message]}
    conversation = tab.conversation
    if conversation is None:
        thread = (await tab.api.post("/api/runs", body))["thread"]
        await tab.show(thread["id"])
        return False
    run = conversation.active_run
    session = conversation.session
    if session is not None and session["status"] != "closed":
        path = f"/api/threads/{conversation.thread['id']}/session/messages"
        await tab.api.post(path, {"messages": [message]})
        return run is not None
    if run is not None:
        try:
            await tab.api.post(f"/api/runs/{run['id']}/messages", {"messages": [message]})
        except Refused as error:
            if error.status != 409:  # it has ended meanwhile
                raise
        else:
            return True
    asked = {**body, "input_state_id": conversation.tip}
    await tab.api.post(f"/api/threads/{conversation.thread['id']}/runs", asked)
    return False


async def answer(tab: Tab, question: dict[str, Json], given: Json) -> None:
    """Answer what a run has asked."""
    body = {"confirmation_id": question["id"], "answer": given}
    await tab.api.post(f"/api/runs/{question['run_id']}/answer", body)


async def stop(tab: Tab) -> None:
    """Stop the run that is under way, if any, and the session that it is a turn of."""
    session = tab.conversation.session if tab.conversation is not None else None
    if session is not None and session["status"] in ("running", "waiting"):
        return await move(tab, "stop")
    run = tab.conversation.active_run if tab.conversation is not None else None
    if run is not None:
        await tab.api.post(f"/api/runs/{run['id']}/cancel", {})


async def go_on(
    tab: Tab, worker_id: str, config: dict[str, Json], auto: dict[str, Json], limits: dict[str, Json]
) -> None:
    """Have the thread go on by itself, or not, within these limits; it gets a session if it has none."""
    if tab.conversation is None:
        thread = (await tab.api.post("/api/threads", {}))["thread"]
        await tab.show(thread["id"])
    conversation = tab.conversation
    assert conversation is not None
    path = f"/api/threads/{conversation.thread['id']}/session"
    if conversation.session is None:
        body = {"worker_id": worker_id, "config": config, "auto": auto, "limits": limits}
        await tab.api.post(path, body)
    else:
        await tab.api.patch(path, {"auto": auto, "limits": limits})


async def move(tab: Tab, how: str) -> None:
    """``pause``, ``resume``, ``step``, ``stop`` or ``close`` the session."""
    if tab.conversation is not None and tab.conversation.session is not None:
        await tab.api.post(f"/api/threads/{tab.conversation.thread['id']}/session/{how}", {})
