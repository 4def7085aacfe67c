"""Servers of the Model Context Protocol, whose tools a worker calls.

They are connected in a task of their own: what ends the worker's block, an exception or a
question, does not pass through the library's task groups, which would wrap it. A worker that is
not async has them in the event loop of another thread.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Literal
from urllib.request import getproxies

try:
    import anyio
    import httpx2
    from anyio.from_thread import start_blocking_portal
    from mcp import Client, StdioServerParameters, stdio_client
    from mcp.client.streamable_http import streamable_http_client
except ImportError as error:
    raise ImportError(
        "the library mcp, version 2, is not installed where the pool runs; install it there: pip install mcp"
    ) from error

from ..addresses import public_address
from ..errors import Failure, Suspended
from ..messages import Json
from ..packed import UNPACKED, refuse_packed
from ..turns import function_name
from .mcp_questions import Asker, Questions
from .rules import plain

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Protocol

    from ..tools import ToolCall

    class Run(Asker, Protocol):
        """What shows the calls, and asks."""

        def tool(self, name: str, arguments: Json = ..., call_id: str | None = ...) -> ToolCall: ...
        def log(self, message: str, /, *, level: str = ..., **fields: Any) -> None: ...


_FIELDS = {"command": {"command", "args", "env", "cwd"}, "url": {"url", "headers"}}
"""What a server has that is started, and one that is connected to."""
_OPEN_WITHIN = 60.0
"""Seconds for all servers to start and to say which tools they have."""
_READ_WITHIN = 300.0
"""Seconds in which an HTTP server must say something."""
_CLOSE_WITHIN = 2.0
"""Seconds for all servers over HTTP to hear that their sessions have ended."""


class ToolFailed(Exception):
    """A tool has failed, or its server has refused the call."""


class Tool:
    """A tool of a server. To call it is to call this, with arguments by name."""

    def __init__(self, tools: Tools, name: str, told: Any, client: Any) -> None:
        """``told``: as its server describes it."""
        self.name = name
        """What it is called here: a name that every model accepts, and that no other tool has."""
        self.description: str = told.description or ""
        self.schema: dict[str, Json] = told.input_schema
        """Of the arguments, a JSON Schema."""
        self._tools = tools
        self._its_name: str = told.name
        self._client = client

    def __call__(self, /, **arguments: Json) -> Any:
        """What it returns: JSON, or text. ``await`` it in an async worker. Raises ToolFailed."""
        return self._tools._execute(self._tools._call, self, arguments, None)

    async def _request(self, arguments: Mapping[str, Json]) -> Any:
        return await self._client.call_tool(self._its_name, dict(arguments))


class Tools(Mapping[str, Tool]):
    """The tools of all servers, by name."""

    def __init__(self, run: Run, execute: Callable[..., Any] | None = None) -> None:
        """``execute``: what calls an async function in a worker that is not async."""
        self._run = run
        self._questions = Questions(run)
        self._execute = execute or (lambda function, *arguments: function(*arguments))
        self._tools: dict[str, Tool] = {}
        self._calls: set[asyncio.Task[Any]] = set()

    def call(self, name: str, arguments: Json = None, call_id: str | None = None) -> Any:
        """Call a tool as a model asks for it: the text that the model is given, also where it fails.

        ``arguments``: an object, or JSON as a model writes it. ``call_id``: the model's. ``await``
        it in an async worker.
        """
        return self._execute(self._text_for_model, name, arguments, call_id)

    def _outcome(self, name: str, arguments: Json, call_id: str | None) -> Any:
        """The same, with whether the call has failed."""
        return self._execute(self._call_for_model, name, arguments, call_id)

    def as_openai(self, api: Literal["chat", "responses"] = "chat") -> list[dict[str, Json]]:
        """The argument ``tools`` of OpenAI's library."""
        functions = [
            {"name": one.name, "description": one.description, "parameters": one.schema}
            for one in self.values()
        ]
        if api == "chat":
            return [{"type": "function", "function": function} for function in functions]
        return [{"type": "function", "strict": False, **function} for function in functions]

    def as_anthropic(self) -> list[dict[str, Json]]:
        """The argument ``tools`` of Anthropic's library."""
        return [
            {"name": one.name, "description": one.description, "input_schema": one.schema}
            for one in self.values()
        ]

    def __getitem__(self, name: str) -> Tool:
        return self._tools[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    async def _add(self, server: str, client: Any) -> None:
        """Have the tools of a server. One whose name is taken is called after its server, too."""
        cursor = None
        while True:
            page = await client.list_tools(cursor=cursor)
            for told in page.tools:
                name = function_name(told.name)
                if name in self._tools:
                    name = function_name(f"{server}_{told.name}")
                self._tools[name] = Tool(self, name, told, client)
            cursor = page.next_cursor
            if not cursor:
                return

    async def _call(self, tool: Tool, arguments: Mapping[str, Json], call_id: str | None) -> Json:
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)
        try:
            async with self._run.tool(tool.name, dict(arguments), call_id) as shown:
                answer = await self._questions.until_asked(tool._request(arguments))
                value = _value(answer)
                shown.result(value, is_error=answer.is_error)
                if answer.is_error:
                    raise ToolFailed(value if isinstance(value, str) else json.dumps(value))
                return value
        finally:
            self._calls.discard(task)

    async def _text_for_model(self, name: str, arguments: Json, call_id: str | None) -> str:
        return (await self._call_for_model(name, arguments, call_id))[0]

    async def _call_for_model(self, name: str, arguments: Json, call_id: str | None) -> tuple[str, bool]:
        """The text that the model is given, and whether the call has failed."""
        try:
            given = _object(arguments)
            if name not in self._tools:
                raise ToolFailed(f"There is no tool {name}.")
            value = await self._call(self._tools[name], given, call_id)
        except Exception as error:
            return f"Error: {error}", True
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), False

    async def _end_calls(self) -> None:
        """End those that nobody waits for any more."""
        calls = self._calls - {asyncio.current_task()}
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


