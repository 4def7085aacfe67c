"""Threads out of and into Branchline: the whole tree or one path, as JSON or as Markdown.

:mod:`format` is the JSON that is exported and imported, :mod:`markdown` what people
read; the SQL is in ``store.transfer``.
"""

from __future__ import annotations

from runtime.transfer.exporter import export_path, export_thread, export_tree, files_of
from runtime.transfer.format import load
from runtime.transfer.importer import import_thread, named_files

__all__ = ["export_path", "export_thread", "export_tree", "files_of", "import_thread", "load", "named_files"]
