"""Routes: what a request to the gateway asks for, and whether the worker may have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from runtime.registry import Worker
from runtime.sandbox.destinations import Destinations, normal
from runtime.sandbox.namespaces import PORT
from runtime.sandbox.rules import Credential

_HERE = f"http://127.0.0.1:{PORT}"
_API = "/branchline"
_HOSTS = "/hosts/"
_PLACEHOLDER = "added-by-the-gateway"
_MAX_TARGET = 300
"""Characters of a target that are shown where it is refused."""


class Refused(Exception):
    """The worker may not have what it asked for. The text says what would allow it."""

    def __init__(self, message: str, host: str = "", port: int = 0) -> None:
        super().__init__(message)
        self.host = host
        self.port = port


class Malformed(Exception):
    """It asked in a way that no proxy understands."""


@dataclass(frozen=True, slots=True)
class Access:
    """That a worker connected to a host, or was refused."""

    host: str
    port: int
    refused: str | None = None
    """Why; None: it was not."""

    def __str__(self) -> str:
        """As a step of the run."""
        at = f"{self.host}:{self.port}" if self.port else self.host
        if self.refused is None:
            return f"Connected to {at}"
        return (
            f"Refused a connection to {at}: {self.refused}" if at else f"Refused a connection: {self.refused}"
        )


@dataclass(frozen=True, slots=True)
class Injection:
    """A header with a secret that is sent to one host, and that the worker never has."""

    host: str
    port: int
    header: str
    value: str = field(repr=False)
    """The header's whole value."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes, and how."""

    host: str
    port: int
    tls: bool = False
    """Whether the gateway encrypts: the worker could not, for a credential is added."""
    target: str = ""
    """What is asked of the host; empty for a tunnel."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that replace the worker's."""
    trusted: bool = False
    """Whether it may be in a private network, because the installation names it and no worker does."""

    @property
    def netloc(self) -> str:
        """Host and port as the header Host has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Routes:
    """What one worker may reach."""

    def __init__(self, destinations: Destinations, injections: Mapping[str, Injection], api_url: str) -> None:
        """``injections`` by the name that base URLs have for their host.

        ``api_url``: where the API is reached from the pool's machine.
        """
        self.destinations = destinations
        self._injections = injections
        self._api = urlsplit(api_url)

    @classmethod
    def of(cls, worker: Worker, environ: Mapping[str, str], api_url: str) -> Routes:
        """Those of a worker; ``environ`` are the pool's variables."""
        return cls(
            Destinations(worker.sandbox.connect),
            {credential.host: _injection(credential, environ) for credential in worker.sandbox.credentials},
            api_url,
        )

    def tunnel(self, target: str) -> Route:
        """The route of ``CONNECT``. Raises Refused and Malformed."""
        host, port = _authority(target)
        if port is None:
            raise Malformed("CONNECT needs a host and a port.")
        return self._checked(Route(host, port))

    def request(self, target: str) -> Route:
        """The route of any other request. Raises Refused and Malformed."""
        if target.startswith(_API + "/"):
            return self._to_api(target.removeprefix(_API))
        if target.startswith(_HOSTS):
            return self._with_credential(target.removeprefix(_HOSTS))
        scheme, separator, rest = target.partition("://")
        if not separator or scheme.lower() != "http":
            raise Malformed(f"The gateway has nothing at {target[:_MAX_TARGET]!r}; it is a proxy.")
        end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
        host, port = _authority(rest[:end])
        path = rest[end:]
        return self._checked(Route(host, port or 80, target=path if path.startswith("/") else f"/{path}"))

    def _to_api(self, path: str) -> Route:
        if any(unquote(part) in (".", "..") for part in path.partition("?")[0].split("/")):
            raise Malformed("The path leads out of the API.")  # beside it may be what is not Branchline's
        tls = self._api.scheme == "https"
        port = self._api.port or (443 if tls else 80)
        target = self._api.path.rstrip("/") + path
        return Route(self._api.hostname or "", port, tls, target, trusted=True)

    def _with_credential(self, rest: str) -> Route:
        host, slash, path = rest.partition("/")
        injection = self._injections.get(host.lower())
        if injection is None:
            raise Refused("name it in [sandbox.credentials] of worker.toml", host[:_MAX_TARGET])
        # What the worker sends by that name is a placeholder.
        secret = {injection.header: injection.value}
        return Route(injection.host, injection.port, tls=True, target=slash + path or "/", headers=secret)

    def _checked(self, route: Route) -> Route:
        if not self.destinations.allow(route.host, route.port):
            entry = route.host if route.port in (80, 443) else f"{route.host}:{route.port}"
            raise Refused(line_to_allow(entry), route.host, route.port)
        return route


def _injection(credential: Credential, environ: Mapping[str, str]) -> Injection:
    host, port = _authority(credential.host)
    value = credential.format.replace("{}", environ.get(credential.variable, "").strip())
    return Injection(host, port or 443, credential.header, value)


def line_to_allow(entry: str) -> str:
    """What the author can write to allow ``entry``."""
    return f'add "{entry}" to connect in [sandbox] of worker.toml to allow it'


def base_url(host: str, path: str) -> str:
    """Where a worker asks a host with a credential."""
    return f"{_HERE}{_HOSTS}{host}{path}"


def variables(credentials: Iterable[Credential] = ()) -> dict[str, str]:
    """The variables of a strict worker.

    By them programs find the proxy, and do not use it for the base URLs; libraries find a
    base URL, and in place of a key something to send there, without which they do not start.
    """
    return {
        **_proxy_variables(),
        **{credential.variable: _PLACEHOLDER for credential in credentials},
        **{c.base_url_variable: base_url(c.host, c.path) for c in credentials},
    }


def _proxy_variables() -> dict[str, str]:
    proxy = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), _HERE)
    found = {**proxy, "NO_PROXY": "127.0.0.1"}
    lower = {name.lower(): value for name, value in found.items()}
    return {**found, **lower, "NODE_USE_ENV_PROXY": "1"}


API_URL = f"{_HERE}{_API}"
"""Where a strict worker finds the API."""


def _authority(text: str) -> tuple[str, int | None]:
    """Host and port of ``host:port`` or ``host``. Raises Malformed."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or "@" in text or parts.path or parts.query or parts.fragment:
        raise Malformed(f"{text[:_MAX_TARGET]!r} is no host.")
    if port == 0:
        raise Malformed("There is no port 0.")
    return normal(host), port
