"""Settings: read once from config/default.toml and the environment, validated whole, frozen.

No other module reads the environment. A value that does not parse is an error
that names the variable; it is never silently kept as text.
"""

from __future__ import annotations

import math
import os
import re
import secrets
import time
import tomllib
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from runtime.errors import ConfigurationError
from runtime.settings import checks
from runtime.system.private_files import private_folder

CHECKOUT = Path(__file__).resolve().parent.parent.parent
DEFAULTS = CHECKOUT / "config" / "default.toml"


@dataclass(frozen=True, slots=True)
class Service:
    """Addresses and folders. Environment variables without a prefix."""

    port: int
    host: str
    base_path: str
    flower_port: int
    branchline_home: str
    branchline_installation: str
    database_url: str
    redis_url: str
    broker_url: str
    workers_path: str
    api_url: str
    files_url: str
    log_format: str


@dataclass(frozen=True, slots=True)
class Security:
    """Accounts, cookies and tokens."""

    secret_key: str
    secret_key_previous: str
    cookie_secure: bool
    session_days: int
    jwt_minutes: int
    registration: bool
    insecure: bool


@dataclass(frozen=True, slots=True)
class Database:
    """Connections to the database; seconds."""

    pool_size: int
    pool_timeout: float
    busy_timeout: float
    statement_timeout: float
    search_timeout: float


@dataclass(frozen=True, slots=True)
class Redis:
    """Connections to Redis; seconds."""

    connections: int
    timeout: float
    connect_timeout: float


@dataclass(frozen=True, slots=True)
class RabbitMQ:
    """RabbitMQ as the broker."""

    quorum_queues: bool


@dataclass(frozen=True, slots=True)
class Log:
    """How much of a thread's event log is kept."""

    entries: int
    ttl: int


@dataclass(frozen=True, slots=True)
class Stream:
    """Server-sent events; seconds unless named otherwise."""

    heartbeat: float
    patience: float
    reread: float
    ring: int
    retry_ms: int


@dataclass(frozen=True, slots=True)
class Web:
    """The web process."""

    workers: int
    connections: int
    max_body: int
    request_timeout: float
    drain: float
    hosts: str
    trusted_proxies: int


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """A pool process; seconds."""

    slots: int
    isolated_processes: int
    lease: float
    renew: float
    drain: float
    kill_grace: float
    host_recycle: int
    settle: float

    @property
    def silence(self) -> float:
        """Seconds without a heartbeat after which a process is replaced: its runs are to be handed on
        before their leases end."""
        return 0.6 * self.lease


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Defaults and bounds of every run."""

    timeout: float
    max_attempts: int
    retry_backoff: float
    history: int
    window: int
    max_window: int
    max_message: int
    max_output: int
    max_log: int
    coalesce_ms: float
    title_worker: str


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Defaults of sessions, and what models cost."""

    prompt: str
    max_turns: int
    prices: str


@dataclass(frozen=True, slots=True)
class Panel:
    """The agent chat panel. Environment variables without a prefix."""

    agent_service_url: str
    panel_agents: str
    panel_origins: str
    session_ttl_hours: float
    max_messages_per_session: int
    socketio_ping_timeout: float
    socketio_ping_interval: float


@dataclass(frozen=True, slots=True)
class EmbeddingsSettings:
    """What makes vectors of passages and queries of the knowledge base; seconds."""

    url: str
    key: str
    model: str
    dimensions: int
    batch: int
    timeout: float
    query_timeout: float
    similarity: float


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """What a run may use where its worker.toml says nothing else."""

    disk_bytes: int
    processes: int


@dataclass(frozen=True, slots=True)
class Limits:
    """How many runs are accepted and run at once."""

    queued_per_user: int
    queued_per_pool: int
    running_per_user: int
    call_depth: int
    calls: int
    logins_per_minute: int
    streams_per_user: int


@dataclass(frozen=True, slots=True)
class FilesSettings:
    """What users and runs add to conversations; bytes."""

    max_size: int
    quota: int
    unused_days: float


@dataclass(frozen=True, slots=True)
class Trash:
    """Threads that were deleted."""

    days: float


@dataclass(frozen=True, slots=True)
class Reaper:
    """The reaper's intervals; seconds."""

    interval: float
    publish_grace: float
    announce_grace: float


