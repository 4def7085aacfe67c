"""What goes in and out of the page's process: no file of the machine, nothing from other sites.

Gradio can do more than this page needs: fetch addresses, serve files, be called by other pages.
Only the paths that its page uses are answered, and the page is told to load nothing from elsewhere.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_API = "/gradio_api/"
_LARGEST_EVENT = 16 * 2**20
"""Bytes; a message has at most 8 MiB."""
_ANSWERED = re.compile(
    r"/|/(login|logout|config|theme\.css|favicon\.ico|manifest\.json|healthz)|/(static|assets|files)/.+|"
    r"/gradio_api/(app_id|info|login_check|cancel|reset|startup-events|upload|upload_progress|"
    r"queue/join|queue/data|heartbeat/[^/]+)/?"
)
"""The paths of the page. Of files only those that a browser has just uploaded, for their preview."""
_OUTSIDE = re.compile(
    rb"<link\b[^>]*\bhref=[\"']?https?:[^>]*>|<script\b[^>]*\bsrc=[\"']?https?:[^>]*>\s*</script>|"
    rb"<meta\b[^>]*\bcontent=[\"']https?:[^>]*>"
)
"""Elements of Gradio's own page that name other sites: fonts, scripts, pictures."""
_POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; object-src 'none'; frame-src 'none'; frame-ancestors 'none'; "
    "form-action 'self'; base-uri 'self'"
)


class Guard:
    """ASGI: passes on what the page needs, and refuses the rest."""

    def __init__(self, app: App, uploads: Path, strange: Callable[[Scope], Awaitable[bool]]) -> None:
        """``uploads``: where Gradio keeps what browsers have uploaded. ``strange``: whether who asks for
        the page has to sign in first."""
        self._app = app
        self._strange = strange
        self._uploads = uploads.resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif not self._is_answered(scope):
            await _refuse(send, 404, b"There is no such page.")
        elif scope["method"] not in ("GET", "HEAD") and not _is_own(scope):
            await _refuse(send, 403, b"This request comes from another site.")
        elif scope["path"] == "/" and await self._strange(scope):
            await _refuse(_Answer(send), 303, b"", location=b"login")
        elif scope["path"].startswith(f"{_API}queue/join"):
            await self._pass_on_event(scope, receive, send)
        else:
            await self._app(scope, receive, _Answer(send))

    async def _pass_on_event(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An event of the page. The files in it are those that were uploaded, not any that it names.

        Gradio would copy what an event names into the folder of uploads, which it serves: it checks that
        only in an app that it has started itself.
        """
        if await self._strange(scope):
            await _refuse(send, 401, b"Sign in first.")
            return
        body, more = bytearray(), True
        while more and len(body) <= _LARGEST_EVENT:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            allowed = not more and all(self._is_upload(path) for path in _paths(orjson.loads(body)))
        except (ValueError, OSError, RecursionError):
            allowed = False
        if not allowed:
            await _refuse(send, 403, b"This names a file that was not uploaded, or is too large.")
            return
        given: list[Message] = [{"type": "http.request", "body": bytes(body)}]

        async def replay() -> Message:
            return given.pop() if given else await receive()

        await self._app(scope, replay, _Answer(send))

    def _is_upload(self, path: str) -> bool:
        return Path(path).is_absolute() and Path(path).resolve().is_relative_to(self._uploads)

    def _is_answered(self, scope: Scope) -> bool:
        path = scope["path"]
        if path.startswith(f"{_API}file="):
            name = unquote(path.removeprefix(f"{_API}file="))
            return scope["method"] in ("GET", "HEAD") and "\0" not in name and self._is_upload(name)
        return _ANSWERED.fullmatch(path) is not None


class _Answer:
    """Adds to a response what browsers are to obey; of a page it also knows the scripts."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._nonce = secrets.token_urlsafe(16)
        self._start: Message | None = None
        self._page: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [(name, value) for name, value in message["headers"] if name.lower() != b"server"]
            headers += [
                (b"content-security-policy", _POLICY.format(nonce=self._nonce).encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"referrer-policy", b"same-origin"),
            ]
            message = {**message, "headers": headers}
            if (b"content-type", b"text/html; charset=utf-8") in message["headers"]:
                self._start = message
                return
        elif self._start is not None:
            self._page.append(message.get("body", b""))
            if not message.get("more_body"):
                await self._finish()
            return
        await self._send(message)

    async def _finish(self) -> None:
        assert self._start is not None
        page = _OUTSIDE.sub(b"", b"".join(self._page))
        page = re.sub(rb"<script\b", b'<script nonce="' + self._nonce.encode() + b'"', page)
        headers = [
            (name, value) for name, value in self._start["headers"] if name.lower() != b"content-length"
        ]
        headers += [(b"content-length", str(len(page)).encode()), (b"cache-control", b"no-store")]
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": page})


def _paths(value: Any) -> Iterator[str]:
    """The paths of all files in an event."""
    if isinstance(value, dict):
        if isinstance(value.get("path"), str):
            yield value["path"]
        for one in value.values():
            yield from _paths(one)
    elif isinstance(value, list):
        for one in value:
            yield from _paths(one)


def _is_own(scope: Scope) -> bool:
    """Whether a write comes from a page of this process, or from no page at all."""
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    origin = headers.get(b"origin")
    if origin is None:
        return headers.get(b"sec-fetch-site", "none") in ("same-origin", "none")
    return bool(urlsplit(origin).netloc == headers.get(b"host"))


async def _refuse(send: Send, status: int, text: bytes, **more: bytes) -> None:
    headers = [(name.encode(), value) for name, value in more.items()]
    headers += [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
