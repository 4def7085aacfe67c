"""Runs one scenario of the hub in this process, by its name, with a Redis at that address."""

from __future__ import annotations

import sys

import gevent

from tests.integration.stream.hub import SCENARIOS


def main() -> None:
    """Run it."""
    with gevent.Timeout(50):
        SCENARIOS[sys.argv[1]](sys.argv[2])
    print("ok")


if __name__ == "__main__":
    main()