@dataclass(frozen=True, slots=True)
class Flower:
    """Flower's sign-in."""

    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Gradio:
    """The Gradio page."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Development:
    """The account that ``branchline up`` makes."""

    email: str
    password: str


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. One attribute per section of config/default.toml."""

    service: Service
    security: Security
    database: Database
    redis: Redis
    rabbitmq: RabbitMQ
    log: Log
    stream: Stream
    web: Web
    pool: PoolSettings
    run: RunSettings
    session: SessionSettings
    panel: Panel
    embeddings: EmbeddingsSettings
    sandbox: SandboxSettings
    limits: Limits
    files: FilesSettings
    trash: Trash
    reaper: Reaper
    flower: Flower
    gradio: Gradio
    development: Development

    @property
    def home(self) -> Path:
        """The data folder."""
        return CHECKOUT / (self.service.branchline_home or ".branchline")

    @property
    def database_url(self) -> str:
        """The URL of the database; SQLite in the data folder unless set."""
        return self.service.database_url or f"sqlite:///{self.home / 'branchline.db'}"

    @property
    def redis_url(self) -> str:
        """The URL of Redis.

        Without REDIS_URL, that of the embedded one, which ``branchline up`` writes to the
        data folder.
        """
        return self.service.redis_url or _read_stored(self.home / "redis.url") or "redis://127.0.0.1:6379/0"

    @property
    def broker_url(self) -> str:
        """The URL of Celery's broker: that of Redis unless set."""
        return self.service.broker_url or self.redis_url

    @property
    def api_url(self) -> str:
        """The URL at which a child reaches the API, without a slash at its end."""
        return self.service.api_url.rstrip("/") or self.web_url

    @property
    def web_url(self) -> str:
        """The URL of the web process, from this machine, without a slash at its end."""
        return self.url_of(self.service.port) + self.base_path

    @property
    def flower_url(self) -> str:
        """The URL of Flower, from this machine, without a slash at its end."""
        return self.url_of(self.service.flower_port) + self.flower_path

    @property
    def gradio_url(self) -> str:
        """The URL of the Gradio page, from this machine, without a slash at its end."""
        return _url(self.gradio.host.strip("[]"), self.gradio.port)

    @property
    def flower_path(self) -> str:
        """The path below which Flower is served: ``/branchline/flower``; empty without a base path."""
        return f"{self.base_path}/flower" if self.base_path else ""

    @property
    def base_path(self) -> str:
        """The path below which everything is served: ``/branchline``; empty: at the root of its host."""
        return self.service.base_path.rstrip("/")

    @property
    def host(self) -> str:
        """What the web process and Flower listen on: a name, or an address without brackets."""
        return self.service.host.strip("[]")

    def authority(self, port: int) -> str:
        """HOST and a port as a URL has them: ``[::]:8000``."""
        return _authority(self.host, port)

    def url_of(self, port: int) -> str:
        """The URL of what listens on that port of HOST, from this machine."""
        return _url(self.host, port)

    @property
    def web_hosts(self) -> tuple[str, ...]:
        """The host names that a deployment answers to, in lower case; one with a dot in front: all below."""
        names = (name.strip().lower() for name in self.web.hosts.split(","))
        return tuple(name.strip("[]").removesuffix(".") for name in names if name)

    @property
    def deployed(self) -> bool:
        """Whether others can reach the web process: it listens beyond loopback, or is behind a proxy."""
        return self.host not in _LOOPBACK or self.web.trusted_proxies > 0

    @property
    def worker_folders(self) -> tuple[Path, ...]:
        """The folders that contain worker folders; the project's own comes first."""
        more = self.service.workers_path.split(os.pathsep) if self.service.workers_path else []
        return (CHECKOUT / "workers", *(CHECKOUT / folder for folder in more if folder))

    @property
    def secret_key(self) -> str:
        """The key that signs cookies and tokens."""
        return self.security.secret_key or stored_secret(self.home / "secret")

    @property
    def accepted_keys(self) -> tuple[str, ...]:
        """The secret key, and while it is being changed the other one; what either has signed is accepted."""
        return tuple(key for key in (self.secret_key, self.security.secret_key_previous) if key)

    @property
    def panel_agents(self) -> Mapping[str, str]:
        """The worker that agents of each type are: where there is a service of agents, one that asks it."""
        if self.panel.agent_service_url:
            return checks.SERVED
        return dict(checks.AGENTS) | dict(checks.named_agents(self.panel.panel_agents))

    @property
    def panel_origins(self) -> tuple[str, ...]:
        """The origins whose pages may call the API with a bearer token."""
        return tuple(checks.named_origins(self.panel.panel_origins))

    @property
    def flower_password(self) -> str:
        """Flower's password."""
        return self.flower.password or stored_secret(self.home / "flower.password", 12)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The defaults, overridden by ``environ`` (the process's own if None), and validated.

    Raises ConfigurationError that names every invalid variable.
    """
    environ = os.environ if environ is None else environ
    defaults = tomllib.loads(DEFAULTS.read_text())
    known = {variable(section, name) for section, names in defaults.items() for name in names}
    errors = list(checks.misspelt(environ, known))
    hints = get_type_hints(Settings)
    sections = {name: _section(name, hints[name], defaults[name], environ, errors) for name in defaults}
    if errors:
        raise ConfigurationError("; ".join(errors))
    settings = Settings(**sections)
    _check(settings)
    return settings


@cache
def current() -> Settings:
    """This process's settings; read at the first call, which also closes the data folder to others."""
    settings = load()
    with _usable_home():
        if settings.home.is_dir():
            private_folder(settings.home)
    return settings


@cache
def stored_secret(path: Path, length: int = 43) -> str:
    """A random secret that is created once and stored in ``path``, readable by its owner only.

    A process reads it once: each request needs it, also when no further file can be opened.
    Raises ConfigurationError where the data folder cannot be used.
    """
    with _usable_home():
        private_folder(path.parent)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return _read_stored(path, wait=True)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48)[:length])
    return _read_stored(path)


