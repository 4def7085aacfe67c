"""Addresses of Redis, read in one way for the event log and for the queues.

A server (``redis://``, ``rediss://`` over TLS), a socket on this machine (``unix://``), or
sentinels, which know the present primary: ``sentinel://user:password@one:26379;sentinel://two:26379/0``
with ``?master_name=…``, ``&sentinel_username=…&sentinel_password=…`` where they want those, and
``&ssl=true`` where they and the primary speak TLS. ``ssl_…`` are redis-py's options of that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import ConnectionError, ReadOnlyError, TimeoutError
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

SCHEMES = ("redis://", "rediss://", "unix://", "sentinel://")

_SENTINEL_PORT = 26379
_TLS = "ssl_"
_OF_TCP = ("socket_connect_timeout", "socket_keepalive", "socket_keepalive_options")


def is_redis(url: str) -> bool:
    """Whether this is the address of a Redis."""
    return url.startswith(SCHEMES)


def connection_options(url: str, timeout: float, **more: Any) -> dict[str, Any]:
    """What a pool of redis-py's connections is given.

    ``timeout``: seconds within which a sentinel has to answer. ``more`` are options that the
    address may override. Raises ValueError.
    """
    sentinels = url.startswith("sentinel://")
    given = Sentinels.parse(url).options(timeout) if sentinels else parse_url(url)  # type: ignore[no-untyped-call]
    if url.startswith("unix://"):
        more = {name: value for name, value in more.items() if name not in _OF_TCP}
    return more | given


def make_client(url: str, timeout: float, *, anonymous: bool = False) -> redis.Redis:
    """A client of its own; ``anonymous``: without the user and the password in the address.

    ``timeout`` in seconds, to connect and for each answer.
    """
    times = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    options = connection_options(url, timeout, **times)
    if anonymous:
        options |= {"username": None, "password": None}
    return redis.Redis.from_pool(redis.ConnectionPool(**options))


def tls_options(url: str) -> dict[str, Any]:
    """How redis-py verifies the server at this address; empty where it does not speak TLS."""
    if url.startswith("sentinel://"):
        return Sentinels.parse(url).tls
    return _tls_options(url.split(";")[0]) if url.startswith("rediss://") else {}


def _tls_options(url: str) -> dict[str, Any]:
    given = parse_url(url)  # type: ignore[no-untyped-call]
    return {"ssl_cert_reqs": "required"} | {n: value for n, value in given.items() if n.startswith(_TLS)}


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Some sentinels, and the name of the primary that they watch."""

    hosts: tuple[tuple[str, int], ...]
    master_name: str
    database: int
    user: dict[str, str]
    """``username`` and ``password`` for the primary, as far as they are given."""
    own_user: dict[str, str]
    """The same for the sentinels themselves."""
    tls: dict[str, Any]
    """How sentinels and primary are verified; empty where they do not speak TLS."""

    @classmethod
    def parse(cls, url: str) -> Sentinels:
        """Read an address. Raises ValueError."""
        parts = [urlsplit(part) for part in url.split(";")]
        query = {name: value for part in parts for name, value in parse_qsl(part.query)}
        if "master_name" not in query or any(p.scheme != "sentinel" or not p.hostname for p in parts):
            raise ValueError("sentinel://host:26379;sentinel://host:26379/0?master_name=... is expected")
        first, path = parts[0], parts[-1].path.strip("/")
        tls = {name: value for name, value in query.items() if name.startswith(_TLS)}
        own = {name: query.get(f"sentinel_{name}") for name in ("username", "password")}
        user = {"username": first.username, "password": first.password}
        return cls(
            tuple((part.hostname or "", part.port or _SENTINEL_PORT) for part in parts),
            query["master_name"],
            int(path or 0),
            {name: unquote(value) for name, value in user.items() if value},
            {name: value for name, value in own.items() if value},
            _tls_options(f"rediss://?{urlencode(tls)}") if query.get("ssl") == "true" else {},
        )

    def options(self, timeout: float) -> dict[str, Any]:
        """What redis-py's connections to the primary are given."""
        sentinel = SentinelClient(list(self.hosts), sentinel_kwargs=self.sentinel_options(timeout))  # type: ignore[no-untyped-call]
        kind = ToPrimaryOverTLS if self.tls else ToPrimary
        how = {"connection_class": kind, "sentinel": sentinel, "master_name": self.master_name}
        return {**how, **self.tls, "db": self.database, **self.user}

    def sentinel_options(self, timeout: float) -> dict[str, Any]:
        """What connections to the sentinels are given. One that is away is not asked twice."""
        times = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        tls = {"ssl": True, **self.tls} if self.tls else {}
        return {**self.own_user, **times, **tls, "retry": Retry(NoBackoff(), 0)}

    @property
    def kombu_url(self) -> str:
        """The address as kombu has it, which looks for user and database in the first one alone."""
        user = ":".join(quote(self.user.get(name, ""), safe="") for name in ("username", "password"))
        return ";".join(
            f"sentinel://{f'{user}@' if self.user else ''}{host}:{port}/{self.database}"
            for host, port in self.hosts
        )


