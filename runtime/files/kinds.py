"""What a file is, by its content: what its sender says of it is not believed.

The name decides only between kinds whose content looks alike: texts, and formats that are ZIP
archives or OLE files inside.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping

HEAD = 64 * 1024
"""Bytes from the beginning that are looked at."""
UNKNOWN = "application/octet-stream"
TEXT = "text/plain"

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"(\xb5/\xfd", "application/zstd"),
    (257, b"ustar", "application/x-tar"),
    (0, b"SQLite format 3\0", "application/vnd.sqlite3"),
    (0, b"\x7fELF", "application/x-elf"),
    (0, b"PAR1", "application/vnd.apache.parquet"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"{\\rtf", "application/rtf"),
)
_RIFF: Mapping[bytes, str] = {
    b"WEBP": "image/webp",
    b"WAVE": "audio/wav",
    b"AVI ": "video/x-msvideo",
}
_BRANDS: Mapping[bytes, str] = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
}
"""Of ISO media files; any other is a video."""
_OFFICE = "application/vnd.openxmlformats-officedocument."
_IN_ZIP: Mapping[str, tuple[bytes, str]] = {
    "docx": (b"[Content_Types].xml", f"{_OFFICE}wordprocessingml.document"),
    "xlsx": (b"[Content_Types].xml", f"{_OFFICE}spreadsheetml.sheet"),
    "pptx": (b"[Content_Types].xml", f"{_OFFICE}presentationml.presentation"),
    "odt": (b"mimetypeapplication/", "application/vnd.oasis.opendocument.text"),
    "ods": (b"mimetypeapplication/", "application/vnd.oasis.opendocument.spreadsheet"),
    "odp": (b"mimetypeapplication/", "application/vnd.oasis.opendocument.presentation"),
    "epub": (b"mimetypeapplication/epub+zip", "application/epub+zip"),
    "jar": (b"META-INF/", "application/java-archive"),
}
"""By the end of the name: what the archive must begin with."""
_TEXTS: Mapping[str, str] = {
    "md": "text/markdown",
    "markdown": "text/markdown",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "ndjson": "application/x-ndjson",
    "html": "text/html",
    "htm": "text/html",
    "xml": "application/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "toml": "application/toml",
    "css": "text/css",
    "js": "text/javascript",
    "mjs": "text/javascript",
    "ts": "text/x-typescript",
    "py": "text/x-python",
    "sh": "text/x-shellscript",
    "sql": "text/x-sql",
    "ics": "text/calendar",
    "tex": "text/x-tex",
}
_OF_TEXTS = frozenset({TEXT, *_TEXTS.values()})
_MARKUP = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(!doctype html|html|svg|!doctype svg)\b",
    re.I,
)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_BOMS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def look(head: bytes, name: str, hint: str | None = None) -> str:
    """The type of a file that begins with ``head``, as ``image/png``.

    ``hint``: what whoever made it says. It counts where a text may be one of several kinds of text.
    """
    end = name.rpartition(".")[2].lower()
    found = _by_magic(head, end)
    if found is not None:
        return found
    text = _as_text(head)
    if text is None:
        return UNKNOWN
    if markup := _MARKUP.match(text):
        return "image/svg+xml" if "svg" in markup[1].lower() else "text/html"
    return hint if hint in _OF_TEXTS else _TEXTS.get(end, TEXT)


def _by_magic(head: bytes, end: str) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[:4] == b"\x1aE\xdf\xa3":
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        marker, kind = _IN_ZIP.get(end, (b"", ""))
        return kind if kind and marker in head else "application/zip"
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset) and not (kind == "image/bmp" and _as_text(head) is not None):
            return kind
    return None


def _as_text(head: bytes) -> str | None:
    """The beginning of a text; None where it is none."""
    encoding = next((name for bom, name in _BOMS if head.startswith(bom)), "utf-8-sig")
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head, final=len(head) < HEAD)
    except UnicodeDecodeError:
        return None
    return None if _CONTROLS.search(text) else text
