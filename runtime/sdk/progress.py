"""What a worker does, as its user sees it: one step after the other."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_outer: ContextVar[str | None] = ContextVar("branchline_progress", default=None)
"""The step in whose block we are."""


class Progress:
    """A step that was announced; as a block, until its end, where the step around it goes on."""

    def __init__(self, description: str, announce: Callable[[str], None]) -> None:
        """``announce`` begins a step."""
        self._description = description
        self._announce = announce
        self._token: Token[str | None] | None = None

    def __enter__(self) -> Self:
        self._token = _outer.set(self._description)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._token is not None
        _outer.reset(self._token)
        outer = _outer.get()
        if outer is not None and (error is None or isinstance(error, Exception)):
            self._announce(outer)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)
