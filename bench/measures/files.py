"""Files: the upload of a large one, and reading it again."""

from __future__ import annotations

import asyncio
import os
import time

import httpx

from bench.branchline import Branchline
from bench.client import Client
from bench.figures import Figures
from bench.measure import Measure
from bench.system import System

SIZE = 50 * 1024 * 1024
_PIECE = 1 << 20


class Files(Measure):
    """One file of 50 MiB, on a system that has nothing else to do."""

    name = "files"

    async def round(self, system: System, figures: Figures) -> None:
        assert isinstance(system, Branchline)
        uploaded, read = await asyncio.to_thread(_transfer, system.client)
        figures.add("upload of a file of 50 MiB", "ms", uploaded * 1000)
        figures.add("reading it", "ms", read * 1000)


def _transfer(client: Client) -> tuple[float, float]:
    """Seconds of an upload, of a content that was never there before, and of reading it."""
    content = os.urandom(_PIECE) * (SIZE // _PIECE)
    with httpx.Client(base_url=f"http://127.0.0.1:{client.port}", headers=client.headers, timeout=60) as api:
        began = time.perf_counter()
        answer = api.post("/api/files", files={"file": ("large.bin", content)}).raise_for_status()
        uploaded = time.perf_counter()
        path = f"/api/files/{answer.json()['file']['id']}"
        received = 0
        with api.stream("GET", f"{path}/content") as response:
            response.raise_for_status()
            for piece in response.iter_raw():
                received += len(piece)
        ended = time.perf_counter()
        if received != SIZE:
            raise RuntimeError(f"{received} bytes of {SIZE} came back")
        api.delete(path).raise_for_status()
    return uploaded - began, ended - uploaded
