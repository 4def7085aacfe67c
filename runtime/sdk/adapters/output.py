"""What an agent's chunks mean, said in the run."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..errors import Failure, Suspended
from ..messages import Json
from .rules import Chunk, Meaning, Rule

if TYPE_CHECKING:
    from ..run import OpenMessage, Run
    from ..tools import ToolCall

_Kind = tuple[str, str, str, str | None]
"""Role, type, channel and author of a message."""
_LONGEST_NAME = 200
_PICTURES = ("png", "jpeg", "gif", "webp", "avif")
"""The types that a message may have."""
ASKED = "chunk "
"""What the ids of questions begin with that chunks ask."""


class Output:
    """Says what chunks mean.

    As a context manager it ends what is open, and makes a failure of what a model's provider
    raises through an agent's library, so that the run is tried again where that may help.
    """

    def __init__(self, run: Run, *tables: Iterable[Rule]) -> None:
        """``tables``: of rules. The first with one that fits a chunk says what it means."""
        self._run = run
        self._tables = [tuple(table) for table in tables]
        self._of_answers = [rule for table in self._tables for rule in table if rule.answer is not None]
        """They count whichever table says what the chunk means."""
        self._texts: dict[str | None, tuple[_Kind, OpenMessage]] = {}
        """What is being written, by what it belongs to."""
        self._calls: dict[tuple[str | None, Json], ToolCall] = {}
        """Calls whose arguments are being written, by what they belong to and their key."""
        self._waiting: dict[str, ToolCall] = {}
        """Calls without a result, by their id."""
        self._used: dict[str | None, dict[str, Json]] = {}
        """What each answer has used."""
        self._begun: dict[str | None, int] = {}
        """Answers that a model is writing, and how many chunks say so of each."""
        self._complete: set[str | None] = set()
        """Those whose API has said that nothing is missing."""
        self._answer: str | None = None
        """Whose usage was reported last."""
        self._questions = 0
        self.declined = False
        """Whether the user does not want what comes next, so that the agent is not asked to go on."""
        self.said: list[Meaning] | None = None
        """Where what is said is noted, for :meth:`say` to say it again in a later attempt."""

    def chunk(self, chunk: Chunk) -> bool:
        """Say what a chunk means; whether it is of a known shape."""
        known = any(self.by(table, chunk) for table in self._tables)
        begun: set[str | None] = set()
        for rule in self._of_answers:
            for meaning in rule.read(chunk) if rule.fits(chunk) else ():
                if meaning["kind"] == "answer":
                    self._look_for_end(meaning["of"], meaning["state"], begun)
        return known

    def by(self, table: Iterable[Rule], chunk: Chunk) -> bool:
        """Say what a chunk means by all rules of ``table`` that fit it; whether there are any."""
        rules = [rule for rule in table if rule.fits(chunk)]
        for rule in rules:
            for meaning in rule.read(chunk):
                if meaning["kind"] != "answer":
                    self.say(meaning)
        return bool(rules)

    @property
    def lacks_end(self) -> bool:
        """Whether a model's answer has begun that is not complete."""
        return bool(self._begun)

    def pieces(self, result: Iterable[Any]) -> Iterable[Any]:
        """The texts and chunks of what an agent has returned."""
        return result

    def say(self, meaning: Meaning) -> None:
        """Say what something means."""
        if self.said is not None:
            _note(self.said, meaning)
        arguments = dict(meaning)
        getattr(self, arguments.pop("kind"))(**arguments)

    def text(
        self,
        text: str,
        of: str | None = None,
        role: str = "assistant",
        type: str = "text",
        channel: str = "answer",
        data: dict[str, Json] | None = None,
        author: str | None = None,
    ) -> None:
        """Append to the message that belongs to ``of``; a text of another kind begins another."""
        author = author[:_LONGEST_NAME] if author else None
        kind = (role, type, channel, author)
        if of in self._texts and self._texts[of][0] != kind:
            self._end_text(of)
        if of not in self._texts:
            message = self._run.start(role=role, type=type, channel=channel, author=author, data=data)
            self._texts[of] = kind, message
        self._texts[of][1].delta(text)

    def call(
        self,
        of: str | None = None,
        key: Json = None,
        id: str | None = None,
        name: str | None = None,
        arguments: Json = None,
    ) -> None:
        """Begin a call, or go on with its arguments."""
        call = self._calls.get((of, key))
        if call is None or (id and id != call.id):
            if not name or id in self._waiting:  # what was called is not known, or was said before
                return
            self._end_text(of)
            whole = arguments is not None and not isinstance(arguments, str)
            call = self._run.tool(name, arguments if whole else None, id or None).__enter__()
            self._calls[of, key] = self._waiting[call.id] = call
        if isinstance(arguments, str) and arguments:
            call.arguments(arguments)

    def result(self, id: str, value: Json = None, error: Json = None) -> None:
        """Say what a call has resulted in."""
        call = self._waiting.pop(id, None)
        if call is None:
            return
        self._calls = {key: one for key, one in self._calls.items() if one is not call}
        call.result(value if error is None else error, is_error=error is not None)

    def end(self, of: str | None = None) -> None:
        """End the text and the calls that belong to ``of``; results may follow."""
        self._end_text(of)
        for key in [key for key in self._calls if key[0] == of]:
            self._calls.pop(key).called()

    def image(self, base64: str, alt: str | None = "", format: str | None = None) -> None:
        """Show a picture; the end of ``format`` says of which type: ``base64.jpeg``. Else it is a PNG."""
        import binascii

        kind = str(format).lower().rpartition(".")[2].replace("jpg", "jpeg")
        kind = kind if kind in _PICTURES else "png"
        self._run.image(binascii.a2b_base64(base64), alt or "A picture.", f"image/{kind}")

    def confirm(self, prompt: Json = None, code: Json = None, language: Json = None) -> None:
        """Ask the user whether to go on, or whether a ``code`` is to be executed."""
        self.end()
        if code is not None:
            what = f"{language} code" if language else "code"
            prompt = f"Execute this {what}?\n\n{code}"
        self._questions += 1
        id = f"{ASKED}{self._questions}"
        self.declined = self._run.confirm(str(prompt or "Go on?"), ["yes", "no"], id=id) != "yes"

    def step(self, description: str) -> None:
        """Say what comes next."""
        self._run.step(description)

    def usage(self, amounts: dict[str, Json], of: str | None = None, adds: bool = False) -> None:
        """Report what an answer has used; that of all answers adds up."""
        if of is not None:
            self._answer = of
        used = self._used.setdefault(self._answer, {})
        before = dict(used)
        for name, amount in amounts.items():
            used[name] = used.get(name, 0) + amount if adds else amount
        if used == before:
            return
        names = {name: None for one in self._used.values() for name in one}
        self._run.usage(**{name: sum(one.get(name, 0) for one in self._used.values()) for name in names})

    def error(self, message: str, retryable: bool = False) -> None:
        """Fail the run."""
        raise Failure(message, retryable=retryable)

    def _look_for_end(self, of: str | None, state: str, begun: set[str | None]) -> None:
        """Note how far an answer is. Raises Failure where it is over without being complete.

        ``begun``: the answers that this chunk has shown to be begun.
        """
        if state == "begun" and of not in self._complete:  # a chunk may follow the one that completes it
            if of not in begun:
                begun.add(of)
                self._begun[of] = self._begun.get(of, 0) + 1
        elif state == "complete":
            self._complete.add(of)
            self._forget(of, had_begun=self._begun.get(of, 0) > (of in begun))
        elif state == "over" and of in self._begun:
            raise no_end()

    def _forget(self, of: str | None, *, had_begun: bool) -> None:
        """An answer is complete: others that are being written at the same time go on.

        ``had_begun``: whether an earlier chunk was of it. If none was, the server gives each chunk an id
        of its own, and all chunks whose id came once may have been of this answer.
        """
        if had_begun or (of is None and of in self._begun):
            del self._begun[of]
        elif of is None:  # its API names an answer as it begins, and not as it ends
            if self._begun:
                self._begun.popitem()
        else:
            self._begun = {one: chunks for one, chunks in self._begun.items() if chunks > 1}

    def _end_text(self, of: str | None) -> None:
        if of in self._texts:
            self._texts.pop(of)[1].end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is open: a text that an exception ends stays half a text.

        A call without a result has none that we know of, unless an exception ends it. Raises Failure
        where a model's answer is not complete.
        """
        cut_off = no_end() if error is None and self._begun and not self.declined else None
        if cut_off is not None:
            kind, error = Failure, cut_off
        whole = error is None or isinstance(error, Suspended)
        for of in list(self._texts) if whole else ():
            self._end_text(of)
        for call in self._waiting.values():
            if error is None:
                call.called()
            else:
                call.__exit__(kind, error, trace)
        self._texts.clear()
        self._calls.clear()
        self._waiting.clear()
        if cut_off is not None:
            raise cut_off
        if isinstance(error, Exception) and not isinstance(error, Failure):
            _raise_failure(error)


def no_end() -> Failure:
    """The failure of an answer whose stream has ended before its API has said that it is complete."""
    message = "The model's server broke off, or its last chunk was not given on: the answer has no end."
    return Failure(message, retryable=True)


def _raise_failure(error: Exception) -> None:
    from ..model_errors import failure_of

    if failure := failure_of(error):
        raise failure from error


def _note(said: list[Meaning], meaning: Meaning) -> None:
    """Pieces of one text are noted as one."""
    last = said[-1] if said else {}
    name = {"text": "text", "call": "arguments"}.get(meaning["kind"])
    if name and {**last, name: ""} == {**meaning, name: ""} and isinstance(meaning[name], str):
        last[name] = (last[name] or "") + meaning[name]
    else:
        said.append(dict(meaning))
