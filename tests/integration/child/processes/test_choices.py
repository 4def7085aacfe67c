"""What may be chosen in the config of a worker: how its pool asks, and what it makes of the answers."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from runtime.child import Children, choosing
from runtime.child.choosing import ask
from runtime.errors import ChildFailed
from runtime.pool import choices as pool_choices
from runtime.pool.choices import OfferedChoices

WORKER = """
    import time
    from runtime.sdk import worker
    {before}

    @worker.choices("model")
    def models():
        {models}

    def run(run):
        yield "answer"
    """
THREAD = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"


def worker_with(make_worker: Any, models: str, before: str = "") -> Any:
    return make_worker(WORKER.format(models=models, before=before))


@pytest.mark.parametrize("before", ["", THREAD], ids=["forked", "not forked"])
def test_a_worker_says_what_may_be_chosen(children: Children, make_worker: Any, before: str) -> None:
    worker = worker_with(make_worker, "return ['large', 'small']", before)
    children.warm(worker)
    assert children.hosts.choosing[worker.id]
    assert ask(children, worker) == {"model": ["large", "small"]}


def test_a_worker_without_choices_is_not_asked(children: Children, make_worker: Any) -> None:
    worker = make_worker("def run(run): ...")
    children.warm(worker)
    assert list(OfferedChoices(children).refresh([worker])) == []


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        ("raise ConnectionError('the server is away')", "ConnectionError: the server is away"),
        ("return 'one'", "is str, and no list"),
        ("import os; os._exit(3)", "without a word"),
    ],
    ids=["raises", "no list", "ends"],
)
def test_what_goes_wrong_is_told(children: Children, make_worker: Any, models: str, reason: str) -> None:
    with pytest.raises(ChildFailed, match=reason):
        ask(children, worker_with(make_worker, models))


def test_a_worker_that_does_not_answer_is_ended(children: Children, make_worker: Any) -> None:
    began = time.monotonic()
    with pytest.raises(ChildFailed, match="in time"):
        ask(children, worker_with(make_worker, "time.sleep(60)"), timeout=0.3)
    assert time.monotonic() - began < 30


def test_a_worker_that_prints_very_much_says_what_may_be_chosen(children: Children, make_worker: Any) -> None:
    worker = worker_with(make_worker, "sys.stderr.write('x' * 200_000); return ['large']", "import sys")
    assert ask(children, worker) == {"model": ["large"]}


def test_what_is_too_long_or_not_to_be_shown_is_left_out(children: Children, make_worker: Any) -> None:
    values = "[7, 'a\\0', '\\ud800', '', 'x' * 201, *map(str, range(2000))]"
    found = ask(children, worker_with(make_worker, f"return {values}"))["model"]
    assert found[:3] == ["7", "0", "1"] and len(found) <= 500


@pytest.mark.parametrize("letter", ["模", "\\U0001f600"], ids=["letters", "symbols"])
def test_as_many_values_as_are_kept_fit_in_any_script(
    children: Children, make_worker: Any, letter: str
) -> None:
    values = f"[name for n in range(600) for name in ('{letter}' * 196 + str(n).zfill(4), '{letter}' * 201)]"
    found = ask(children, worker_with(make_worker, f"return {values}"))["model"]
    assert len(found) == 500 and {len(value) for value in found} == {200}


def test_a_worker_that_says_more_than_there_is_room_for_is_ended(
    children: Children, make_worker: Any
) -> None:
    fields = "{f'f{n}': worker.choices(f'f{n}')(lambda: ['x' * 200] * 500) for n in range(20)}"
    worker = worker_with(make_worker, "return []", f"globals().update({fields})")
    with pytest.raises(ChildFailed, match="too much"):
        ask(children, worker)


def test_a_failure_keeps_what_was_said_and_is_logged_once(
    children: Children, make_worker: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = worker_with(make_worker, "return ['large']")
    children.warm(worker)
    answers: list[Any] = [{"model": ["large"]}, ChildFailed("it is away"), ChildFailed("it is away")]

    def ask_next(*_: object) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(choosing, "ask", ask_next)
    monkeypatch.setattr(pool_choices, "_AGAIN_AFTER", 0.0)
    monkeypatch.setattr(pool_choices, "_RETRY_AFTER", 0.0)
    offered = OfferedChoices(children)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            list(offered.refresh([worker]))
    assert offered.of(worker) == {"model": ["large"]}
    assert [record.getMessage() for record in caplog.records] == ["worker made: it is away"]


def test_a_version_is_asked_at_once_and_then_after_minutes(
    children: Children, make_worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = OfferedChoices(children)
    worker = worker_with(make_worker, "return ['large']")
    children.warm(worker)
    assert [len(list(offered.refresh([worker]))) for _ in range(2)] == [1, 0]

    changed = worker_with(make_worker, "return ['larger']")
    children.warm(changed)
    list(offered.refresh([changed]))
    assert offered.of(changed) == {"model": ["larger"]}
