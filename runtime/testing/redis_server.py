"""A Redis server of its own port and folder, that may be killed and started again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import redis

from runtime.cli.embedded_redis import find_program
from runtime.testing.ports import free_port

STARTS_WITHIN = 10.0
"""Seconds."""


class RedisServer:
    """A redis-server on a free port, with a folder of its own, and a password if wanted."""

    def __init__(self, folder: Path, *options: str, password: str = "", durable: bool = False) -> None:
        """``options`` as the program takes them, such as ``--maxmemory 8mb``.

        ``durable``: what was written is there again after a restart (an append-only file).
        """
        self.folder = folder
        self._options = options
        self._durable = durable
        self.port = free_port()
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"
        (folder / "redis.conf").write_text(f'requirepass "{password}"\n')
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [
            find_program(),
            str(self.folder / "redis.conf"),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.folder),
        ]
        kept = "yes" if self._durable else "no"
        self._process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", kept, *self._options],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + STARTS_WITHIN
        with redis.Redis.from_url(self.url) as client:
            while not _answers(client):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"redis-server did not start: {command}")
                time.sleep(0.01)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Have it stand still: connections stay, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def erase(self) -> None:
        """Delete what it has kept, while it is down: it starts empty."""
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)

    def restart(self) -> None:
        """Kill it and start it anew, empty, on the same port."""
        self.kill()
        self.start()

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
