"""What the sandbox has refused a run, told to its worker's author.

The kernel tells nobody but its audit log what it refused. A program that fails for it usually
names the file, each language in its own way; where none is named, the author is told what
was allowed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from runtime.sandbox.policy import FILES, NETWORK, Policy

_PATHS = (
    # Python: [Errno 13] Permission denied: '/srv/data'
    re.compile(r"(?:Permission denied|Operation not permitted): ['\"](?P<path>/[^'\"\n]+)['\"]"),
    # Node.js: EACCES: permission denied, open '/srv/data'
    re.compile(r"(?:EACCES|EPERM): [a-z ]+, \w+ ['\"](?P<path>/[^'\"\n]+)['\"]"),
    # cat: /srv/data: Permission denied; sh: 1: cannot create /srv/data: Permission denied
    re.compile(
        r"(?:^|[\s'\"‘])(?P<path>/[^\s:'\"’]+)['\"’]?: (?:Permission denied|Operation not permitted)",
        re.IGNORECASE | re.MULTILINE,
    ),
)
_REFUSED = re.compile(r"permission denied|operation not permitted|EACCES|EPERM", re.IGNORECASE)
_NO_NETWORK = re.compile(
    r"network is unreachable|name resolution|name or service not known|could not resolve|getaddrinfo"
    r"|ENETUNREACH|EAI_AGAIN|ENOTFOUND",
    re.IGNORECASE,
)
"""What a program says that does not use the proxy of a strict worker."""
_MOST = 3
"""How many refused paths are named."""


def explain(text: str, policy: Policy) -> str | None:
    """What to tell the author of a worker that failed with ``text``, its error and the end of its log.

    None where nothing looks as if the sandbox had refused it.
    """
    if NETWORK in policy.in_force.measures and _NO_NETWORK.search(text):
        return _explain_network(policy)
    if FILES not in policy.in_force.measures or not _REFUSED.search(text):
        return None
    paths = list(dict.fromkeys(_paths(text)))
    told = [said for path in paths if (said := _explain_path(path, policy)) is not None]
    if told:
        return "".join(told[:_MOST])
    if paths:
        return None  # what the sandbox allows is refused by its owner
    return (
        "[branchline] If it was the sandbox that refused something: the worker may read "
        f"{', '.join(policy.own_read) or 'nothing'} beside what every program needs, and write "
        f"{', '.join(('the folder of its run', *policy.write))}. [sandbox] in its worker.toml allows more.\n"
    )


def _explain_network(policy: Policy) -> str:
    return (
        "[branchline] The worker has no network but the proxy that HTTPS_PROXY names, which lets it reach "
        f"{', '.join(policy.connect) or 'no host'}; connect in [sandbox] of its worker.toml allows more.\n"
    )


def _paths(text: str) -> Iterator[str]:
    for pattern in _PATHS:
        for match in pattern.finditer(text):
            yield match["path"]


def _explain_path(path: str, policy: Policy) -> str | None:
    real = Path(os.path.realpath(path))
    if any(real.is_relative_to(secret) for secret in policy.private):
        return f"[branchline] The sandbox refused {path}: it is Branchline's own, and nothing allows it.\n"
    if _is_below(real, policy.write):
        return None
    key = "write" if _is_below(real, policy.read) else "read"
    line = f"{key} = [{json.dumps(path)}]"
    more = "" if key == "write" else ", or write = … if it is to change it"
    return f"[branchline] The sandbox refused {path}. In worker.toml, [sandbox] allows it with {line}{more}\n"


def _is_below(path: Path, allowed: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(folder) for folder in allowed)
