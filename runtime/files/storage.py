"""Contents in a store that fsspec reaches: what is done in a process of its own.

fsspec's stores have an event loop in a thread, which gevent's patched threads and sockets would
stop. So nothing here is imported by a web process; :mod:`runtime.files.remote` has it called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

_PIECE = 8 << 20


def access(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Do one thing, as ``{"do": "put", "url": …, …}``; an ``error`` is a sentence."""
    try:
        _WAYS[asked["do"]](asked)
    except FileNotFoundError:
        return {"error": "the content is not there", "missing": True}
    except Exception as error:  # whatever a store raises: none of it is known beforehand
        return {"error": f"{type(error).__name__}: {error}"[:500]}
    return {}


@cache
def _store(root: str) -> Any:
    """The filesystem of a URL."""
    import fsspec

    return fsspec.core.url_to_fs(root, skip_instance_cache=True, use_listings_cache=False)[0]


def _put(asked: Mapping[str, Any]) -> None:
    """Copy the file ``path`` of this machine to ``url``."""
    _store(asked["root"]).put_file(asked["path"], _inside(asked))


def _get(asked: Mapping[str, Any]) -> None:
    """Copy the bytes from ``start`` to before ``end`` to the file ``path`` of this machine."""
    store, place = _store(asked["root"]), _inside(asked)
    with open(asked["path"], "wb") as target:
        for start in range(asked["start"], asked["end"], _PIECE):
            target.write(store.cat_file(place, start=start, end=min(start + _PIECE, asked["end"])))


def _delete(asked: Mapping[str, Any]) -> None:
    store, place = _store(asked["root"]), _inside(asked)
    if store.exists(place):
        store.rm_file(place)


def _inside(asked: Mapping[str, Any]) -> str:
    import fsspec

    return str(fsspec.core.strip_protocol(asked["url"]))


_WAYS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {"put": _put, "get": _get, "delete": _delete}
