"""The run as its worker sees it: its input, and how it answers."""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from json.encoder import encode_basestring as _quote
from typing import TYPE_CHECKING, Any, NoReturn

from .errors import Cancelled, Failure, Suspended
from .messages import Json, Message
from .progress import Progress
from .steps import MAX_VALUE, Steps, current_step, digest_of, refuse_within

if TYPE_CHECKING:
    import logging
    from os import PathLike
    from typing import Literal

    from .adapters.mcp_servers import Servers
    from .calls import Call, Calls, Said
    from .files import File
    from .inbox import Inbox
    from .knowledge import Document, Passage
    from .tools import ToolCall
    from .wire import Connection

_ALLOWED_IN_STEPS = ("step", "error")
"""What the function of a durable step may say: it is missing in a later attempt, and nothing is lost."""


_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "delta": ("text",),
    "start": ("ref",),
    "end": ("ref",),
    "message": (),
    "step": ("description",),
    "usage": (),
    "confirm": ("id", "prompt"),
    "save": ("key", "value"),
    "inbox": (),
    "call": ("id", "worker_id"),
    "follow": ("id",),
    "state": ("value",),
    "finish": (),
    "send": ("body",),
    "discard": (),
    "done": (),
    "error": (),
}
"""The events of the protocol, and what each must have."""


