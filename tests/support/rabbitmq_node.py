"""A RabbitMQ node of one's own, that may be stopped, killed, and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import kombu

from runtime.testing.ports import free_port
from runtime.testing.waiting import until

NONE = "There is no RabbitMQ to start: install one (Debian: apt install rabbitmq-server)"
_SERVERS = ("usr/lib/rabbitmq/bin/rabbitmq-server", "opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server")
"""Debian's on the PATH would become another user, who may not read our folder."""
_STARTS_WITHIN = 90.0


class NoRabbitMQ(LookupError):
    """None is installed."""


class RabbitMQNode:
    """A node on ports of its own, which keeps what it knows in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        """Raises NoRabbitMQ."""
        self._program = _server()
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        (folder / "plugins").write_text("[].\n")
        (folder / "environment").touch()
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),  # for its cookie
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "environment"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_NODENAME": f"branchline-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
        }

    def start(self) -> None:
        """Start it and wait until it answers."""
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [self._program], env=self._environ, stdout=log, stderr=log, start_new_session=True
            )
        until(self._answers, _STARTS_WITHIN, f"RabbitMQ answers ({self._log})")

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it: SIGKILL as a power cut would, SIGTERM in good order. It may be started again."""
        if self._process is not None:
            os.killpg(self._process.pid, number)
            self._process.wait(60)
            self._process = None

    def close(self) -> None:
        """End it, and the daemon that it has started to be found by name."""
        self.stop()
        until(self._forgotten, what="no node is known by name any more")

    def waiting(self, queue: str) -> int:
        """How many messages wait in a queue. Raises a ChannelError where there is no such queue."""
        with kombu.Connection(self.url) as connection:
            return int(connection.default_channel.queue_declare(queue, passive=True).message_count)

    def _forgotten(self) -> bool:
        command = ["epmd", "-kill"]  # refused until it has noticed the end of the node
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, check=False)
        return "Killing not allowed" not in done.stdout

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            with kombu.Connection(self.url, connect_timeout=1) as connection:
                connection.connect()
        except OSError:
            return False
        return True


def _server() -> str:
    for path in _SERVERS:
        if Path("/", path).exists():
            return f"/{path}"
    if found := shutil.which("rabbitmq-server"):
        return found
    raise NoRabbitMQ(NONE)
