"""Sockets of Socket.IO in one agent chat, beside as many SSE streams of its thread."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from bench import processes
from bench.branchline import Branchline, stamps
from bench.client import Connection, Reply
from bench.figures import Figures, quantile
from bench.measure import Measure
from bench.measures.watchers import join
from bench.socket_client import Socket
from bench.system import System

_GAP = 0.2
"""Seconds between two words of the agent."""
_SECONDS = 3.0
_AT_ONCE = 50
"""Sockets that are being opened at the same time."""
_LATEST = 10
"""Half seconds for which the last words are waited for."""
_QUIET = 250
"""Further ones of each kind that stay open."""
_CHATS = "/api/agent-chat/sessions"
Delivered = list[tuple[float, float]]
"""When each word was written, and when it was read."""


class Sockets(Measure):
    """The streams alone and then the sockets alone, while the agent of the chat says five words a second.

    What each keeps in memory is found with others, on which nothing happens and which stay open.
    """

    name = "sockets"

    def __init__(self, count: int = 1000) -> None:
        self._count = count
        self._quiet: list[Connection | Socket] = []

    async def round(self, system: System, figures: Figures) -> None:
        assert isinstance(system, Branchline)
        session_id, thread_id = await self._begin(system)
        (await _open(system, session_id, 1))[0].close()  # what the first one loads
        await self._keep(system, figures, *await self._begin(system))
        asked = {"message": "Go", "context": {"n": 10_000, "gap": _GAP}}
        sent = await system.client.request("POST", f"{_CHATS}/{session_id}/messages", asked)
        try:
            streams = await self._of_streams(system, figures, thread_id)
            sockets = await self._of_sockets(system, figures, session_id)
        finally:
            await system.cancel(sent.json()["run_id"])
        for share, target in ((0.5, ""), (0.99, "≤ 2")):
            figures.add(
                f"{self._count:,} sockets, delta p{share * 100:.0f}, as a multiple of that of streams", "",
                quantile(sockets, share) / quantile(streams, share), samples=len(sockets), target=target,
            )  # fmt: skip

    async def clear(self) -> None:
        for one in self._quiet:
            one.close()
        self._quiet.clear()

    async def _begin(self, system: Branchline) -> tuple[str, str]:
        """The ids of a new chat and of its thread."""
        made = (await system.client.request("POST", _CHATS, {"agent_type": "rag"})).json()
        chat = (await system.client.request("GET", f"{_CHATS}/{made['session_id']}")).json()
        return chat["session_id"], chat["thread_id"]

    async def _keep(self, system: Branchline, figures: Figures, session_id: str, thread_id: str) -> None:
        memory = [processes.pss(system.web_processes())]
        streams = await join(system, [f"/api/threads/{thread_id}/events"] * _QUIET)
        self._quiet += [connection for connection, _ in streams]
        memory.append(processes.pss(system.web_processes()))
        self._quiet += await _open(system, session_id, _QUIET)
        memory.append(processes.pss(system.web_processes()))
        for what, before, after in zip(("stream", "socket"), memory, memory[1:], strict=False):
            figures.add(
                f"open {what} of a chat, memory of web",
                "KB",
                (after - before) / _QUIET / 1000,
                samples=_QUIET,
            )

    async def _of_streams(self, system: Branchline, figures: Figures, thread_id: str) -> list[float]:
        opened = await join(system, [f"/api/threads/{thread_id}/events"] * self._count)
        replies = [reply for _, reply in opened]
        try:
            return await self._listen(system, figures, "streams", lambda: map(_of_reply, replies))
        finally:
            for connection, _ in opened:
                connection.close()

    async def _of_sockets(self, system: Branchline, figures: Figures, session_id: str) -> list[float]:
        opened = await _open(system, session_id, self._count)
        try:
            return await self._listen(system, figures, "sockets", lambda: map(_of_socket, opened))
        finally:
            for socket in opened:
                socket.close()

    async def _listen(
        self, system: Branchline, figures: Figures, what: str, read: Callable[[], Iterable[Delivered]]
    ) -> list[float]:
        """The seconds that each word took to each reader. Raises RuntimeError where one has missed any."""
        what = f"{self._count:,} {what}"
        await asyncio.sleep(0.5)  # what came while they were opened
        used, since = processes.cpu(system.web_processes()), time.time()
        await asyncio.sleep(_SECONDS)
        used = processes.cpu(system.web_processes()) - used
        for _ in range(_LATEST):
            await asyncio.sleep(0.5)  # what was written last may still be on its way
            came = [[one for one in each if since <= one[0] < since + _SECONDS] for each in read()]
            written = Counter({moment for each in came for moment, _ in each})
            wrong = [each for each in came if Counter(moment for moment, _ in each) != written]
            if not wrong:
                break
        else:
            raise RuntimeError(f"{len(wrong)} of {what} got {len(wrong[0])} of {len(written)} deltas")
        took = [read_at - moment for each in came for moment, read_at in each]
        for share in (0.5, 0.99):
            figures.add(
                f"{what}, delta p{share * 100:.0f}", "ms", quantile(took, share) * 1000, samples=len(took)
            )
        figures.add(
            f"{what}, CPU of web per 1,000 deliveries", "s", used / len(took) * 1000, samples=len(took)
        )
        return took


async def _open(system: Branchline, session_id: str, count: int) -> list[Socket]:
    """Sockets that have joined a chat."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def open() -> Socket:
        async with free:
            socket = await Socket.connect(system.client)
            await socket.join(session_id)
            return socket

    return await asyncio.gather(*(open() for _ in range(count)))


def _of_reply(reply: Reply) -> Delivered:
    deltas = (event for event in reply.events() if event.type == "message.delta")
    return [stamp for event in deltas for stamp in stamps(event.data, event.at)]


def _of_socket(socket: Socket) -> Delivered:
    found: Delivered = []
    for at, packet in socket.packets():
        if packet.startswith(b'42["stream_chunk"'):
            text: Any = packet.partition(b'"content":"')[2].partition(b'"')[0]
            found += [(float(stamp), at) for stamp in text.split(b";")[:-1]]
    return found
