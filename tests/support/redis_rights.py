"""The rights that the page on deployment gives to a user of Redis."""

from __future__ import annotations

import re
from pathlib import Path

import redis

from runtime.settings import CHECKOUT

_PAGE = Path(CHECKOUT, "docs/how-to/deploy.md").read_text()
_USER = re.search(r"^ACL SETUSER (\S+) (.*)$", _PAGE, re.M)
_OF_NORTH = re.search(r"The rule for a user of Redis then has `([^`]+)` in place of", _PAGE)


def set_documented_rights(administrator: redis.Redis, *more: str, installation: str = "") -> str:
    """Give them, and ``more``, to the user of an installation: the one without a name, or "north".

    Returns the user and the password as an address has them.
    """
    assert _USER is not None and _OF_NORTH is not None
    rules = _USER[2].replace("PASSWORD", "secret").split()
    if installation:
        rules = [*(rule for rule in rules if rule[0] not in "~&"), *_OF_NORTH[1].split()]
    name = installation or _USER[1]
    administrator.execute_command("ACL", "SETUSER", name, "reset", *rules, *more)
    return f"{name}:secret"
