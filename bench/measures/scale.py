"""Scale: several web and pool processes on one Redis and one database."""

from __future__ import annotations

from bench.branchline import Branchline
from bench.measures.rate import Rate

WEBS, POOLS = 2, 3


class Scale(Rate):
    """The same runs as in :class:`Rate`, each asked for at one web process and read from the other.

    On as many cores as before the rate cannot grow; what a run costs must not either.
    """

    name = "scale"
    compared = False
    what = f"the same, {WEBS} web and {POOLS} pool processes on one Redis and database"
    targets = ("", "", "")

    async def prepare(self, branchline: Branchline) -> None:
        await branchline.widen(WEBS, POOLS)
        for index in range(100):  # new processes make their first connections
            await branchline.stream_run(index, 1, 0)
