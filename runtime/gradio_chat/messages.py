"""Messages as Gradio's Chatbot shows them: Markdown, and what folds away."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from runtime.model import Json

Entry = dict[str, Any]
"""``role``, ``content`` and ``metadata`` of Gradio's Chatbot."""

_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp|avif);base64,[A-Za-z0-9+/=]+")
_SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
"""Types of files that are pictures; the web process serves them as such."""
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
"""What a program sends a terminal to colour or move, not to be read."""
_AUTHORS = {"auto": "Auto-continue"}


def entries(messages: Iterable[Mapping[str, Json]]) -> list[Entry]:
    """What is shown of messages, in their order."""
    return [entry for message in messages for entry in _entries(message)]


def _entries(message: Mapping[str, Json]) -> Iterator[Entry]:
    shown = _MADE.get(message["type"], _text)(message)
    folded = shown.pop("metadata", None)
    if message["channel"] == "reasoning":
        folded = {"title": "Reasoning"}
    if folded is not None and message["status"] == "partial":
        folded["status"] = "pending"
    content = shown["content"] + "".join(f"\n\n{_file(file)}" for file in message.get("files") or ())
    if not content.strip() and folded is None:
        return
    speaker = _speaker(message["author"])
    role = "user" if message["role"] == "user" else "assistant"
    yield {"role": role, "content": speaker + content} | ({"metadata": folded} if folded else {})


def _text(message: Mapping[str, Json]) -> Entry:
    return {"content": message["content"]}


def _code(message: Mapping[str, Json]) -> Entry:
    data = message["data"]
    return {"content": fenced(message["content"], data.get("language") or data.get("format") or "")}


def _console(message: Mapping[str, Json]) -> Entry:
    return {"content": fenced(plain(message["content"]), "")}


def _image(message: Mapping[str, Json]) -> Entry:
    url = message["data"].get("url")
    words = html.escape(message["content"], quote=True)
    if isinstance(url, str) and _PICTURE.fullmatch(url):
        return {"content": f'<img src="{url}" alt="{words}">'}
    return {"content": words if message.get("files") else f"{words} (a picture that cannot be shown here)"}


def _function(message: Mapping[str, Json]) -> Entry:
    data = message["data"]
    if "result" in data or message["role"] == "tool":
        return {
            "content": fenced(_json(data.get("result", message["content"]))),
            "metadata": {"title": "Result"},
        }
    given = _json(data["arguments"]) if "arguments" in data else message["content"]
    name = html.escape(str(data.get("name") or "function"))
    return {"content": fenced(given), "metadata": {"title": f"Calls {name}"}}


def _confirmation(message: Mapping[str, Json]) -> Entry:
    data = message["data"]
    text = message["content"] or str(data.get("prompt") or "")
    if data.get("withdrawn"):
        text += "\n\n(No answer is needed any more.)"
    elif "answer" in data:
        answer = data["answer"]
        text += "\n\n" + fenced(answer if isinstance(answer, str) else _json(answer), "")
    return {"content": text}


_MADE = {
    "code": _code,
    "console": _console,
    "image": _image,
    "function": _function,
    "confirmation": _confirmation,
}


def fenced(text: str, language: str = "json") -> str:
    """A block of code, whatever backticks the text has itself."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    ticks = "`" * (longest + 1)
    return f"{ticks}{re.sub(r'[^A-Za-z0-9+#._-]', '', str(language))}\n{text}\n{ticks}"


def plain(text: str) -> str:
    """What a terminal would show of a program's output: no colours, and lines that were written over."""
    return "\n".join(
        _written_over(line) for line in _SEQUENCE.sub("", text).replace("\r\n", "\n").split("\n")
    )


def _written_over(line: str) -> str:
    shown = ""
    for part in line.split("\r"):
        shown = part + shown[len(part) :]
    return shown


def _file(file: Mapping[str, Json]) -> str:
    """A file by an address of the page itself, which asks the web process for it."""
    name, path = html.escape(file["name"], quote=True), f"files/{file['id']}"
    if file["type"] in _SHOWN:
        return f'<img src="{path}" alt="{name}">'
    return f'<a href="{path}" target="_blank" rel="noopener">{name}</a>'


def _speaker(author: Json) -> str:
    if not author:
        return ""
    return f'<strong class="speaker">{html.escape(_AUTHORS.get(author, str(author)))}</strong>\n\n'


def _json(value: Json) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
