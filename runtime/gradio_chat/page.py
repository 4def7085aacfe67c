"""The page: what is on it, and what its buttons do.

Each tab has one long answer of Gradio's (``_follow``), which sends what has changed whenever an
event says so. Everything else only asks the web process for something, and what becomes of that
comes by events.
"""

from __future__ import annotations

import asyncio
import html
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gradio as gr
import httpx

from runtime.errors import BranchlineError, NotFound
from runtime.gradio_chat import actions, forms
from runtime.gradio_chat.api import Api
from runtime.gradio_chat.tabs import Tab, Tabs
from runtime.model import Json

CSS = """
.speaker { opacity: .7; font-size: .85em }
#status { min-height: 1.6em }
#chat button[aria-label="Clear"], #chat button[title="Clear"] { display: none }
"""
_MOST_TABS = 2000
"""Pages that are followed at once, and what else is asked meanwhile."""
_UPLOADS = (600, 3600)
"""Seconds: how often it is looked for uploads that were not sent, and after how long they are deleted."""
_REST = 0.05
"""Seconds between two updates of a page; what comes meanwhile goes together."""
_SIGN_OF_LIFE = 5.0
"""Seconds after which an update without news shows whether the browser is still there."""
_EVENT: Mapping[str, Any] = MappingProxyType(
    {"api_visibility": "private", "concurrency_limit": None, "show_progress": "hidden"}
)
"""Of every event: no part of an API of Gradio's, and as many at once as there are."""
_LATEX = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "\\[", "right": "\\]", "display": True},
    {"left": "\\(", "right": "\\)", "display": False},
]
_AUTO: Mapping[str, Any] = MappingProxyType(
    {
        "required": ["enabled"],
        "properties": {
            "enabled": {"type": "boolean", "title": "Go on by itself", "default": True},
            "prompt": {"type": "string", "title": "Prompt", "description": "Empty: the installation's."},
            "max_turns": {"type": "integer", "title": "Most turns"},
            "max_seconds": {"type": "number", "title": "Most seconds"},
            "max_tokens": {"type": "integer", "title": "Most tokens"},
            "max_cost": {"type": "number", "title": "Highest cost"},
        },
    }
)
"""The form of auto-continue; limits that are left empty stay as they are."""
_NEW = ""
"""The choice of a new conversation."""


