"""The open tabs: what each shows, and the task that keeps it up to date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from runtime.errors import BranchlineError, NotFound, Unauthenticated
from runtime.gradio_chat.api import Api
from runtime.gradio_chat.conversation import Conversation
from runtime.model import Json
from runtime.thread_api.client import Refused

_PAUSES = (0.25, 0.5, 1.0, 3.0)
"""Seconds before each further try to follow a thread; the last one again and again."""
_THREADS = 50
"""How many conversations can be chosen from."""


class Tab:
    """One page in a browser: the conversation that it shows, followed by the thread's events."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.conversation: Conversation | None = None
        self.threads: list[dict[str, Json]] = []
        self.workers: list[dict[str, Json]] = []
        self.trouble = ""
        """Why what is shown may be old; empty while all is well."""
        self.closed = False
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def show(self, thread_id: str | None) -> None:
        """Show another thread, or none. Raises what :class:`Api` does if it cannot be read."""
        await self._stop()
        self.trouble = ""
        self.conversation = None
        if thread_id is not None:
            self.conversation = await self._read(thread_id)
            self._task = asyncio.create_task(self._follow(thread_id))
        await self.list_threads()

    async def list_workers(self) -> None:
        """Read the list of workers anew."""
        self.workers = (await self.api.get("/api/workers"))["items"]

    async def list_threads(self) -> None:
        """Read the list of conversations anew."""
        self.threads = (await self.api.get("/api/threads", limit=_THREADS))["items"]
        self._changed.set()

    async def changes(self, every: float) -> AsyncIterator[None]:
        """Something has changed, or nothing for ``every`` seconds; until the tab is closed."""
        while not self.closed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), every)
            self._changed.clear()
            yield

    async def close(self) -> None:
        """Follow nothing any more."""
        self.closed = True
        self._changed.set()
        await self._stop()

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _read(self, thread_id: str) -> Conversation:
        thread = (await self.api.get(f"/api/threads/{thread_id}"))["thread"]
        tip = thread["latest_state_id"]
        if self.conversation is not None and self.conversation.thread["id"] == thread_id:
            tip = self.conversation.tip  # not another branch, because a connection was lost
        snapshot = await self.api.get(f"/api/threads/{thread_id}/snapshot", state=tip)
        # The session is read after the cursor: what happens in between is told again, and is no older.
        return Conversation(thread, tip, snapshot, await self._session(thread_id))

    async def _session(self, thread_id: str) -> dict[str, Json] | None:
        try:
            found: dict[str, Json] = (await self.api.get(f"/api/threads/{thread_id}/session"))["session"]
        except Refused as error:
            if error.status != 404:
                raise
            return None
        return found

    async def _follow(self, thread_id: str) -> None:
        """Keep the conversation up to date, also after a lost connection, until the thread is gone."""
        failures = 0
        while True:
            try:
                async for _ in self._applied():
                    failures = 0
                if self.conversation is None or self.conversation.deleted:
                    return
            except Unauthenticated as error:
                return self._tell(str(error))
            except (Refused, NotFound) as error:
                if isinstance(error, Refused) and error.status not in (404, 401):
                    self._tell(str(error))
                else:
                    return self._tell("This conversation is not there any more.")
            except BranchlineError as error:
                self._tell(str(error))
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1
            with suppress(BranchlineError):
                self.conversation = await self._read(thread_id)
                self._tell("")

    async def _applied(self) -> AsyncIterator[None]:
        """Apply events until the stream ends or a new snapshot is needed."""
        conversation = self.conversation
        assert conversation is not None
        title = conversation.thread["title"]
        async for event in self.api.events(conversation.thread["id"], conversation.cursor):
            if event is not None:
                if not conversation.apply(event):
                    return
                conversation.cursor = event.id or conversation.cursor
                self._changed.set()
                if conversation.thread["title"] != title:
                    title = conversation.thread["title"]
                    await self.list_threads()
            yield

    def _tell(self, trouble: str) -> None:
        self.trouble = trouble
        self._changed.set()


class Tabs:
    """All tabs of this process, by the name that Gradio gives each."""

    def __init__(self) -> None:
        self._tabs: dict[str, tuple[str, Tab]] = {}

    async def open(self, name: str, token: str, api: Api) -> Tab:
        """A new tab of the browser with that token. Raises NotFound where the name is another browser's."""
        if name in self._tabs:
            self.get(name, token)
            await self.close(name, token)
        tab = Tab(api)
        self._tabs[name] = (token, tab)
        return tab

    def get(self, name: str, token: str) -> Tab:
        """An open tab. Raises NotFound, also where it is another browser's."""
        owner, tab = self._tabs.get(name, (None, None))
        if tab is None or owner != token:
            raise NotFound("This page is out of date. Load it again.")
        return tab

    async def close(self, name: str, token: str | None = None) -> None:
        """Close a tab, if it is that browser's; whatever browser's where ``token`` is None."""
        owner, tab = self._tabs.get(name, (None, None))
        if tab is not None and token in (None, owner):
            del self._tabs[name]
            await tab.close()