class SentinelClient(Sentinel):
    """Sentinels, which say in a sentence each why they name no primary.

    redis-py says which options its clients have, all of them, and not what has failed.
    """

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Of redis-py: where the primary of that name is. Raises its MasterNotFoundError."""
        problems = []
        for sentinel in list(self.sentinels):
            try:
                found = cast(Mapping[str, Any], sentinel.sentinel_masters()).get(service_name)
            except (ConnectionError, TimeoutError) as error:
                problems.append(str(error))
                continue
            if found and self.check_master_state(found, service_name):  # type: ignore[no-untyped-call]
                self.sentinels.remove(sentinel)
                self.sentinels.insert(0, sentinel)  # to be asked first the next time
                return found["ip"], found["port"]
            where = "{host}:{port}".format_map(sentinel.connection_pool.connection_kwargs)
            problems.append(f"{where} takes it for away" if found else f"{where} watches none of that name")
        raise MasterNotFoundError(f"no primary {service_name} is known: {'; '.join(problems)}")


class ToPrimary(redis.Connection):
    """A connection to the present primary: the sentinels are asked each time that it is made.

    redis-py's own asks them only where its pool has made the connection, and goes to the last
    address, or to none, where a command does.
    """

    def __init__(self, *, sentinel: SentinelClient, master_name: str, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._sentinel = sentinel
        self._master_name = master_name

    def _connect(self) -> Any:
        """Of redis-py: a new socket. Raises its ConnectionError where no sentinel knows a primary."""
        self.host, self.port = self._sentinel.discover_master(self._master_name)
        return super()._connect()  # type: ignore[no-untyped-call]

    def read_response(self, *given: Any, **options: Any) -> Any:
        """Of redis-py: a reply. A primary that has become a replica is left."""
        try:
            return super().read_response(*given, **options)
        except ReadOnlyError:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise


class ToPrimaryOverTLS(ToPrimary, redis.SSLConnection):
    """The same, over TLS."""


def kombu_url(url: str) -> str:
    """The address of a broker, of any kind, as kombu has it; without its :func:`tls_options`."""
    if url.startswith("sentinel://"):
        return Sentinels.parse(url).kombu_url
    if url.startswith("unix://"):
        parts = urlsplit(url)
        database = urlencode({"virtual_host": dict(parse_qsl(parts.query)).get("db", "0")})
        return f"redis+socket://{parts.netloc}{parts.path}?{database}"
    return ";".join(_server(one) for one in url.split(";")) if is_redis(url) else url


def _server(url: str) -> str:
    database = parse_url(url).get("db", 0)  # type: ignore[no-untyped-call]
    return urlsplit(url)._replace(path=f"/{database}", query="").geturl()
