"""Documents that are no texts are converted to HTML, each in a process of its own.

What such a document has in it is its author's choice: it may take for ever, or more memory than there
is. So that process has bounds, and it knows nothing of the run.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from runtime.sdk import Failure

LARGEST_HTML = 4 << 20
"""Bytes that the knowledge base takes."""
SECONDS = 60
"""Of the processor that a document may need."""
MEMORY = 1 << 30
"""Bytes that the process may have."""
_CLOCK = 5
"""It may take so many times its processor time by the clock, for other processes run too."""
_BEFORE_PDF = b"\xef\xbb\xbf\0 \t\r\n"
_TOO_LONG = f"could not be read within {SECONDS} s; split it, or make it simpler"
_PROGRAM = Path(__file__).with_name("convert.py")


@dataclass(frozen=True, slots=True)
class Content:
    """A document before it is converted."""

    data: bytes
    kind: str | None = None
    """What it is read as where it is a text, if more than its name says that."""
    validator: str | None = None
    """By which its server is asked whether it has changed."""


def form_of(content: bytes) -> str | None:
    """What a document has to be converted from: ``pdf`` or ``docx``; None: it is anything else."""
    if content[:1024].lstrip(_BEFORE_PDF).startswith(b"%PDF-"):
        return "pdf"
    return "docx" if content.startswith(b"PK") and is_word(io.BytesIO(content)) else None


def is_word(file: io.BytesIO | Path) -> bool:
    """Whether an archive is a document of Word."""
    try:
        with zipfile.ZipFile(file) as archive:
            return "word/document.xml" in archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return False


def convert(content: bytes, form: str) -> bytes:
    """A document as HTML. Raises Failure, which says why it cannot be read."""
    command = [sys.executable, str(_PROGRAM), form, str(SECONDS), str(MEMORY), str(LARGEST_HTML)]
    try:
        done = subprocess.run(
            command,
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries say there what they think of the file
            timeout=SECONDS * _CLOCK,
            env=_environ(),
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        answer = {"problem": _TOO_LONG}
    except ValueError:  # it was ended before it could say anything
        answer = {"problem": _TOO_LONG if done.returncode == -signal.SIGXCPU else "cannot be read"}
    if "problem" in answer:
        raise Failure(f"it {answer['problem']}")
    html: str = answer["html"]
    return html.encode()


def _environ() -> dict[str, str]:
    """That of this process, without what a run can do: its token."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("BRANCHLINE_")}
    return {**mine, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
