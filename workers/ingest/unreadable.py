"""What is wrong with a document that cannot be read."""

from __future__ import annotations


class Unreadable(Exception):
    """The document cannot be read. Its text goes on after "it", and is shown to the user."""
