"""A network namespace: a machine of its own, as the kernel has it, from which packets are lost unnoticed."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


class Namespace:
    """A network namespace with lines to this machine, which has an address of its own on each."""

    def __init__(self, *lines: str) -> None:
        """``lines``: what the test calls them."""
        self.name = f"branchline-{secrets.token_hex(3)}"
        number = secrets.randbelow(250)
        self._lines = {line: f"bl{place}x{number}" for place, line in enumerate(lines)}
        self._networks = {line: f"10.{213 + place}.{number}" for place, line in enumerate(lines)}

    def make(self) -> None:
        """Make it. Raises CalledProcessError where that is not permitted."""
        _ip("netns", "add", self.name)

    def connect(self) -> None:
        """Lay its lines."""
        for what, line in self._lines.items():
            network = self._networks[what]
            _ip("link", "add", line, "type", "veth", "peer", "name", f"{line}p", "netns", self.name)
            _ip("address", "add", f"{network}.1/30", "dev", line)
            _ip("link", "set", line, "up")
            _ip("-n", self.name, "address", "add", f"{network}.2/30", "dev", f"{line}p")
            _ip("-n", self.name, "link", "set", f"{line}p", "up")
        _ip("-n", self.name, "link", "set", "lo", "up")

    def remove(self) -> None:
        """Remove it, and its lines."""
        _ip("netns", "delete", self.name)

    @property
    def through(self) -> tuple[str, ...]:
        """The program that becomes one in it."""
        return ("ip", "netns", "exec", self.name)

    def address(self, what: str) -> str:
        """Where it sees this machine, by that line."""
        return f"{self._networks[what]}.1"

    def cut(self, what: str) -> None:
        """Drop every packet of that line."""
        _ip("link", "set", self._lines[what], "down")

    def join(self) -> None:
        """Let packets pass again."""
        for line in self._lines.values():
            _ip("link", "set", line, "up")


@contextmanager
def existing(namespace: Namespace) -> Iterator[Namespace]:
    """Make a namespace, and remove it; skips the test where none may be made."""
    if shutil.which("ip") is None:
        text = "There is no iproute2 to make network namespaces with (Debian: apt install iproute2)."
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    try:
        namespace.make()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces may not be made here: {error.stderr.decode().strip()}")
    try:
        namespace.connect()
        yield namespace
    finally:
        namespace.remove()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
