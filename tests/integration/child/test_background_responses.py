"""openai_worker with the Responses API in background mode: no token is generated or shown twice."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runtime import settings
from runtime.child import Child, Children, protocol
from runtime.model import Channel
from runtime.registry import discover
from runtime.sdk.loader import Function, load
from runtime.sdk.testing import execute
from runtime.settings import CHECKOUT
from tests.support.responses import THOUGHT, TOKENS, Provider

WORKER = discover([CHECKOUT / "workers"]).get("openai_worker")
WITHIN = 30.0
HELLO = {"role": "user", "type": "text", "content": "Hello"}
ALL = len(THOUGHT) + len(TOKENS)
ANSWER = "".join(TOKENS)


@pytest.fixture(scope="module")
def shared_provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def provider(shared_provider: Provider) -> Provider:
    shared_provider.reset()
    return shared_provider


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory, shared_provider: Provider) -> Iterator[Children]:
    """One host, which imports the worker once, for all tests."""
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    key = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": shared_provider.url}
    home = str(tmp_path_factory.mktemp("home"))
    children = Children(settings.load({"BRANCHLINE_HOME": home}), environ | key)
    yield children
    children.close()


class Attempt:
    """An attempt of a run: what it says, and what it saves."""

    def __init__(self, child: Child, line: dict[str, Any]) -> None:
        self.child = child
        self.saved: dict[str, Any] = dict(line.get("saved", {}))
        self.digests: dict[str, Any] = dict(line.get("digests", {}))
        self.usage: list[dict[str, Any]] = []
        self.events: list[protocol.WorkerEvent] = []
        self._decoder = protocol.Decoder()
        child.send(json.dumps({"type": "run", "protocol": 1, "run": {"id": "r"}, **line}).encode())

    def read(self) -> bool:
        """Read some more; False at the end."""
        chunk = self.child.read()
        for event in self._decoder.feed(chunk) if chunk else ():
            self.events.append(event)
            if isinstance(event, protocol.Save):
                self.saved[event.key], self.digests[event.key] = json.loads(event.value), event.digest
                self.usage += [event.usage] if event.usage else []
                self.child.send(json.dumps({"type": "saved", "key": event.key}).encode())
        return bool(chunk)

    def end(self) -> Attempt:
        while self.read():
            pass
        return self

    def until_text(self, text: str) -> Attempt:
        while not self.text.endswith(text) and self.read():
            pass
        assert self.text.endswith(text), self.child.read_log()
        return self

    def lose(self) -> None:
        """Its process is killed."""
        self.child.stop(0)

    @property
    def text(self) -> str:
        return self.text_of(None)

    def text_of(self, ref: str | None) -> str:
        return "".join(e.text for e in self.events if isinstance(e, protocol.Delta) and e.ref == ref)

    @property
    def last(self) -> protocol.WorkerEvent:
        return self.events[-1]


Start = Callable[..., Attempt]


@pytest.fixture
def start(children: Children) -> Iterator[Start]:
    """Start an attempt, which goes on with what a lost one has saved, and has ``open`` and ``earlier``."""
    started: list[Child] = []

    def start(lost: Attempt | None = None, **line: Any) -> Attempt:
        started.append(children.start(WORKER, run_id="r", environ={}))
        config = WORKER.check_config({"api": "responses", "system_prompt": "Be brief.", "max_tokens": 50})
        if lost is not None:
            line = {"saved": lost.saved, "digests": lost.digests, "continued": True, **line}
        return Attempt(started[-1], {"config": config, "messages": [HELLO], **line})

    yield start
    for child in started:
        child.close()


def message(content: str, channel: str = "answer") -> dict[str, Any]:
    return {"id": channel, "role": "assistant", "type": "text", "channel": channel, "content": content}


def test_an_answer_is_streamed_with_its_reasoning_and_usage(provider: Provider, start: Start) -> None:
    provider.allow(ALL)
    attempt = start().end()
    assert attempt.text == ANSWER
    assert attempt.text_of("1") == "".join(THOUGHT)
    assert protocol.Start("1", channel=Channel.REASONING) in attempt.events
    assert attempt.usage == [
        {"input_tokens": 7, "output_tokens": 12, "cached_input_tokens": 4, "reasoning_tokens": 3}
    ]
    assert attempt.last == protocol.Done()
    [response] = provider.responses.values()
    assert response.request == {
        "model": "gpt-5.4-mini", "background": True, "store": True, "stream": True, "max_output_tokens": 50,
        "input": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
    }  # fmt: skip


@pytest.mark.parametrize("tokens", [0, 1, 3, 9])
def test_a_later_attempt_shows_only_what_no_earlier_one_has(
    provider: Provider, start: Start, tokens: int
) -> None:
    provider.allow(tokens)
    lost = start()
    thought, text = "".join(THOUGHT[:tokens]), "".join(TOKENS[: max(0, tokens - len(THOUGHT))])
    while (lost.text_of("1"), lost.text) != (thought, text) or "response 1" not in lost.saved:
        assert lost.read()
    lost.lose()
    provider.allow(ALL - tokens)

    parts = [message(thought, "reasoning")] if thought else []
    left = {"earlier": parts, "open": [message(text)]} if text else {"open": parts}
    again = start(lost, **left).end()
    assert (text + again.text, again.last) == (ANSWER, protocol.Done())
    assert thought + again.text_of("1") == "".join(THOUGHT)
    continued = [event.continues for event in again.events if isinstance(event, protocol.Start)]
    assert continued == ([] if text else ["reasoning"] if thought else [None])
    assert provider.ledger == [*THOUGHT, *TOKENS]
    assert provider.resumed == [None]


@pytest.fixture
def function(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Function:
    """The worker in this process."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    monkeypatch.syspath_prepend(WORKER.folder)
    return load(f"{WORKER.folder}/openai_worker.py").function