class OpenMessage:
    """A message that the worker streams. As a context manager it ends itself."""

    def __init__(self, run: Run, ref: str, sent: bool) -> None:
        """``sent``: whether the pool knows it, and not an earlier process of the run only."""
        self._run = run
        self._ref: str | None = ref
        self._sent = sent

    def delta(self, text: str) -> None:
        """Append ``text``."""
        if self._ref is None:
            raise RuntimeError("the message has ended")
        if self._sent:
            self._run._delta(text, self._ref)

    def end(self, data: Mapping[str, Json] | None = None) -> None:
        """Complete the message; ``data`` is merged into its first. A second call does nothing."""
        ref, self._ref = self._ref, None
        if ref is not None and self._sent:
            self._run.emit(_without_none({"type": "end", "ref": ref, "data": data}))

    def __enter__(self) -> OpenMessage:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Run:
    """The run that a worker executes, and how it answers."""

    def __init__(self, line: Mapping[str, Json], wire: Connection) -> None:
        """``line``: the first line from the pool, which the ``wire`` leads to."""
        self.fields: dict[str, Json] = line.get("run") or {}
        """The run as the API shows it."""
        self.config: dict[str, Json] = line.get("config") or {}
        """Checked against the worker's schema, defaults filled in."""
        self.args: Json = line.get("args")
        """What the client sent along, unchecked."""
        self.messages = [Message(fields) for fields in line.get("messages") or ()]
        """The conversation, oldest first."""
        self.earlier = [Message(fields) for fields in line.get("earlier") or ()]
        """What earlier attempts wrote that counts: before the run last waited for an answer, and where it
        goes on with a lost attempt, that one."""
        self.open = [Message(fields) for fields in line.get("open") or ()]
        """What a lost attempt of this run was writing, with its text so far, if worker.toml says
        ``resume = "continue"``. What this one says goes on there."""
        self._goes_on = bool(line.get("continued"))
        self._continued: set[str | None] = set()
        self.thread: dict[str, Json] = line.get("thread") or {}
        """The thread's id, title and metadata."""
        self.incoming: dict[str, Json] | None = line.get("message")
        """The message that an entity of a system handles: its id, ``kind``, ``sender`` and ``body``, and
        what it belongs to; None outside of systems."""
        self._state = line.get("state")
        self._state_sent: str | None = None
        """The state that the pool knows, as JSON; None: that of the line."""
        self.cancelled = False
        """Whether it is to stop. Cancelled is raised as well, where Python allows it."""
        self.handed_back = False
        """Whether that is because its pool shuts down or has died, and another attempt follows: what that
        can go on with is to be left as it is."""
        self._answers = {answer.get("confirmation_id"): answer for answer in line.get("answers") or ()}
        self._unconsumed = set(self._answers)
        """Answered questions that this process has not reached yet. Until it has, it repeats what an
        earlier process of the run did, and emits nothing."""
        self._reached: list[str] = []
        """Answered questions that this process has reached, in order."""
        self._refs = 0
        self._calls = 0
        self._questions = 0
        self._ended = False
        self._finish: str | None = None
        self._output = wire.write
        self._wire = wire
        self._inbox: Inbox | None = None
        self._steps = Steps(line.get("saved") or {}, line.get("digests") or {}, wire)
        self._sub_runs: Calls | None = None
        self._given_passages: list[dict[str, Json]] = line.get("passages") or []
        """What a test has searches find, where there is no server."""
        self._passages: list[Passage] | None = None

    @property
    def inbox(self) -> Inbox:
        """The messages that are sent to the run while it is under way.

        ``for message in run.inbox()``, or ``async for``, between two tools or turns: what has
        arrived. ``run.inbox.poll()``, or ``await run.inbox.poll_async()``: the next one, or None.
        What is read is in the conversation at this place; ``messages`` is not changed.
        """
        if self._inbox is None:
            from .inbox import Inbox

            self._inbox = Inbox(self._wire, lambda: bool(self._unconsumed))
        return self._inbox

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.fields.get("id", ""))

    @property
    def thread_id(self) -> str:
        """The id of the thread that it answers in."""
        return str(self.fields.get("thread_id", ""))

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return int(self.fields.get("attempt", 1))

    @property
    def state(self) -> Json:
        """What the worker before this one on the branch has kept, an empty dict where nothing was.

        JSON of at most 1 MiB, which nobody sees in the conversation. What is in it when the run
        ends is given to the next run from there, however this one ends; an edit or another
        answer begins with what its own parent has.
        """
        if self._state is None:
            self._state = {}
        if self._state_sent is None:
            self._state_sent = json.dumps(self._state)
        return self._state

    @state.setter
    def state(self, value: Json) -> None:
        self._state_sent = self._state_sent or ""
        self._state = value
        self._send_state()

    def _send_state(self) -> None:
        """Send the pool the state, if it has changed."""
        if self._state_sent is None:  # nobody has looked at it
            return
        text = json.dumps(self._state, allow_nan=False)
        if text != self._state_sent and not self._unconsumed and not self._ended:
            if len(text) > MAX_VALUE:
                raise ValueError(f"the state of a run is at most {MAX_VALUE} bytes of JSON")
            self._state_sent = text
            self._output(f'{{"type":"state","value":{text}}}\n'.encode())

    def conversation(self) -> list[tuple[str, str]]:
        """The messages as chat models take them: role (system, user or assistant) and text.

        Reasoning and empty messages are left out.
        """
        turns = [
            ("assistant" if message.role == "tool" else message.role, message.as_text())
            for message in self.messages
            if message.channel != "reasoning"
        ]
        return [(role, text) for role, text in turns if text.strip()]

    def window(
        self, size: int, *, roles: Collection[str] | None = None, types: Collection[str] | None = None
    ) -> list[Message]:
        """The newest ``size`` messages, and before them what must not be lost.

        That is the goal, which is what a person said last, so that a long series of calls does
        not lose it, and system messages. ``roles``, ``types``: only messages of these, such as
        ``types={"text", "code"}``. A call and its result are both in the window, or neither is.
        """
        from .window import window

        return window(self.messages, size, roles=roles, types=types)

    def as_openai(
        self,
        api: Literal["chat", "responses"] = "chat",
        *,
        messages: Iterable[Message] | None = None,
        system: str | None = None,
        tools: bool = True,
        pictures: bool = True,
    ) -> list[dict[str, Json]]:
        """The conversation as OpenAI's library takes it.

        ``api``: ``chat`` for the ``messages`` of chat completions, ``responses`` for the
        ``input`` of the Responses API. ``messages``: others than all of the run, for example
        a :meth:`window`. ``system``: instructions that go before those of the conversation.

        Each call has its result behind it, and one that says so where it was not finished.
        Without ``tools``, calls and results are text: some servers refuse them in a request
        that offers no functions. Without ``pictures``, for a model that does not see, it is
        told what they show. Reasoning is left out, and code, consoles and questions are text.
        """
        from . import formats
        from .turns import turns

        if api not in ("chat", "responses"):
            raise ValueError(f'the API is "chat" or "responses", not {api!r}')
        made = turns(
            self.messages if messages is None else messages, system=system, tools=tools, pictures=pictures
        )
        return formats.openai_chat(made) if api == "chat" else formats.openai_responses(made)

    def as_anthropic(
        self,
        *,
        messages: Iterable[Message] | None = None,
        system: str | None = None,
        tools: bool = True,
        pictures: bool = True,
    ) -> dict[str, Json]:
        """The conversation as arguments of Anthropic's ``messages.create``.

        They are ``messages`` and, where there are instructions, ``system``. See :meth:`as_openai`
        for the arguments.
        """
        from . import formats
        from .turns import turns

        made = turns(
            self.messages if messages is None else messages, system=system, tools=tools, pictures=pictures
        )
        return formats.anthropic(made)

    def delta(self, text: str) -> None:
        """Append to the answer; the same as yielding ``text``."""
        self._delta(text, None)

    def message(
        self,
        content: str,
        *,
        role: str = "assistant",
        type: str = "text",
        channel: str = "answer",
        author: str | None = None,
        data: Mapping[str, Json] | None = None,
        files: Iterable[File] = (),
    ) -> None:
        """Emit a complete message. ``files``: those that it names, of the thread or made by :meth:`file`."""
        head = _head(role, type, channel, author, data)
        named = [file.id for file in files]
        self.emit({"type": "message", "content": content, **head, **({"files": named} if named else {})})

    def file(
        self,
        name: str,
        content: bytes | str | PathLike[str],
        type: str | None = None,
        *,
        text: str = "",
        show: bool = True,
    ) -> File:
        """Make a file, and show it in a message, with a ``text`` if you like.

        ``content``: bytes, or the path of a file that has them. ``type``: what a text is, as
        ``text/csv``; everything else is found by looking. A later attempt that makes the same gets
        the same file. Without ``show`` there is no message; name the file in one of your own, or
        in a :meth:`call`. Raises Failure.
        """
        from .files import make

        refuse_within("making a file")
        file = make(name, content, type)
        if show:
            self.message(text, files=[file])
        return file

    def search(self, query: str, k: int = 5, source: str | None = None) -> list[Passage]:
        """The ``k`` passages (1 to 50) of the user's knowledge base that fit best, the best first.

        ``source``: the name of the only one that is searched. worker.toml has to grant it:
        ``grants = ["knowledge"]``. Raises Failure.
        """
        from .knowledge import search

        return search(query, k, source, self._local_passages())

    def add_document(
        self,
        source: str,
        name: str,
        content: bytes | str,
        *,
        kind: str | None = None,
        digest: str | None = None,
        validator: str | None = None,
    ) -> bool:
        """Add a document to the source of that name in the user's knowledge base, or replace the one that
        it has of this ``name``, such as a path.

        It is committed when this returns, with all its passages at once. False if it was there with
        the same content, and was not read again; so to add it once more in a later attempt does no
        harm. worker.toml has to grant it: ``grants = ["knowledge"]``. Raises Failure, which is
        retryable where another try makes sense.

        ``kind``: ``markdown``, ``html`` or ``text``, where the name does not say it. ``digest``: where
        the content is made of a file, the SHA-256 of that, in hexadecimal digits; it then counts
        instead of the content, also for :meth:`find_document`. ``validator``: what is to be found there
        again, such as the ETag of a page, to ask its server whether it has changed.
        """
        from .knowledge import add

        return add(source, name, content, self._local_passages(), kind, digest, validator)

    def find_document(self, source: str, name: str) -> Document | None:
        """The document of that name in a source of the user's knowledge base; None: there is none.

        By its ``digest`` one sees whether it has to be made and added again. worker.toml has to grant
        it: ``grants = ["knowledge"]``. Raises Failure.
        """
        from .knowledge import find

        return find(source, name, self._local_passages())

    def _local_passages(self) -> list[Passage]:
        if self._passages is None:
            from .knowledge import Passage

            self._passages = [Passage(fields) for fields in self._given_passages]
        return self._passages

    def image(self, picture: bytes, alt: str, media_type: str = "image/png") -> None:
        """Emit an image of at most 750 kB (PNG, JPEG, GIF, WebP or AVIF); ``alt`` describes it."""
        url = f"data:{media_type};base64,{binascii.b2a_base64(picture, newline=False).decode()}"
        self.message(alt, type="image", data={"url": url})

    def start(
        self,
        *,
        role: str = "assistant",
        type: str = "text",
        channel: str = "answer",
        author: str | None = None,
        data: Mapping[str, Json] | None = None,
    ) -> OpenMessage:
        """Start a message that is streamed. Several may be open at once.

        Where a lost attempt was writing one of the same kind, that goes on.
        """
        self._refs += 1
        ref = str(self._refs)
        head = _head(role, type, channel, author, data)
        going_on = None if self._unconsumed else self._left_open(role, type, channel)
        message = OpenMessage(self, ref, sent=not self._unconsumed)
        try:
            self.emit(_without_none({"type": "start", "ref": ref, **head, "continues": going_on}))
        except Cancelled:  # it came while the line was written, and nobody else could end the message
            message.end()
            raise
        return message

    def code(
        self, language: str | None = None, *, format: str | None = None, title: str | None = None
    ) -> OpenMessage:
        """Start a code: ``with run.code("python") as code: code.delta(text)``.

        ``format``: which form of its language. ``title``: what is written above it.
        """
        data = _without_none({"language": language, "format": format, "title": title})
        return self.start(type="code", data=data)

    def console(self, command: str | None = None) -> OpenMessage:
        """Start the output of a program: ``with run.console("make test") as console``.

        It is shown as a terminal would, with colours, and with lines that are written again
        after a ``\\r``.
        """
        return self.start(role="tool", type="console", data=_without_none({"command": command}))

    def _left_open(self, role: str, type: str, channel: str) -> str | None:
        """The id of a message of that kind that a lost attempt was writing, each once."""
        for message in self.open:
            kind = message.role, message.type, message.channel
            if kind == (role, type, channel) and message.id not in self._continued:
                self._continued.add(message.id)
                return message.id
        return None

    def tool(self, name: str, arguments: Json = None, call_id: str | None = None) -> ToolCall:
        """A call of a function, as a block: ``with run.tool("add", {"a": 1}) as tool``, or ``async with``.

        It is a message with its ``arguments``, or with what ``tool.arguments(text)`` appends to
        them, and a second one with its result: what is given to ``tool.result(value)``, or the
        exception that ends the block, which goes on. ``call_id``: the model's; without one, one
        is made, ``tool.id``.
        """
        from .tools import ToolCall

        self._calls += 1
        return ToolCall(self, name, arguments, call_id or f"call_{self.id[-12:]}_{self._calls}")

    def mcp(self, servers: Mapping[str, Mapping[str, Json]], *, public: bool = False) -> Servers:
        """The tools of MCP servers, as a block: ``async with run.mcp(servers) as tools``, or ``with``.

        ``servers``: by name, each with a ``command`` and its ``args``, ``env`` and ``cwd``, or
        with a ``url`` and ``headers``. ``public``: a ``url`` must not lead into a private network.
        A call of ``tools["add"](a=1)`` is shown as one of
        :meth:`tool`, and awaited in an async worker. The servers end with the block. It takes
        the library ``mcp``, and raises ImportError without.
        """
        from .adapters.mcp_servers import Servers

        return Servers(self, servers, public)

    def step(self, description: str) -> Progress:
        """Announce what the worker does next: "Searching the web".

        It lasts until the next one. Blocks, ``with`` or ``async with``, may be within each other: at
        the end of the inner one the outer step goes on.
        """
        self._announce(description)
        return Progress(description, self._announce)

    def _announce(self, step: str) -> None:
        self.emit({"type": "step", "description": step})

    def log(self, message: str, /, *, level: str = "info", **fields: Any) -> None:
        """Write a line to the run's log, with ``fields`` as ``name=value``.

        ``level``: debug, info, warning or error. Further lines of the message are indented.
        """
        from . import logs

        logs.write(message, level, fields)

    def log_handler(self) -> logging.Handler:
        """A handler for the module logging, whose records it writes as :meth:`log` does."""
        from .log_handler import LogHandler

        return LogHandler()

    def usage(self, **amounts: Json) -> None:
        """What this attempt has used so far: ``input_tokens``, ``output_tokens``, whatever else there is.

        Those of all attempts add up. What the function of a step says belongs to that step.
        """
        step = current_step()
        if step is not None:
            step.usage.update(amounts)
        else:
            self.emit({**amounts, "type": "usage"})

    def once(
        self,
        key: str | Callable[..., Any] | None,
        function: Callable[..., Any] | None = None,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Take a step once: call ``function`` with the arguments, commit its result and return it.

        In every later attempt, whatever ended this one, it returns that result and calls nothing.
        The result is what JSON makes of it, at most 1 MiB; an exception saves nothing. Where
        the process dies between the call and the commit, the function is called again: give a
        service :meth:`key`, so that it can tell.

        ``await`` it where the function is async. It is a decorator as well, ``@run.once`` or
        ``@run.once("key")``. Without a key a step is called by its function's name and how
        many of that name were before; steps that are taken at the same time need keys.
        """
        return self._steps.once(key, function, args, kwargs)

    def has_step(self, key: str) -> bool:
        """Whether the step ``key`` was taken already, so that :meth:`once` calls nothing."""
        return self._steps.has(key)

    def key(self, key: str) -> str:
        """An idempotency key for services: the same in every attempt of this run, and in no other run."""
        return f"{self.id}:{key}"

    def confirm(
        self,
        prompt: str,
        options: Iterable[str] = (),
        schema: Mapping[str, Json] | None = None,
        *,
        id: str | None = None,
    ) -> Json:
        """Ask the user and return the answer.

        ``schema``: JSON Schema of the answer, which the user gives in a form; its defaults are
        filled in, and an answer that does not fit is refused.

        This process ends here, however long the user takes. After the answer the
        worker starts again from its beginning; what it emits up to an answered
        question is dropped, because it was emitted before. So what it does until then
        must be repeatable, and lead to the same questions in the same order, or with
        the same ``id``. An answer belongs to its question: where another one is asked in its
        place, the run fails.
        """
        refuse_within("a question")
        self._questions += 1
        question = id or str(self._questions)
        if self._unconsumed and question not in self._answers:
            self._check_repeated()
        return self._ask(question, _asked(prompt, list(options), schema))

    def _confirm_in_any_order(
        self, prompt: str, options: Iterable[str], schema: Mapping[str, Json] | None, *, id: str
    ) -> Json:
        """The same for what comes in another order in each attempt: maybe before an answered question."""
        self._questions += 1
        return self._ask(id, _asked(prompt, list(options), schema))

    def _ask(self, question: str, asked: Mapping[str, Json]) -> Json:
        """The answer to a question; where there is none yet, the user is asked it, and the process ends."""
        if question in self._answers:
            self._unconsumed.discard(question)
            self._reached.append(question)
            answer, digest = self._answers[question], asked["digest"]
            if answer.get("digest", digest) != digest:
                raise Failure(f"The question {question!r} asks something else than was answered.")
            return answer.get("answer")
        self._unconsumed.clear()
        self.emit({"type": "confirm", **_without_none({**asked, "id": question})})
        self._ended = True
        raise Suspended

    def _pass(self, questions: Iterable[str]) -> None:
        """Reach answered questions without asking them, where what came of them was saved."""
        for question in questions:
            self._questions += 1
            self._unconsumed.discard(question)
            self._reached.append(question)

    def call(
        self,
        worker: str,
        messages: Said | Iterable[Said] = (),
        *,
        config: Mapping[str, Json] | None = None,
        args: Json = None,
        files: Iterable[File] = (),
        id: str | None = None,
    ) -> Call:
        """Have another worker run, as a run of its own below this one, which is under way at once.

        What is asked of the :class:`~runtime.sdk.calls.Call` waits for its end: ``text``,
        ``messages``, ``status``, ``usage``, ``error``. ``await`` it in an async worker. Iterate over
        it for its text as it comes. A text among the ``messages`` is one of the user. ``files`` are
        named by the last message.

        A later attempt of this run finds the same sub-run, and its result. ``id``: by what; without
        one, the worker's name and how many calls of it were before. Those that are made at the
        same time need ids. It ends when this run does.
        """
        from .calls import Calls

        refuse_within("a call")
        if self._sub_runs is None:
            self._sub_runs = Calls(self._wire, self._ask, self._answers.__contains__)
        return self._sub_runs.call(worker, messages, config, args, files, id)

    def finish(self, reason: str = "") -> None:
        """The goal is reached: the session that the run belongs to goes on no more by itself.

        ``reason``: a sentence for its user. It counts once the run has succeeded; outside of a
        session it does nothing.
        """
        self._finish = str(reason)

    def send(
        self,
        content: str,
        *,
        to: str | None = None,
        kind: str | None = None,
        data: Mapping[str, Json] | None = None,
        reply_to: str | None = None,
    ) -> None:
        """Send a message to another entity of the system, once this one has been handled with success.

        ``to``: its name, and ``kind``, ``query`` or ``read``; without them it goes where the channels
        of this entity lead. ``reply_to``: the entity that alone gets the answer to a query. Outside of
        a system it does nothing.
        """
        body = {"content": content, "data": dict(data or {})}
        event = {"type": "send", "to": to, "kind": kind, "body": body, "reply_to": reply_to}
        self.emit(_without_none(event))

    def discard(self) -> None:
        """Begin anew, without what a lost attempt has left in ``open`` and ``earlier``.

        This process ends, and the run is started again without them. It does nothing where
        there is nothing of a lost attempt.
        """
        if self._goes_on:
            self._unconsumed.clear()  # what was written before an answered question stays
            self.emit({"type": "discard"})
            self._ended = True
            raise Suspended

    def emit(self, event: Mapping[str, Json]) -> None:
        """Send an event of the protocol. Raises ValueError where the protocol has none such."""
        kind = event.get("type")
        required = _REQUIRED.get(kind) if isinstance(kind, str) else None
        if required is None or not event.keys() >= {*required}:
            self._refuse(event)
        if kind not in _ALLOWED_IN_STEPS:
            refuse_within("what the worker says")
        if not self._unconsumed and not self._ended:
            self._output(_encode(json.dumps(event, ensure_ascii=False, allow_nan=False)))

    @staticmethod
    def _refuse(event: Mapping[str, Json]) -> NoReturn:
        """It is misspelt, and would be missing in the answer."""
        from . import mistakes

        kind: Any = event.get("type")
        if not isinstance(kind, str) or kind not in _REQUIRED:
            raise mistakes.unknown_event(kind, _REQUIRED)
        missing = next(name for name in _REQUIRED[kind] if name not in event)
        raise mistakes.missing_field(kind, missing, event)

    def _delta(self, text: str, ref: str | None) -> None:
        if not isinstance(text, str):
            raise TypeError(f"a delta must be a str, not {type(text).__name__}")
        refuse_within("what the worker says")
        if not text or self._unconsumed or self._ended:
            return
        if ref is None:
            self._output(_encode(f'{{"type":"delta","text":{_quote(text)}}}'))
        else:
            self._output(_encode(f'{{"type":"delta","ref":{_quote(ref)},"text":{_quote(text)}}}'))

    def _emit_output(self, output: Any) -> None:
        """Emit what the worker yielded or returned."""
        if isinstance(output, str):
            self._delta(output, None)
        elif isinstance(output, Mapping):
            self.emit(output)
        elif output is not None:
            raise TypeError(f"a worker yields str or dict, not {type(output).__name__}")

    def _done(self) -> None:
        if self._unconsumed:
            self._check_repeated()
        if self._finish is not None:
            self.emit({"type": "finish", "reason": self._finish})
        self._send_state()
        self.emit({"type": "done"})
        self._ended = True

    def _fail(self, message: str, retryable: bool) -> None:
        self._unconsumed.clear()
        self._send_last_state()
        self.emit({"type": "error", "message": message, "retryable": retryable})
        self._ended = True

    def _send_last_state(self) -> None:
        """Send it where the run ends badly; one that cannot be sent is left out."""
        with suppress(TypeError, ValueError):
            self._send_state()

    def _check_repeated(self) -> NoReturn:
        missing = ", ".join(sorted(map(repr, self._unconsumed)))
        raise Failure(
            f"The worker did not reach its answered question {missing} again; "
            "up to a question it must do the same every time."
        )


def _asked(prompt: str, options: list[str], schema: Mapping[str, Json] | None) -> dict[str, Json]:
    """A question, with what an answer to it is known by."""
    digest = digest_of([prompt, options, schema])
    return {"prompt": prompt, "options": options, "schema": schema, "digest": digest}


def _head(
    role: str, type: str, channel: str, author: str | None, data: Mapping[str, Json] | None
) -> dict[str, Json]:
    return _without_none(
        {"role": role, "message_type": type, "channel": channel, "author": author, "data": data}
    )


def _encode(event: str) -> bytes:
    """JSON as a line. Half of a surrogate pair cannot be encoded as UTF-8; it is escaped."""
    try:
        return event.encode() + b"\n"
    except UnicodeEncodeError:
        return event.encode("utf-8", "backslashreplace") + b"\n"


def _without_none(fields: dict[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in fields.items() if value is not None}
