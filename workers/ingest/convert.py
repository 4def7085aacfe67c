"""The program that converts one document: ``convert.py FORM SECONDS MEMORY LARGEST``.

It reads the document from standard input, and writes JSON: ``{"html": …}``, or ``{"problem": …}`` with
what its user is told. The kernel ends it after so many seconds of the processor; ``MEMORY`` and
``LARGEST``, of the HTML, are in bytes.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
from collections.abc import Iterable
from contextlib import suppress

from unreadable import Unreadable

FORMS = {"pdf": ("pdf_document", "pypdf"), "docx": ("word_document", "python-docx")}
"""The module that reads a form, and the library that it needs."""


def converted(form: str, content: bytes, largest: int) -> dict[str, str]:
    """The HTML, or the problem."""
    module, library = FORMS[form]
    try:
        return {"html": _joined(importlib.import_module(module).pieces(content), largest)}
    except ImportError:
        needs = (
            "which is not installed where the pool runs; install it there: pip install 'branchline[workers]'"
        )
        return {"problem": f"needs the library {library}, {needs}"}
    except Unreadable as problem:
        return {"problem": str(problem)}
    except MemoryError:
        return {"problem": "needs more memory to be read than it may have; split it"}
    except Exception as error:  # the many ways of being broken
        return {"problem": f"is broken: {str(error)[:200] or type(error).__name__}"}


def _joined(pieces: Iterable[str], largest: int) -> str:
    parts, size = ["<!doctype html>"], 0
    for piece in pieces:
        # Parts of characters, which PDF may have, cannot be encoded.
        clean = piece.encode(errors="replace").decode()
        size += len(clean.encode())
        if size > largest:
            raise Unreadable(f"has more than {largest >> 20} MiB of text; split it")
        parts.append(clean)
    return "".join(parts)


def _main(form: str, seconds: str, memory: str, largest: str) -> None:
    with suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
    answer = converted(form, sys.stdin.buffer.read(), int(largest))
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    _main(*sys.argv[1:])