class Servers:
    """The servers of a run, as a block: see :meth:`runtime.sdk.run.Run.mcp`."""

    def __init__(self, run: Run, servers: Mapping[str, Mapping[str, Json]], public: bool = False) -> None:
        """``public``: connect to public addresses only.

        Raises ValueError where one of them is not described as it must be.
        """
        for name, server in servers.items():
            _check(name, server)
        self._run = run
        self._servers = servers
        self._public = public
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._portal: AbstractContextManager[Any] | None = None
        self._execute: Callable[..., Any] | None = None

    async def __aenter__(self) -> Tools:
        return await self._open(Tools(self._run))

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    def __enter__(self) -> Tools:
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise TypeError("an async worker says: async with run.mcp(…) as tools")
        self._portal = start_blocking_portal()
        call = self._portal.__enter__().call
        self._execute = lambda function, *arguments: _of(call(_outcome, function, *arguments))
        try:
            return call(self._open_in_thread)
        except BaseException as error:
            self._portal.__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._portal is not None and self._execute is not None, "the block was entered"
        try:
            self._execute(self._close)
        finally:
            self._portal.__exit__(kind, error, trace)

    async def _open_in_thread(self) -> Tools:
        return await self._open(Tools(self._run, self._execute))

    async def _open(self, tools: Tools) -> Tools:
        self._tools = tools
        self._connected = anyio.CancelScope()  # it has a deadline once the block ends
        ready = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._serve(tools, ready))
        try:
            async with asyncio.timeout(_OPEN_WITHIN):
                await asyncio.shield(ready)
        except BaseException as error:
            self._task.cancel()
            await self._close()
            if isinstance(error, TimeoutError):
                raise Failure(f"The MCP servers did not answer within {_OPEN_WITHIN:g} s.") from None
            raise
        return tools

    async def _serve(self, tools: Tools, ready: asyncio.Future[None]) -> None:
        """Be connected until it is to stop."""
        name = ""
        try:
            # Not a time-out of the wait in _close: a task that is cancelled once would tell the next server,
            # and wait for that. A scope cancels whatever waits behind its deadline.
            with self._connected:
                async with AsyncExitStack() as stack:
                    for name, server in self._servers.items():
                        transport = await _transport(server, stack, self._public)
                        client = await stack.enter_async_context(
                            Client(transport, elicitation_callback=tools._questions.of(name))
                        )
                        await tools._add(name, client)
                    ready.set_result(None)
                    await self._stop.wait()
        except Exception as error:
            if ready.done():
                self._warn(_reason(error))
            else:
                ready.set_exception(Failure(f"The MCP server {name!r} cannot be used: {_reason(error)}"))
        if self._connected.cancelled_caught:
            self._warn(f"it did not answer within {_CLOSE_WITHIN:g} s")

    def _warn(self, reason: str) -> None:
        self._run.log(f"An MCP server did not end well: {reason}", level="warning")

    async def _close(self) -> None:
        await self._tools._end_calls()
        self._stop.set()
        self._connected.deadline = anyio.current_time() + _CLOSE_WITHIN
        if self._task is not None:
            await asyncio.wait([self._task])


