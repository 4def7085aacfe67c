"""The verdict: what the ledger promised, held against what is stored and what readers saw.

Nothing here touches a process or a server, so that it can itself be tested.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.chaos.ledger import Accepted, Injection, Ledger, Observation
from tests.chaos.stored import Stored, StoredMessage, StoredRun

TERMINAL = ("success", "error", "timeout", "cancelled")
NEAR = 15.0
"""Seconds after its end in which a fault may explain something: a lease, a restart, a busy machine."""
_MOST_MEMORY = 1 << 30
LOST = re.compile(r"\[branchline\] Attempt (\d+) was lost: (.+)\.$", re.MULTILINE)
"""How a run's log tells of a lost attempt, and why."""
_BY_ITS_POOL = re.compile(r"its pool process \((\S+)\) stopped answering")
_DRAINS = {("pool", "term"), ("guardian", "term"), ("guardian", "kill")}
_CRASHES = {"child"}
_HOSTS = {"host", "child", "pool", "guardian"}
"""What may cost a child its host: that of an isolated process counts as a child."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept."""

    text: str
    run_id: str | None = None
    ask: int | None = None
    request_id: str | None = None


def judge(ledger: Ledger, stored: Stored) -> list[Violation]:
    """Every promise that was not kept."""
    rules: tuple[Callable[[Ledger, Stored], Iterator[Violation]], ...] = (
        _answers, _server_errors, _accepted, _ended, _texts, _questions, _sub_runs, _messages_to_runs,
        _durable_steps, _readers, _attempts, _leftovers,
    )  # fmt: skip
    return [violation for rule in rules for violation in rule(ledger, stored)]


def _answers(ledger: Ledger, _: Stored) -> Iterator[Violation]:
    """No answer was false, and every ask got one."""
    for ask, text in ledger.wrong:
        yield Violation(text, ask=ask)


def _server_errors(ledger: Ledger, _: Stored) -> Iterator[Violation]:
    """No request met a fault of ours."""
    for error in ledger.server_errors:
        text = f"{error.request} was answered {error.status} {error.text}"
        yield Violation(text, request_id=error.request_id)


def _accepted(ledger: Ledger, stored: Stored) -> Iterator[Violation]:
    """What was accepted is there, once; and nothing else is."""
    promised = Counter(run_id for entry in ledger.accepted.values() for run_id in entry.run_ids)
    for run_id, times in promised.items():
        if run_id not in stored.runs:
            yield Violation("it was accepted and is lost", run_id)
        if times > 1:
            yield Violation(f"it was promised to {times} asks", run_id)
    for run_id in stored.runs.keys() - promised.keys():
        if stored.runs[run_id].called_by or run_id in stored.begun:
            continue  # a run has called it, or left it messages
        yield Violation("no answer contained it: a request was carried out twice", run_id)


def _ended(ledger: Ledger, stored: Stored) -> Iterator[Violation]:
    """Every run has one terminal status: the one that answers reported, announced once."""
    for run in stored.runs.values():
        if run.status not in TERMINAL or run.finished_at is None:
            yield Violation(f"it has not ended; it is {run.status}", run.id)
        if not run.announced:
            yield Violation("its end was not announced", run.id)
        if stored.completions[run.id] > 1:
            yield Violation(f"its log has run.completed {stored.completions[run.id]} times", run.id)
        reported = ledger.reported.get(run.id, run.status)
        if reported != run.status:
            yield Violation(f"it was reported as {reported} and is {run.status}", run.id)
    for hole in stored.holes:
        yield Violation(f"a log has a hole: {hole}")


def _texts(ledger: Ledger, stored: Stored) -> Iterator[Violation]:
    """A run has written what it was to write, or as much of it as its end allowed."""
    entries = {run_id: entry for entry in ledger.accepted.values() for run_id in entry.run_ids}
    for run in stored.runs.values():
        first = run.id
        while first in stored.begun:
            first = stored.begun[first]
        if first in entries:
            for text in _wrong_with(run, entries[first], ledger, stored):
                yield Violation(text, run.id)


def _wrong_with(run: StoredRun, entry: Accepted, ledger: Ledger, stored: Stored) -> Iterator[str]:
    counting = run.counting()
    actual = [(message.type, message.content) for message in counting]
    expected = list(entry.ask.expected)
    positions = [message.position for message in counting]
    if len(positions) != len(set(positions)):
        yield f"two messages have one position: {positions}"
    if entry.ask.sends:
        actual, expected = _without_reads(counting), [("text", entry.ask.text)]
    if run.status == "success":
        if sorted(actual) != sorted(expected):  # messages written at once may begin in any order
            yield f"it was to write {expected} and wrote {actual}"
        if any(message.status != "complete" for message in counting):
            yield f"it is over and a message is {[message.status for message in counting]}"
    else:
        if not _is_beginning(actual, expected):
            yield f"it was to write {expected}, was cut off, and wrote {actual}"
        if not _may_fail(run, ledger, stored):
            yield f"it ended as {run.status} {run.error} for no reason"


