"""``python -m tests.chaos``: break Branchline under load for a while, and report."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from runtime.testing.postgresql_server import NoPostgreSQL, PostgreSQLServer
from tests.chaos import chaos, report

_ASKS_PER_SECOND = 2.2
_SECONDS_PER_FAULT = 4.0


def main() -> int:
    """Returns an exit code: 1 if any promise was broken."""
    wanted = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    with tempfile.TemporaryDirectory(prefix="branchline-soak-") as name, ExitStack() as cleanup:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as somebody else
        server, url = None, f"sqlite:///{folder}/branchline.db"
        if not wanted.sqlite:
            try:
                made = PostgreSQLServer(folder / "postgresql", settings={"fsync": "off"})
                server = cleanup.enter_context(made)
                url = server.url
            except NoPostgreSQL as error:
                _log(f"{error}. Using SQLite instead.")
        asks, faults = round(wanted.seconds * _ASKS_PER_SECOND), round(wanted.seconds / _SECONDS_PER_FAULT)
        plan = chaos.make_plan(wanted.seed, wanted.seconds, asks, faults, url, server is not None)
        _log(f"seed {plan.seed}: {asks} asks and {faults} faults in {plan.seconds:g} s")
        home = folder / "home"
        home.mkdir()
        outcome = chaos.run(plan, home, url, server, _log)
    print(report.summary(outcome))
    if outcome.violations:
        print(f"\n{report.stories(outcome)}", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Break everything under load; nothing may be lost."
    )
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="of load and faults (random)"
    )
    parser.add_argument("--seconds", type=float, default=600, help="how long there is load (600)")
    parser.add_argument("--sqlite", action="store_true", help="on SQLite, also where there is a PostgreSQL")
    return parser.parse_args()


def _log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