async def _transport(server: Mapping[str, Json], stack: AsyncExitStack, public: bool) -> Any:
    if "command" in server:
        # The real stderr of the process is the run's log; sys.stderr may be something else in a test.
        return stdio_client(StdioServerParameters(**server), errlog=sys.__stderr__)
    hooks: dict[str, list[Callable[..., Any]]] = {}
    if public:
        hooks = {"request": [_to_a_public_address], "response": [_refuse_packed]}
    http = httpx2.AsyncClient(
        headers={**(server.get("headers") or {}), **(UNPACKED if public else {})},
        timeout=httpx2.Timeout(_OPEN_WITHIN, read=_READ_WITHIN),
        follow_redirects=False,
        event_hooks=hooks,
    )
    return streamable_http_client(server["url"], http_client=await stack.enter_async_context(http))


async def _to_a_public_address(request: Any) -> None:
    """Send a request to the address that was checked, whatever the name's next look-up would give."""
    host, scheme = request.url.raw_host.decode(), request.url.scheme
    port = request.url.port or {"http": 80, "https": 443}[scheme]
    address = await asyncio.to_thread(public_address, host, port)
    if scheme not in getproxies():  # a proxy resolves names itself
        request.extensions["sni_hostname"] = host
        request.url = request.url.copy_with(host=address)


async def _refuse_packed(response: Any) -> None:
    refuse_packed(response)


async def _outcome(function: Callable[..., Awaitable[Any]], *arguments: Any) -> tuple[Any, Suspended | None]:
    """What a function returns, or the question that has ended it: raised here, that would end the loop."""
    try:
        return await function(*arguments), None
    except Suspended as suspended:
        return None, suspended


def _of(outcome: tuple[Any, Suspended | None]) -> Any:
    value, suspended = outcome
    if suspended is not None:
        raise suspended
    return value


def _check(name: str, server: Mapping[str, Json]) -> None:
    kinds = [kind for kind in _FIELDS if isinstance(server.get(kind), str)]
    if len(kinds) != 1:
        raise ValueError(f"the MCP server {name!r} needs a command or a url")
    if unknown := set(server) - _FIELDS[kinds[0]]:
        raise ValueError(f"the MCP server {name!r} has an unknown field: {min(unknown)}")


def _object(arguments: Json) -> dict[str, Json]:
    """Arguments as an object; a model may write anything, or half of it."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError as error:
            raise ToolFailed(f"The arguments are no JSON: {error}") from error
    if not isinstance(arguments, Mapping | None):
        raise ToolFailed("The arguments are no object.")
    return dict(arguments or {})


def _value(answer: Any) -> Json:
    """What a tool has returned: its structured result, or its text."""
    structured = plain(answer.structured_content)
    if structured is not None:
        # A server in Python says so what is no object.
        alone = isinstance(structured, dict) and set(structured) == {"result"}
        return structured["result"] if alone else structured
    blocks = [one.text if one.type == "text" else json.dumps(plain(one)) for one in answer.content]
    return "\n".join(blocks)


def _reason(error: BaseException) -> str:
    """What has happened, of an error that the library's task groups may have wrapped."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
