"""Files: what users add to conversations, and what runs make.

- ``service.py``: what web processes do with files; :class:`Files`
- ``staging.py``: where an upload is written while it comes
- ``kinds.py``: what a file is, by its content
- ``contents.py``: where contents are kept; ``folder.py`` on this machine, ``remote.py`` elsewhere
- ``cleanup.py``: what is not used goes

Which files there are is in the database, :mod:`runtime.store.files`.
"""

from __future__ import annotations

from runtime.files.service import Files as Files