def _is_beginning(actual: list[tuple[str, str]], expected: list[tuple[str, str]]) -> bool:
    """Whether each message is the beginning of another that is expected."""
    left = list(expected)
    for kind, content in actual:
        match = next((one for one in left if one[0] == kind and one[1].startswith(content)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _without_reads(counting: list[StoredMessage]) -> list[tuple[str, str]]:
    """What a program has written, whichever messages it has read in between."""
    text = "".join(message.content for message in counting if not message.of_user)
    return [("text", _READ.sub("", text))] if text else []


_READ = re.compile(r"i\d+ found (?:nothing|«\d+» sent \d+ to \d+) ")


def _may_fail(run: StoredRun, ledger: Ledger, stored: Stored) -> bool:
    """Whether it was cancelled, or a fault explains its end or that of one below it."""
    if run.status == "cancelled":
        return run.id in ledger.cancelled
    code = (run.error or {}).get("code")
    if run.status == "error" and code in ("worker_crashed", "start_failed"):
        return any(injection.fault.target in _CRASHES for injection in _near(run, ledger))
    if run.status == "error" and code == "lost":
        return run.reaps > 1  # each of which is explained by itself
    if run.status == "error" and code == "worker_error":
        below = (one for one in stored.runs.values() if one.called_by == run.id)
        return any(one.status != "success" and _may_fail(one, ledger, stored) for one in below)
    return False


def _questions(ledger: Ledger, stored: Stored) -> Iterator[Violation]:
    """What a user sent is stored once, in the state that was promised."""
    for entry in ledger.accepted.values():
        prompts = stored.prompts.get(entry.input_state_id, [])
        if prompts != [entry.ask.text]:
            yield Violation(f"its user sent {entry.ask.text!r}, stored is {prompts}", ask=entry.ask.number)
    times = Counter(text for texts in stored.prompts.values() for text in texts)
    for text, number in times.items():
        if number > 1:
            yield Violation(f"its user sent it once, it is stored {number} times: {text!r}")


def _sub_runs(ledger: Ledger, stored: Stored) -> Iterator[Violation]:
    """A run that has succeeded has each of its sub-runs once; none outlives its caller."""
    below: dict[str, list[StoredRun]] = {}
    for run in stored.runs.values():
        if run.called_by:
            below.setdefault(run.called_by, []).append(run)
    for entry in ledger.accepted.values():
        for run_id in entry.run_ids:
            ends = [run.status for run in below.get(run_id, [])]
            done = run_id in stored.runs and stored.runs[run_id].status == "success"
            if len(ends) > entry.ask.below or (done and ends != ["success"] * entry.ask.below):
                yield Violation(f"it was to have {entry.ask.below} sub-runs, and they are {ends}", run_id)
    for caller, called in below.items():
        ended = stored.runs[caller].finished_at if caller in stored.runs else 0.0
        for run in called:
            if ended is not None and run.finished_at is not None and run.created_at > ended:
                yield Violation(f"{caller}, which had ended, has called it", run.id)


def _messages_to_runs(ledger: Ledger, stored: Stored) -> Iterator[Violation]:
    """What was sent to a run is in one place: where it was read, in the next run, or with an end that is
    no success."""
    read = Counter(m.content for run in stored.runs.values() for m in run.counting() if m.of_user)
    begun = Counter(text for texts in stored.prompts.values() for text in texts)
    resting = Counter(stored.resting)
    for run_id, sent in ledger.sent.items():
        for one in sent:
            places = [read[one.text], begun[one.text], resting[one.text]]
            if sum(places) != one.accepted and not (one.in_doubt and sum(places) == 1):
                text = f"{one.text!r} was answered {one.accepted}, is read, begins a run, rests: {places}"
                yield Violation(text, run_id)
            elif resting[one.text] and run_id in stored.runs and stored.runs[run_id].status == "success":
                yield Violation(f"it has succeeded, and {one.text!r} has begun no run", run_id)
    for run in stored.runs.values():
        said = "".join(message.content for message in run.counting() if not message.of_user)
        for message in run.counting():
            if message.of_user and run.status == "success" and said.count(f"found {message.content} ") != 1:
                yield Violation(f"its worker has not read {message.content!r}, which stands in it", run.id)
    times = Counter(stored.begun.values())
    for run_id, number in times.items():
        if number > 1:
            yield Violation(f"what was left of it has begun {number} runs", run_id)


def _durable_steps(_: Ledger, stored: Stored) -> Iterator[Violation]:
    """A step is taken again only where the attempt was lost that took it."""
    again: Counter[str] = Counter()
    for (run_id, _step), times in stored.paid.items():
        again[run_id] += times - 1
    for run_id, times in again.items():
        if run_id in stored.runs and times > stored.runs[run_id].attempt - 1:
            text = f"durable steps were taken again {times} times in {stored.runs[run_id].attempt} attempts"
            yield Violation(text, run_id)


def _readers(ledger: Ledger, stored: Stored) -> Iterator[Violation]:
    """Every reader has seen what is stored, and nothing that may not be."""
    for observation in ledger.observations:
        who = f"a reader of its {observation.watch}'s stream"
        for wrong in observation.wrong:
            yield Violation(f"{who}: {wrong}", observation.run_id)
        if not observation.done:
            yield Violation(f"{who} never saw its end", observation.run_id)
        elif run := stored.runs.get(observation.run_id):
            yield from _seen(observation, run, who)


def _seen(observation: Observation, run: StoredRun, who: str) -> Iterator[Violation]:
    shown = observation.view.texts(run.id)
    kept = {message.id: message.content for message in run.counting()}
    if shown != kept:
        yield Violation(f"{who} shows {shown}, stored is {kept}", run.id)
    ended = observation.view.ended.get(run.id)
    if ended != run.status:
        yield Violation(f"{who} saw it end as {ended}, it is {run.status}", run.id)


def _attempts(ledger: Ledger, stored: Stored) -> Iterator[Violation]:
    """Every attempt but the first has a reason."""
    asks = {run_id: entry.ask for entry in ledger.accepted.values() for run_id in entry.run_ids}
    for run in stored.runs.values():
        near = list(_near(run, ledger))
        lost = LOST.findall(run.log)
        for attempt, why in lost:
            if not any(_may_have_cost(injection, why) for injection in near):
                yield Violation(f"attempt {attempt} was lost without a fault: {why}", run.id)
        if len(lost) != run.reaps:
            yield Violation(f"it was taken over {run.reaps} times, its log names {len(lost)}", run.id)
        own = 1 if run.id in asks and asks[run.id].kind == "flaky" else 0
        if not run.reaps <= run.failures <= run.reaps + own:
            yield Violation(f"{run.failures} failures, {run.reaps} of them lost attempts", run.id)
        # What is left are hand-overs of pools that were stopped.
        handed_on = run.attempt - 1 - run.failures - run.answers - run.asked
        drains = sum((injection.fault.target, injection.fault.action) in _DRAINS for injection in near)
        if handed_on > drains:
            yield Violation(f"{handed_on} of its {run.attempt} attempts have no reason", run.id)


def _may_have_cost(injection: Injection, why: str) -> bool:
    """Whether it may have cost an attempt its lease, or its child, which was lost for the reason ``why``."""
    if pool := _BY_ITS_POOL.fullmatch(why):
        return pool[1] in injection.hit or injection.fault.target == "database"
    return injection.fault.target in _HOSTS


def _near(run: StoredRun, ledger: Ledger) -> Iterator[Injection]:
    """The faults that may have touched it."""
    for injection in ledger.injections:
        over = (injection.ended or injection.began) + NEAR
        if (
            injection.skipped is None
            and injection.began <= (run.finished_at or over)
            and over >= run.created_at
        ):
            yield injection


def _leftovers(_: Ledger, stored: Stored) -> Iterator[Violation]:
    """Nothing is left of what has ended."""
    for run in stored.runs.values():
        if run.leased:
            yield Violation("its lease was left behind", run.id)
        if run.status == "queued" and run.published:
            yield Violation("it is published and nobody has claimed it", run.id)
    for task in stored.tasks:
        yield Violation(f"the outbox has a task: {task}")
    if stored.waiting_messages:
        yield Violation(f"{stored.waiting_messages} messages were left in the broker's queue")
    for key in stored.foreign_keys:
        yield Violation(f"a key was written that is of no installation with that name: {key}")
    for pid, what in stored.processes.items():
        yield Violation(f"a process was left: {pid} {what}")
    for kind, size in stored.memory.items():
        if size > _MOST_MEMORY:
            yield Violation(f"a {kind} process had {size >> 20} MiB in memory")
