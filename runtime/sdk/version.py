"""Which pools a worker goes with."""

from __future__ import annotations

from typing import Final

PROTOCOL: Final = 1
"""The version of the protocol, which is in the first line of each run.

It grows where something that workers or pools said before means something else, so that both must
have the same. What is only added, a line or a field, leaves it as it is.
"""