def test_an_attempt_may_be_lost_behind_any_of_its_lines(provider: Provider, function: Function) -> None:
    lines = 0
    while True:
        provider.reset()
        provider.allow(ALL)
        config = {"api": "responses"}
        lost = execute(function, "Hello", config=config, resume="continue", crash_after=lines)
        if lost.status != "queued":
            break
        again = lost.resume()
        stored = [(message.content, message.status) for message in again.messages]
        assert stored == [("".join(THOUGHT), "complete"), (ANSWER, "complete")], lines
        assert again.usage["output_tokens"] == len(TOKENS), lines
        assert provider.ledger == [*THOUGHT, *TOKENS], lines
        lines += 1
    assert lines > ALL


def test_no_response_is_asked_for_again_within_an_attempt(provider: Provider, function: Function) -> None:
    provider.loses_creations = True
    lost = execute(function, "Hello", config={"api": "responses"}, resume="continue")
    assert (lost.status, list(provider.responses)) == ("queued", ["resp_1"])
    assert lost.error is not None and "127.0.0.1 answered 504" in lost.error.message


def test_a_provider_that_stays_away_is_read_by_the_next_attempt(
    provider: Provider, function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["background_responses"], "_PAUSES", (0, 0))
    provider.allow(5)
    provider.away = True
    lost = execute(function, "Hello", config={"api": "responses"}, resume="continue")
    assert (lost.status, lost.text) == ("queued", "".join(TOKENS[:2]))
    assert lost.error is not None and "127.0.0.1 answered 503" in lost.error.message

    provider.away = False
    provider.allow(ALL)
    again = lost.resume()
    assert (again.status, again.text) == ("success", ANSWER)
    assert provider.ledger == [*THOUGHT, *TOKENS]


def test_a_lost_connection_is_taken_up_behind_the_last_event(provider: Provider, start: Start) -> None:
    attempt = start()
    for tokens, last in ((4, 0), (5, 5), (3, 8)):
        provider.allow(tokens)
        attempt.until_text(TOKENS[last])
        provider.hang_up()
    provider.allow(ALL)
    attempt.end()
    assert (attempt.text, attempt.text_of("1"), attempt.last) == (ANSWER, "".join(THOUGHT), protocol.Done())
    assert provider.ledger == [*THOUGHT, *TOKENS]
    assert provider.resumed == [4, 9, 12]


def test_a_response_that_is_too_old_to_be_streamed_is_waited_for(provider: Provider, start: Start) -> None:
    provider.allow(5)
    attempt = start().until_text(TOKENS[1])
    provider.too_old_to_stream = True
    provider.hang_up()
    provider.allow(ALL)
    attempt.end()
    assert (attempt.text, attempt.text_of("1"), attempt.last) == (ANSWER, "".join(THOUGHT), protocol.Done())
    assert len(provider.ledger) == ALL


def test_a_response_that_is_read_at_its_end_may_have_an_empty_text(provider: Provider, start: Start) -> None:
    provider.tokens = []
    provider.allow(1)
    attempt = start()
    while attempt.text_of("1") != THOUGHT[0]:
        assert attempt.read()
    provider.too_old_to_stream = True
    provider.hang_up()
    provider.allow(ALL)
    attempt.end()
    assert (attempt.text, attempt.text_of("1"), attempt.last) == ("", "".join(THOUGHT), protocol.Done())


def test_a_cancelled_run_cancels_its_response(provider: Provider, start: Start) -> None:
    provider.allow(5)
    attempt = start().until_text(TOKENS[1])
    attempt.child.send(protocol.CANCEL)
    attempt.end()
    assert attempt.child.wait(WITHIN) == 143
    assert provider.cancelled == ["resp_1"]


def test_a_run_that_is_handed_back_leaves_its_response_to_the_next_attempt(
    provider: Provider, start: Start
) -> None:
    provider.allow(5)
    attempt = start().until_text(TOKENS[1])
    attempt.child.stop(WITHIN)
    attempt.end()
    assert provider.cancelled == []


@pytest.mark.parametrize("how", ["failed", "forgotten"])
def test_a_response_that_cannot_be_read_any_more_is_followed_by_another(
    provider: Provider, start: Start, how: str
) -> None:
    if how == "failed":
        provider.fails_after = 5
    provider.allow(ALL if how == "failed" else 5)
    lost = start().until_text(TOKENS[1])
    if how == "failed":
        assert lost.end().last == protocol.Failed("127.0.0.1 broke off: The GPU is gone.", retryable=True)
    else:
        lost.lose()
        provider.forget()
    provider.allow(2 * ALL)

    begun_anew = start(lost, open=[message("".join(TOKENS[:2]))]).end()
    assert begun_anew.last == protocol.Discard()
    again = start(begun_anew, continued=False).end()
    assert (again.text, again.last) == (ANSWER, protocol.Done())
    assert list(provider.responses) == (["resp_1", "resp_2"] if how == "failed" else ["resp_1"])
