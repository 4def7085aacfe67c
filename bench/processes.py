"""What processes cost: CPU time and memory, as Linux counts them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import redis

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def tree(*roots: int) -> set[int]:
    """The processes and all that descend from them."""
    found: set[int] = set()
    left = list(roots)
    while left:
        pid = left.pop()
        if pid in found or not Path(f"/proc/{pid}").exists():
            continue
        found.add(pid)
        left += children(pid)
    return found


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, file.read_text().split())
        except OSError:  # the thread has ended meanwhile
            continue
    return found


def cpu(pids: Iterable[int]) -> float:
    """CPU seconds that they and their ended children have used."""
    return sum(sum(_cpu(pid)) for pid in set(pids))


def cpu_of_children(pids: Iterable[int]) -> float:
    """CPU seconds that their ended children have used."""
    return sum(_cpu(pid)[1] for pid in set(pids))


def _cpu(pid: int) -> tuple[float, float]:
    """Of the process itself, and of its ended children."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0, 0.0
    return sum(map(int, fields[11:13])) / _TICKS, sum(map(int, fields[13:15])) / _TICKS


def pss(pids: Iterable[int]) -> int:
    """Bytes of memory, each page divided among those that share it."""
    return sum(map(_pss, set(pids)))


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def resident(pid: int) -> int:
    """Bytes of memory that a process has now, shared ones too. Cheap to ask."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def of_redis(url: str) -> int:
    """The process of a Redis on this machine."""
    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])