class Page:
    """Makes the page, and keeps its tabs."""

    def __init__(self, http: httpx.AsyncClient, token_of: Callable[[gr.Request], str]) -> None:
        """``token_of``: by which login a request is."""
        self._http = http
        self._token_of = token_of
        self._tabs = Tabs()

    def blocks(self) -> gr.Blocks:
        """The page as Gradio has it."""
        with gr.Blocks(
            title="Branchline", analytics_enabled=False, fill_height=True, delete_cache=_UPLOADS
        ) as blocks:
            with gr.Row():
                thread = gr.Dropdown([("New conversation", _NEW)], value=_NEW, label="Conversation", scale=3)
                worker = gr.Dropdown([], label="Worker", scale=2)
                gr.Button("Sign out", link="logout", link_target="_self", scale=0, min_width=130, size="sm")
            form, question = gr.State({"worker": None}), gr.State(None)
            chat = gr.Chatbot(
                show_label=False, scale=1, height="55vh", buttons=["copy"], allow_tags=False,
                latex_delimiters=_LATEX, feedback_options=None, elem_id="chat",
            )  # fmt: skip
            with gr.Row():
                status = gr.Markdown(elem_id="status")
                stop = gr.Button("Stop", variant="stop", visible=False, scale=0, min_width=100, size="sm")
            session = gr.Markdown(elem_id="session")
            self._ask_for_answers(question)
            self._ask_for_messages(form, worker)

            views = {"chat": chat, "status": status, "question": question, "stop": stop, "thread": thread}
            views["session"] = session
            opened = blocks.load(self._open, None, [worker, form], **_EVENT)
            opened.then(self._following(views), None, list(views.values()), **_EVENT)
            blocks.unload(self._close)
            thread.input(self._choose_thread, [thread], [worker, form], **_EVENT)
            worker.input(self._choose_worker, [worker, form], [form], **_EVENT)
            stop.click(self._stop, None, None, **_EVENT)
        blocks.max_threads = _MOST_TABS
        blocks.queue(default_concurrency_limit=None)
        blocks.has_launched = True  # else Gradio takes any file that an event names for an upload
        return blocks

    def _ask_for_messages(self, form: gr.State, worker: gr.Dropdown) -> None:
        """Where messages are written, and the worker's config, with which they are sent."""

        @gr.render(inputs=[form], concurrency_limit=None, show_progress="hidden")
        def render(chosen: dict[str, Any]) -> None:
            if chosen["worker"] is None:
                return
            box = gr.MultimodalTextbox(
                placeholder="Message",
                show_label=False,
                file_count="multiple",
                elem_id="message",
                interactive=True,
                key="message",
            )
            asked = forms.fields(chosen["schema"], chosen["config"])
            with gr.Accordion("Settings of the worker", open=False):
                entered = _components(asked)
                if not asked:
                    gr.Markdown("This worker has no settings.")

            async def send(written: dict[str, Any], now: str | None, request: gr.Request, *given: Any) -> Any:
                if now != chosen["worker"]:
                    gr.Warning("Another worker has just been chosen. Send it once its settings are there.")
                    return gr.skip()
                return await self._send(
                    written, chosen["worker"], lambda: forms.values(asked, given), request
                )

            box.submit(send, [box, worker, *entered], [box], **_EVENT)
            self._ask_to_go_on(chosen["worker"], asked, entered)

    def _ask_to_go_on(self, worker_id: str, asked: Sequence[forms.Field], entered: Sequence[Any]) -> None:
        """Whether the worker goes on by itself, and when it stops."""
        fields = forms.fields(_AUTO)
        with gr.Accordion("Auto-continue", open=False):
            auto = _components(fields)
            apply = gr.Button("Apply", variant="primary", size="sm")
            with gr.Row():
                for how in ("pause", "resume", "step", "close"):
                    gr.Button(f"{how.capitalize()} session", size="sm", min_width=80).click(
                        self._moving(how), None, None, **_EVENT
                    )

        async def go_on(request: gr.Request, *given: Any) -> None:
            async def post(tab: Tab) -> None:
                found = forms.values(fields, given[: len(fields)])
                chosen: dict[str, Json] = {
                    name: found.pop(name) for name in ("enabled", "prompt") if name in found
                }
                config = forms.values(asked, given[len(fields) :])
                await actions.go_on(tab, worker_id, config, chosen, found)

            await self._act(request, post)

        apply.click(go_on, [*auto, *entered], None, **_EVENT)

    def _moving(self, how: str) -> Callable[[gr.Request], Awaitable[None]]:
        async def move(request: gr.Request) -> None:
            await self._act(request, lambda tab: actions.move(tab, how))

        return move

    def _ask_for_answers(self, question: gr.State) -> None:
        """What the worker asks: a button for each option, or a form."""

        @gr.render(inputs=[question], concurrency_limit=None, show_progress="hidden")
        def render(asked: dict[str, Any] | None) -> None:
            if asked is None:
                return
            with gr.Column(elem_id="question", variant="panel"):
                gr.Markdown(asked.get("prompt") or "The worker asks:")
                if options := asked.get("options"):
                    with gr.Row():
                        for option in options:
                            gr.Button(forms.title(option)).click(
                                self._answering(asked, option), None, None, **_EVENT
                            )
                else:
                    self._answer_form(asked)

    def _answer_form(self, asked: dict[str, Any]) -> None:
        schema = asked.get("schema") or {"type": "string", "title": "Your answer"}
        whole = schema.get("type") == "object" and bool(schema.get("properties"))
        fields = forms.fields(schema if whole else {"properties": {"answer": schema}, "required": ["answer"]})
        entered = _components(fields)

        async def answer(request: gr.Request, *given: Any) -> None:
            async def post(tab: Tab) -> None:
                found = forms.values(fields, given)
                await actions.answer(tab, asked, found if whole else found.get("answer", ""))

            await self._act(request, post)

        gr.Button("Answer", variant="primary").click(answer, entered, None, **_EVENT)

    def _answering(self, asked: dict[str, Any], option: Json) -> Callable[[gr.Request], Awaitable[None]]:
        async def answer(request: gr.Request) -> None:
            await self._act(request, lambda tab: actions.answer(tab, asked, option))

        return answer

    async def _open(self, request: gr.Request) -> Any:
        """A page was loaded: make its tab, with the conversation that its address names."""
        token = self._token_of(request)
        tab = await self._tabs.open(str(request.session_hash), token, Api(self._http, token))

        async def show(tab: Tab) -> None:
            await tab.list_workers()
            await tab.list_threads()
            await tab.show(request.query_params.get("thread"))

        await self._act(request, show)
        return _worker_of(tab)

    def _following(self, views: dict[str, Any]) -> Callable[[gr.Request], AsyncIterator[dict[Any, Any]]]:
        async def follow(request: gr.Request) -> AsyncIterator[dict[Any, Any]]:
            with suppress(NotFound):
                tab = self._tab(request)
                sent: dict[str, Any] = {}
                async for _ in tab.changes(_SIGN_OF_LIFE):
                    shown = _shown(tab)
                    new = {
                        view: _updates(name, shown[name])
                        for name, view in views.items()
                        if name not in sent or sent[name] != shown[name]
                    }
                    sent = shown
                    yield new or {views["status"]: gr.skip()}
                    await asyncio.sleep(_REST)

        return follow

    async def _close(self, request: gr.Request) -> None:
        await self._tabs.close(str(request.session_hash))

    async def _choose_thread(self, thread_id: str, request: gr.Request) -> Any:
        is_other = False

        async def show(tab: Tab) -> None:
            nonlocal is_other
            here = tab.conversation.thread["id"] if tab.conversation is not None else _NEW
            is_other = thread_id != here  # a list that is left without a choice says so, too
            if is_other:
                await tab.show(thread_id or None)

        done = await self._act(request, show)
        return _worker_of(self._tab(request)) if done and is_other else gr.skip()

    async def _choose_worker(self, worker_id: str, form: dict[str, Any], request: gr.Request) -> Any:
        return gr.skip() if worker_id == form["worker"] else _form(self._tab(request), worker_id, {})

    async def _send(
        self,
        written: dict[str, Any],
        worker_id: str,
        config: Callable[[], dict[str, Json]],
        request: gr.Request,
    ) -> Any:
        text, files = written.get("text") or "", [Path(path) for path in written.get("files") or ()]
        if not text.strip() and not files:
            return gr.skip()

        async def send(tab: Tab) -> None:
            if await actions.send(tab, text, files, worker_id, config()):
                gr.Info("The worker is at work: your message waits for it to be read.")

        if not await self._act(request, send):
            return gr.skip()
        for path in files:
            path.unlink(missing_ok=True)
        return {"text": "", "files": []}

    async def _stop(self, request: gr.Request) -> None:
        await self._act(request, actions.stop)

    async def _act(self, request: gr.Request, action: Callable[[Tab], Awaitable[None]]) -> bool:
        """Do something for a tab. Returns whether it was done; why it was not is shown."""
        try:
            await action(self._tab(request))
        except BranchlineError as error:
            gr.Warning(html.escape(str(error)), title="")
            return False
        return True

    def _tab(self, request: gr.Request) -> Tab:
        return self._tabs.get(str(request.session_hash), self._token_of(request))


