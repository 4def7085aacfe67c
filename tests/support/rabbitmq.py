"""A part of a RabbitMQ server of one's own: a virtual host that is made and removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import kombu

SERVER = os.environ.get("BRANCHLINE_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672")
NONE = (
    "No RabbitMQ that these tests can use: {reason}. Install one on this machine (Debian: apt install "
    "rabbitmq-server) and run the tests as root or as its user, for they make a virtual host with "
    "rabbitmqctl; BRANCHLINE_TEST_RABBITMQ names another than amqp://guest:guest@127.0.0.1:5672."
)


class RabbitMQ:
    """One virtual host of a running server."""

    def __init__(self, name: str) -> None:
        parts = urlsplit(SERVER)
        self.name = name
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 5672
        self._user = f"{parts.username or 'guest'}:{parts.password or 'guest'}"
        self.url = self.url_at(self.host, self.port)

    def url_at(self, host: str, port: int) -> str:
        """Its URL as seen through another address."""
        return f"amqp://{self._user}@{host}:{port}/{self.name}"

    def check(self) -> None:
        """Raise OSError unless it answers."""
        with kombu.Connection(self.url, connect_timeout=3) as connection:
            connection.connect()

    def waiting(self, queue: str) -> int:
        """How many messages of a queue nobody has been given yet."""
        with kombu.Connection(self.url) as connection:
            return int(connection.default_channel.queue_declare(queue, passive=True).message_count)

    def first(self, queue: str) -> dict[str, Any]:
        """The properties of the first message that waits in a queue; it stays there."""
        with kombu.Connection(self.url) as connection:
            return dict(connection.default_channel.basic_get(queue).properties)

    def queues(self) -> dict[str, bool]:
        """The names of its queues, and whether each is durable."""
        lines = control("list_queues", "--vhost", self.name, "name", "durable", "--no-table-headers")
        return {
            name: durable == "true" for name, durable in (line.split("\t") for line in lines.splitlines())
        }

    def delete(self, queue: str) -> None:
        """Delete a queue and what waits in it."""
        with kombu.Connection(self.url) as connection:
            connection.default_channel.queue_delete(queue)

    def permit(self, pattern: str | None) -> None:
        """Let its user do everything with what has such a name; None: let it not even in."""
        user = urlsplit(SERVER).username or "guest"
        if pattern is None:
            control("clear_permissions", "--vhost", self.name, user)
        else:
            control("set_permissions", "--vhost", self.name, user, *[pattern] * 3)

    def close_connections(self) -> None:
        """Close every connection to it, as an operator or a restart does."""
        control("close_all_connections", "--vhost", self.name, "closed by a test")


@contextmanager
def virtual_host() -> Iterator[RabbitMQ]:
    """A virtual host with a random name. Raises LookupError with what stands in the way."""
    name = f"branchline-test-{uuid.uuid4().hex[:12]}"
    control("add_vhost", name)
    try:
        made = RabbitMQ(name)
        made.permit(".*")
        yield made
    finally:
        control("delete_vhost", name)


def control(*arguments: str) -> str:
    """What rabbitmqctl answers. Raises LookupError where it cannot be used."""
    program = shutil.which("rabbitmqctl")
    if program is None:
        raise LookupError("rabbitmqctl is not on the PATH")
    done = subprocess.run(
        [program, "--quiet", *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    if done.returncode:
        raise LookupError(f"rabbitmqctl {arguments[0]} says: {(done.stderr or done.stdout).strip()[:300]}")
    return done.stdout