def storage_environ(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What of the environment is for the stores that FILES_URL may name: credentials, regions, proxies."""
    environ = os.environ if environ is None else environ
    return {name: value for name, value in environ.items() if name.startswith(_OF_STORAGE) or name == "HOME"}


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _url(host: str, port: int) -> str:
    authority = _authority(host, port)
    for everywhere, here in (("0.0.0.0:", "127.0.0.1:"), ("[::]:", "[::1]:")):
        if authority.startswith(everywhere):
            authority = here + str(port)
    return f"http://{authority}"


def variable(section: str, name: str) -> str:
    """The environment variable of a setting."""
    return name.upper() if section in _WITHOUT_PREFIX else f"BRANCHLINE_{section}_{name}".upper()


@contextmanager
def _usable_home() -> Iterator[None]:
    """Within it, a file of the data folder that cannot be read or made is ConfigurationError."""
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        why = (
            f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else "a file in it is no text"
        )
        raise ConfigurationError(
            f"The data folder cannot be used ({why}). Give its files to the user of this process, or set "
            "BRANCHLINE_HOME to a folder of this user's own."
        ) from error


@_usable_home()
def _read_stored(path: Path, wait: bool = False) -> str:
    until = time.monotonic() + _WRITE_TIMEOUT
    try:
        # Another process may have made the file and be about to write it.
        while not (text := path.read_text().strip()) and wait:
            if time.monotonic() > until:
                raise ConfigurationError(f"{path} is empty; delete it and start again")
            time.sleep(0.01)
    except FileNotFoundError:
        return ""
    return text


def _section(
    section: str, kind: type, defaults: Mapping[str, Any], environ: Mapping[str, str], errors: list[str]
) -> Any:
    hints = get_type_hints(kind)
    if set(hints) != set(defaults):
        raise ConfigurationError(f"[{section}] of {DEFAULTS} does not match {kind.__name__}")
    values = {}
    for field in fields(kind):
        name = variable(section, field.name)
        values[field.name] = defaults[field.name]
        if environ.get(name, "") != "":
            try:
                values[field.name] = _parse(environ[name], hints[field.name])
            except ValueError:
                errors.append(f"{name}={environ[name]!r} is not {_DESCRIPTIONS[hints[field.name]]}")
            else:
                if hints[field.name] in (int, float) and values[field.name] < 0:
                    errors.append(f"{name}={environ[name]} is less than 0")
    return kind(**values)


_OF_STORAGE = (
    "AWS_", "FSSPEC_", "S3_", "GOOGLE_", "GCSFS_", "AZURE_", "SSL_CERT_", "REQUESTS_CA_", "HTTP_PROXY",
    "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
"""How the names of variables begin that libraries of stores read."""
_WRITE_TIMEOUT = 2.0
"""Seconds that another process may take to write a secret's file after creating it."""
_WITHOUT_PREFIX = ("service", "panel")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_HOST = re.compile(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]*:[0-9a-f:.]*")
"""A name, all names below one (with a dot in front), or an IPv6 address."""
_INSTALLATION = re.compile(r"([a-z0-9][a-z0-9_-]{0,39})?")
_SHORTEST_KEY = 32
_DESCRIPTIONS = types.MappingProxyType(
    {int: "a whole number", float: "a number", bool: "true or false", str: "valid UTF-8"}
)
_BOOLEANS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def _parse(text: str, kind: type) -> Any:
    if kind is bool:
        try:
            return _BOOLEANS[text.strip().lower()]
        except KeyError:
            raise ValueError(text) from None
    if kind is str:
        text.encode()  # other bytes could not be signed, sent or stored
        return text
    number = kind(text)
    if not -math.inf < number < math.inf:
        raise ValueError(text)
    return number


def _check(settings: Settings) -> None:
    """Check what depends on more than the type of one value."""
    errors = []
    for name, port in (
        ("PORT", settings.service.port),
        ("FLOWER_PORT", settings.service.flower_port),
        ("BRANCHLINE_GRADIO_PORT", settings.gradio.port),
    ):
        if not 0 < port < 65536:
            errors.append(f"{name}={port} is not a port number (1 to 65535)")
    if settings.service.log_format not in ("text", "json"):
        errors.append(f"LOG_FORMAT={settings.service.log_format!r} is neither text nor json")
    if settings.pool.renew * 2 > settings.pool.lease:
        errors.append(
            "BRANCHLINE_POOL_RENEW must be at most half of BRANCHLINE_POOL_LEASE, "
            "or one late renewal loses every run"
        )
    if settings.pool.slots < 1:
        errors.append("BRANCHLINE_POOL_SLOTS must be at least 1")
    if settings.pool.isolated_processes < 1:
        errors.append("BRANCHLINE_POOL_ISOLATED_PROCESSES must be at least 1")
    if settings.limits.logins_per_minute < 1:
        errors.append("BRANCHLINE_LIMITS_LOGINS_PER_MINUTE must be at least 1")
    if wrong := [name for name in settings.web_hosts if not _HOST.fullmatch(name)]:
        errors.append(
            f"BRANCHLINE_WEB_HOSTS has {wrong[0]!r}, which is not a host name; separate names by commas, "
            "and write them without scheme, port and path, and in ASCII (xn--...)"
        )
    if not _INSTALLATION.fullmatch(settings.service.branchline_installation):
        errors.append(
            f"BRANCHLINE_INSTALLATION={settings.service.branchline_installation!r} is not a name of at most "
            "40 letters in lower case, digits, - and _"
        )
    if problem := checks.agents(settings.panel.panel_agents):
        errors.append(problem)
    if problem := checks.origins(settings.panel.panel_origins):
        errors.append(problem)
    errors += checks.embeddings(asdict(settings.embeddings))
    if problem := checks.host(settings.host):
        errors.append(problem)
    if problem := checks.base_path(settings.service.base_path):
        errors.append(problem)
    urls = {
        "AGENT_SERVICE_URL": settings.panel.agent_service_url,
        "BRANCHLINE_EMBEDDINGS_URL": settings.embeddings.url,
    }
    for name in checks.SCHEMES:
        given = urls[name] if name in urls else getattr(settings.service, name.lower())
        if given and (problem := checks.url(name, given)):
            errors.append(problem)
    if not errors and not urlsplit(settings.api_url).path.endswith(settings.base_path):
        errors.append(f"API_URL does not end with BASE_PATH ({settings.base_path}), below which the API is")
    if errors:
        raise ConfigurationError("; ".join(errors))
    if settings.deployed and not settings.security.insecure:
        _check_deployment(settings)


def _is_random(key: str) -> bool:
    """Whether a key looks as if nobody could guess it."""
    return len(key) >= _SHORTEST_KEY and len(set(key)) >= _SHORTEST_KEY // 3


def _check_deployment(settings: Settings) -> None:
    security, errors = settings.security, []
    if security.secret_key_previous and not _is_random(security.secret_key_previous):
        errors.append(
            "set BRANCHLINE_SECURITY_SECRET_KEY_PREVIOUS to the key that was in use, or to nothing; "
            "whoever guesses it can sign in as anybody"
        )
    if not _is_random(security.secret_key):
        errors.append(
            "set BRANCHLINE_SECURITY_SECRET_KEY to at least 32 random characters, the same on every machine "
            "(openssl rand -base64 36 prints some)"
        )
    if not security.cookie_secure:
        errors.append("serve it over TLS and set BRANCHLINE_SECURITY_COOKIE_SECURE=true")
    if not settings.web_hosts:
        errors.append(
            "set BRANCHLINE_WEB_HOSTS to the host name in the site's address "
            "(several are separated by commas)"
        )
    if errors:
        why = (
            f"HOST={settings.service.host}"
            if settings.host not in _LOOPBACK
            else f"BRANCHLINE_WEB_TRUSTED_PROXIES={settings.web.trusted_proxies}"
        )
        raise ConfigurationError(
            f"{why} lets others reach Branchline, so {' and '.join(errors)}. "
            "In a network that you trust, set BRANCHLINE_SECURITY_INSECURE=true to skip this check."
        )