def _components(asked: Sequence[forms.Field]) -> list[Any]:
    """What each field is entered with."""
    return [_component(field) for field in asked]


def _component(field: forms.Field) -> Any:
    value = forms.entered(field)
    common: dict[str, Any] = {
        "label": field.title,
        "info": field.info or None,
        "value": value,
        "interactive": True,
    }
    match field.kind:
        case forms.Kind.CHECK:
            return gr.Checkbox(**common)
        case forms.Kind.CHOICE:
            return gr.Dropdown([(name, at) for at, (name, _) in enumerate(field.choices)], **common)
        case forms.Kind.FIXED:
            return gr.State(None)
        case forms.Kind.HIDDEN:
            return gr.Textbox(type="password", **common)
    return gr.Textbox(lines=1 if field.kind in (forms.Kind.TEXT, forms.Kind.NUMBER) else 3, **common)


def _shown(tab: Tab) -> dict[str, Any]:
    """What a tab shows, by the name of the view."""
    conversation = tab.conversation
    choices = [("New conversation", _NEW)]
    choices += [(thread["title"] or "Untitled", thread["id"]) for thread in tab.threads]
    if conversation is None:
        return {
            "chat": [], "status": html.escape(tab.trouble), "question": None, "stop": False, "session": "",
            "thread": (choices, _NEW),
        }  # fmt: skip
    here = conversation.thread["id"]
    if here not in (value for _, value in choices):
        choices.append((conversation.thread["title"] or "Untitled", here))
    return {
        "chat": conversation.entries,
        "status": html.escape(tab.trouble or conversation.status),
        "question": conversation.question,
        "session": html.escape(conversation.session_status),
        "stop": conversation.active_run is not None,
        "thread": (choices, here),
    }


def _updates(name: str, shown: Any) -> Any:
    """A view's new value as Gradio takes it."""
    match name:
        case "stop":
            return gr.update(visible=shown)
        case "thread":
            return gr.update(choices=shown[0], value=shown[1])
    return shown


def _worker_of(tab: Tab) -> list[Any]:
    """The choice of workers and the form of the one that answers here."""
    conversation = tab.conversation
    run = conversation.run if conversation is not None else None
    thread = conversation.thread if conversation is not None else {}
    chosen = run["worker_id"] if run else thread.get("worker_id")
    config = run["config"] if run else thread.get("config") or {}
    known = {worker["id"]: worker for worker in tab.workers}
    if chosen not in known:
        config = {}
        chosen = next((worker["id"] for worker in tab.workers if worker["available"]), None)
    names = [
        (worker["name"] + ("" if worker["available"] else " (not available)"), worker["id"])
        for worker in tab.workers
    ]
    return [gr.update(choices=names, value=chosen), _form(tab, chosen, config)]


def _form(tab: Tab, worker_id: str | None, config: dict[str, Json]) -> dict[str, Any]:
    """What the form of a worker's config is made of."""
    schema = next((worker["config_schema"] for worker in tab.workers if worker["id"] == worker_id), None)
    return {"worker": worker_id, "schema": schema or {}, "config": config}
