"""``python -m branchline_sdk.remote``: execute runs of a pool on this machine, without a sandbox."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from .machine import Machine, say
from .process import WorkerFolders


def main() -> int:
    """Execute runs until SIGTERM. Returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m branchline_sdk.remote", description=main.__doc__)
    parser.add_argument("--server", required=True, help="the URL of the installation")
    parser.add_argument("--pool", default="remote", help="whose runs (default: remote)")
    parser.add_argument("--slots", type=int, default=1, help="runs at once (default: 1)")
    parser.add_argument("--drain", type=float, default=20.0, help="seconds that runs have to end at SIGTERM")
    parser.add_argument("workers", nargs="+", help="folders with a worker.toml, or with such folders")
    given = parser.parse_args()
    token = os.environ.get("BRANCHLINE_POOL_TOKEN")
    if not token:
        parser.error("set BRANCHLINE_POOL_TOKEN to a token of the pool (branchline token create --pool NAME)")
    try:
        folders = WorkerFolders(given.workers)
        machine = Machine(given.server, token, given.pool, given.slots, folders.start)
    except (OSError, ValueError, KeyError) as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, machine.drain)
    signal.signal(signal.SIGINT, machine.drain)
    say(f"asks {given.server} for runs of the pool {given.pool}; has {', '.join(folders.ids)}")
    machine.run(given.drain)
    if machine.refusal is not None:
        say(machine.refusal)
    return 1 if machine.refusal is not None else 0


if __name__ == "__main__":
    sys.exit(main())
