"""The content of a document while it is received."""

from __future__ import annotations

from runtime.errors import FileTooLarge
from runtime.knowledge.reading import LARGEST


class Content(bytearray):
    """As many bytes as a document may have."""

    def write(self, data: bytes | bytearray) -> None:
        """Append. Raises FileTooLarge."""
        if len(self) + len(data) > LARGEST:
            raise FileTooLarge(LARGEST)
        self.extend(data)
