"""Addresses, URLs and names of settings that cannot be used, each told in a sentence without its value."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import SplitResult, urlsplit

_REDIS = ("redis", "rediss", "unix", "sentinel")
SCHEMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "DATABASE_URL": ("postgresql", "postgres", "postgresql+psycopg", "sqlite", "sqlite+pysqlite"),
        "REDIS_URL": _REDIS,
        "BROKER_URL": ("amqp", "amqps", "pyamqp", *_REDIS),
        "API_URL": ("http", "https"),
        "AGENT_SERVICE_URL": ("http", "https"),
        "BRANCHLINE_EMBEDDINGS_URL": ("http", "https"),
    }
)
"""How the URL of each setting may begin."""

AGENTS: Mapping[str, str] = {"rag": "rag_agent", "document": "document_agent", "task": "task_agent"}
"""The workers of the agent chat panel, by type, where PANEL_AGENTS names no others."""
SERVED: Mapping[str, str] = {agent_type: f"{agent_type}_service" for agent_type in AGENTS}
"""Those that ask the service at AGENT_SERVICE_URL."""
_PREFIX = "BRANCHLINE_"
_OF_CHILDREN = "BRANCHLINE_API_URL"
"""What a worker is given, and then a command that it calls."""
_ALIKE = 0.85
"""How much alike two names are of which one is a misspelling; 1 is the same."""
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
_ORIGIN = re.compile(r"https?://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_BASE_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+/?|")
"""Segments that are the same in every spelling of a URL; none leads upwards."""
_QUOTING = (
    "is there a character in its password that must be written as %XX, such as / (%2F), # (%23) or @ (%40)?"
)


def agents(text: str) -> str | None:
    """Why PANEL_AGENTS cannot be used."""
    for agent_type, worker_id in named_agents(text):
        if agent_type not in AGENTS or not worker_id:
            return (
                f"PANEL_AGENTS={text!r} is no list such as rag=openai_worker,task=planner_agent; "
                f"the types are {', '.join(AGENTS)}"
            )
    return None


def named_agents(text: str) -> Iterator[tuple[str, str]]:
    """Type and worker of each agent in PANEL_AGENTS."""
    for part in filter(None, (part.strip() for part in text.split(","))):
        agent_type, _, worker_id = part.partition("=")
        yield agent_type.strip(), worker_id.strip()


def origins(text: str) -> str | None:
    """Why PANEL_ORIGINS cannot be used."""
    for origin in named_origins(text):
        if not _ORIGIN.fullmatch(origin):
            return (
                f"PANEL_ORIGINS has {origin!r}, which is no origin such as https://app.example.com: scheme, "
                "host and, unless it is the usual one, port; separate several by commas"
            )
    return None


def named_origins(text: str) -> Iterator[str]:
    """Each origin in PANEL_ORIGINS, in lower case as browsers send it."""
    return (part.strip().lower().rstrip("/") for part in text.split(",") if part.strip())


def misspelt(environ: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    """A sentence for each variable that is nearly the name of a setting.

    Others that begin like settings may be a worker's own.
    """
    names = set(known)
    prefixed = {name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)}
    for name in sorted(set(environ) - names - {_OF_CHILDREN}):
        if name.startswith(_PREFIX):
            bare = name.removeprefix(_PREFIX)
            if bare in names:
                yield f"{name} is no setting; did you mean {bare}?"
            elif near := difflib.get_close_matches(bare, prefixed, 1, _ALIKE):
                yield f"{name} is no setting; did you mean {_PREFIX}{near[0]}?"


def embeddings(given: Mapping[str, Any]) -> Iterator[str]:
    """What of an embeddings endpoint, if there is one, cannot be used."""
    if not given["url"]:
        return
    if not given["model"]:
        yield "BRANCHLINE_EMBEDDINGS_URL needs BRANCHLINE_EMBEDDINGS_MODEL, the name of a model there"
    for name in ("batch", "timeout", "query_timeout"):
        if not given[name]:
            yield f"BRANCHLINE_EMBEDDINGS_{name.upper()} must be more than 0"
    if given["batch"] > 2048:
        yield "BRANCHLINE_EMBEDDINGS_BATCH must be at most 2048"
    if not given["similarity"] <= 1:
        yield "BRANCHLINE_EMBEDDINGS_SIMILARITY is a cosine, which is at most 1"


def host(name: str) -> str | None:
    """Why HOST cannot be listened on."""
    if ":" in name:
        try:
            ipaddress.IPv6Address(name)
        except ValueError:
            return "HOST is neither a name nor an address; it has no port (set PORT) and no scheme"
    elif not _HOST_NAME.fullmatch(name):
        return "HOST is neither a name nor an address of this machine"
    return None


def base_path(text: str) -> str | None:
    """Why BASE_PATH cannot be used."""
    if _BASE_PATH.fullmatch(text):
        return None
    return (
        f"BASE_PATH={text!r} is not a path such as /branchline: it begins with a slash, and its parts have "
        "letters, digits, -, _, . and ~ only (leave it empty to have everything at /)"
    )


def url(name: str, text: str) -> str | None:
    """Why the URL of a setting cannot be used. Of DATABASE_URL only the scheme is looked at here."""
    several = name == "BROKER_URL" or text.startswith("sentinel:")  # of brokers kombu accepts several
    if text.startswith("sentinel:") and not re.search(r"[?&]master_name=[^&]", text):
        return f"{name} names no primary that the sentinels watch; add ?master_name=… to it"
    if problem := _tls(name, text):
        return problem
    for one in text.split(";") if several else [text]:
        if problem := _scheme(name, one) or (None if name == "DATABASE_URL" else _rest(name, one)):
            return problem
    return None


def _tls(name: str, text: str) -> str | None:
    """A problem with what a Redis is asked for over TLS; redis-py and kombu know that by ``ssl_…``."""
    scheme = text.partition("://")[0]
    given = dict(re.findall(r"(?:^|[?&])(ssl(?:_\w+)?)=([^&;]*)", text.partition("?")[2]))
    wanted = given.pop("ssl", None)
    if scheme not in _REDIS:
        return None
    if wanted is not None and (scheme, wanted) not in {("sentinel", "true"), ("sentinel", "false")}:
        return f"{name} may have ssl=true or ssl=false if it names sentinels; write rediss:// for a server"
    if given and scheme != "rediss" and wanted != "true":
        how = "add ssl=true" if scheme == "sentinel" else "write rediss://"
        return f"{name} says how to verify a certificate, but asks for no TLS; {how}"
    return None


def _scheme(name: str, text: str) -> str | None:
    allowed = SCHEMES[name]
    scheme, found, _ = text.partition("://")
    if not found:
        return f"{name} is not a URL; write {allowed[0]}://…"
    if scheme not in allowed:
        near = difflib.get_close_matches(scheme, allowed, 1)
        wanted = f"did you mean {near[0]}://?" if near else f"write one of {', '.join(allowed)}"
        return f"{name} begins with a scheme that Branchline does not use; {wanted}"
    return None


def _rest(name: str, text: str) -> str | None:
    try:
        parts = urlsplit(text)
        _ = parts.port  # libraries raise errors that show the password where it cannot be read
    except ValueError:
        return f"{name} is not a URL; {_QUOTING}"
    if parts.scheme in ("http", "https") and not parts.hostname:
        return f"{name} names no host"
    if parts.scheme in ("redis", "rediss", "sentinel") and not _is_number_of_database(parts):
        return f"{name} ends in something else than the number of a database, such as /0; or {_QUOTING}"
    return None


def _is_number_of_database(parts: SplitResult) -> bool:
    number = parts.path.strip("/")
    return not number or (number.isascii() and number.isdecimal())
