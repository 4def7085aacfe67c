"""The page's process: signing in and out, files, and the page itself."""

from __future__ import annotations

import html
import os
import string
import tempfile
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from runtime.errors import BranchlineError, Unauthenticated
from runtime.gradio_chat.api import Api, connections, sign_in
from runtime.gradio_chat.guard import Guard
from runtime.gradio_chat.sign_ins import SignIns
from runtime.settings import Settings
from runtime.thread_api.client import Refused

_FORM = string.Template((Path(__file__).parent / "form.html").read_text())
_FIELDS = """
<label>Email <input name="email" type="email" autocomplete="username" required autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
"""
_LARGEST_FORM = 8192
_PASSED_ON = ("content-type", "content-length", "content-range", "content-disposition", "accept-ranges")
"""Headers of a file, as the web process sends it."""
_FONTS = ("system-ui", "sans-serif")
_MONOSPACED = ("ui-monospace", "monospace")
_STOP_WITHIN = 2
"""Seconds that requests have to end at a shutdown."""


def serve(settings: Settings) -> None:
    """Serve the page until SIGTERM, on the host and the port of the settings."""
    with tempfile.TemporaryDirectory(prefix="branchline-gradio-") as uploads:
        _set_up_gradio(Path(uploads))
        app = make_app(settings, Path(uploads))
        config = uvicorn.Config(
            app,
            host=settings.gradio.host.strip("[]"),
            port=settings.gradio.port,
            log_config=None,
            access_log=False,
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=_STOP_WITHIN,
        )
        uvicorn.Server(config).run()


def _set_up_gradio(uploads: Path) -> None:
    """Gradio has an environment of its own, which could open what is closed here; none of it counts."""
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ |= {
        "GRADIO_TEMP_DIR": str(uploads),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
    }


def make_app(settings: Settings, uploads: Path) -> Guard:
    """The whole as an ASGI app; ``uploads`` is a folder for what browsers upload."""
    import gradio as gr

    from runtime.gradio_chat.page import CSS, Page

    http = connections(settings.api_url)
    doors = _Doors(settings, http)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as ends:
            ends.push_async_callback(http.aclose)
            yield

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_api_route("/healthz", lambda: Response(status_code=204), include_in_schema=False)
    app.add_api_route("/login", doors.show, methods=["GET"])
    app.add_api_route("/login", doors.sign_in, methods=["POST"])
    app.add_api_route("/logout", doors.ask_to_sign_out, methods=["GET"])
    app.add_api_route("/logout", doors.sign_out, methods=["POST"])
    app.add_api_route("/files/{file_id}", doors.file, methods=["GET"])
    page = Page(http, lambda request: doors.token(request.cookies))
    theme = gr.themes.Default(font=_FONTS, font_mono=_MONOSPACED)
    gr.mount_gradio_app(
        app,
        page.blocks(),
        "/",
        auth_dependency=doors.user,
        allowed_paths=[],
        show_error=False,
        max_file_size=settings.files.max_size,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        theme=theme,
        css=CSS,
    )
    return Guard(app, uploads, doors.is_strange)


class _Doors:
    """Lets browsers in by their tokens, and out."""

    def __init__(self, settings: Settings, http: httpx.AsyncClient) -> None:
        self._http = http
        self._sign_ins = SignIns(http)
        self._secure = settings.security.cookie_secure
        # Browsers do not separate cookies by port.
        self._cookie = f"branchline_gradio_{settings.gradio.port}"
        self._days = settings.security.session_days

    def token(self, cookies: Mapping[str, str]) -> str:
        """The token of the browser's login; empty if it has none."""
        return dict(cookies).get(self._cookie, "")

    async def user(self, request: Request) -> str | None:
        """Who has sent the request; None if nobody has signed in."""
        try:
            return await self._sign_ins.user(self.token(request.cookies))
        except BranchlineError as error:
            raise HTTPException(503, str(error)) from error

    async def is_strange(self, scope: MutableMapping[str, Any]) -> bool:
        """Whether a request comes from a browser that has not signed in."""
        try:
            return await self._sign_ins.user(self.token(Request(scope).cookies)) is None
        except BranchlineError:
            return False  # the page itself says what is wrong

    async def show(self) -> Response:
        """The form."""
        return _sign_in_form()

    async def sign_in(self, request: Request) -> Response:
        """Sign in with what was entered in the form."""
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > _LARGEST_FORM:
                return _sign_in_form("This is too long.", 413)
        given = parse_qs(body.decode("utf-8", "replace"))
        email, password = (given.get(name, [""])[0] for name in ("email", "password"))
        try:
            token = await sign_in(self._http, email, password)
        except Unauthenticated as error:
            return _sign_in_form(str(error), 401)
        except Refused as error:
            return _sign_in_form(str(error), error.status)
        except BranchlineError as error:
            return _sign_in_form(str(error), 503)
        answer = RedirectResponse("./", 303)
        answer.set_cookie(
            self._cookie,
            token,
            max_age=self._days * 86400,
            httponly=True,
            samesite="lax",
            secure=self._secure,
        )
        return answer

    async def ask_to_sign_out(self) -> Response:
        """The button for it: a link alone signs nobody out."""
        return HTMLResponse(
            _FORM.substitute(action="logout", heading="Sign out of Branchline?", fields="", button="Sign out")
        )

    async def sign_out(self, request: Request) -> Response:
        """End the login of this browser."""
        token = self.token(request.cookies)
        self._sign_ins.forget(token)
        if token:
            try:
                await Api(self._http, token).post("/api/auth/logout", {})
            except Unauthenticated:
                pass  # it had ended
            except BranchlineError as error:
                raise HTTPException(503, str(error)) from error
        answer = RedirectResponse("login", 303)
        answer.delete_cookie(self._cookie, httponly=True, samesite="lax", secure=self._secure)
        return answer

    async def file(self, file_id: str, request: Request) -> Response:
        """A file of a conversation, as the web process gives it to this user."""
        ends = AsyncExitStack()
        try:
            found = await ends.enter_async_context(
                Api(self._http, self.token(request.cookies)).content(file_id, request.headers.get("range"))
            )
        except httpx.TransportError as error:
            raise HTTPException(503, "Branchline does not answer.") from error
        headers = {name: found.headers[name] for name in _PASSED_ON if name in found.headers}

        async def content() -> AsyncIterator[bytes]:
            async with ends:
                async for piece in found.aiter_raw():
                    yield piece

        return StreamingResponse(content(), found.status_code, headers)


def _sign_in_form(problem: str = "", status: int = 200) -> HTMLResponse:
    said = f"<p role=alert>{html.escape(problem)}</p>" if problem else ""
    page = _FORM.substitute(
        action="login", heading="Sign in to Branchline", fields=said + _FIELDS, button="Sign in"
    )
    return HTMLResponse(page, status)
