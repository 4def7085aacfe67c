"""The report: a table of what happened, and the history of each run that went wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.ledger import Injection, Ledger, Observation
from tests.chaos.plan import Plan
from tests.chaos.stored import Stored
from tests.chaos.system import System
from tests.chaos.verdict import LOST, Violation

_AROUND = 20.0
"""Seconds around a run within which a fault belongs to its story."""
_STORIES = 10
"""More would be read by nobody."""
_RECORDS = 60
"""Of each process's log in a story."""
_AROUND_REQUEST = 10
"""Records before and after those of a request that has failed."""


@dataclass
class Outcome:
    """How a run of chaos went."""

    plan: Plan
    database: str
    ledger: Ledger
    stored: Stored
    violations: list[Violation]
    seconds: float
    logs: dict[str, str]
    """What each process has printed."""


def summary(outcome: Outcome) -> str:
    """The table."""
    rows = list(_rows(outcome))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _rows(outcome: Outcome) -> Iterator[tuple[str, object]]:
    ledger, stored = outcome.ledger, outcome.stored
    runs = stored.runs.values()
    carried_out = [injection for injection in ledger.injections if injection.skipped is None]
    recovered = recoveries(ledger, stored)
    wrong = Counter("lost" if "lost" in v.text else "other" for v in outcome.violations)
    yield "seed", outcome.plan.seed
    yield "database", outcome.database
    yield "installation", outcome.plan.installation or "without a name"
    yield "seconds", f"{outcome.seconds:.0f}"
    slowest = max(runs, key=lambda run: (run.finished_at or 0) - run.created_at, default=None)
    yield "runs", f"{len(stored.runs)} of {len(ledger.accepted)} asks: {_counted(r.status for r in runs)}"
    yield "sub-runs", sum(run.called_by is not None for run in runs)
    read = sum(message.of_user for run in runs for message in run.counting())
    sent = sum(one.accepted for of_run in ledger.sent.values() for one in of_run)
    yield "messages to runs", f"{sent}, {read} read, {len(stored.begun)} runs begun by others"
    yield "durable steps", f"{len(stored.paid)}, taken {sum(stored.paid.values())} times"
    if slowest and slowest.finished_at:
        yield "slowest run", f"{slowest.finished_at - slowest.created_at:.1f} s"
    yield "attempts", f"{sum(r.attempt for r in runs)}, {sum(r.reaps for r in runs)} lost and taken over"
    yield "readers", len(ledger.observations)
    yield "reconnects", sum(observation.reconnects for observation in ledger.observations)
    yield "resets", sum(observation.resets for observation in ledger.observations)
    for what, number in sorted(ledger.counts.items()):
        yield what, number
    yield "faults", f"{len(carried_out)}, {len(ledger.injections) - len(carried_out)} found nothing to break"
    for kind, number in sorted(Counter(injection.fault.kind for injection in carried_out).items()):
        longest = max((seconds for cost, seconds in recovered if cost == kind), default=None)
        yield f"  {kind}", f"{number}" + (f", runs went on within {longest:.1f} s" if longest else "")
    yield "memory at most", ", ".join(f"{k} {size >> 20} MiB" for k, size in stored.memory.items())
    yield "violations", f"{len(outcome.violations)} ({_counted(wrong.elements())})" if wrong else 0


def _counted(values: Iterator[str]) -> str:
    return ", ".join(f"{number} {value}" for value, number in Counter(values).most_common())


def recoveries(ledger: Ledger, stored: Stored) -> list[tuple[str, float]]:
    """For each lost attempt that somebody watched: what cost it, and seconds until the next began."""
    found = []
    for run in stored.runs.values():
        for attempt, incarnation in LOST.findall(run.log):
            again = f"run.started attempt {int(attempt) + 1} "
            for observation in (o for o in ledger.observations if o.run_id == run.id):
                began = next((at for at, _, text in observation.events if text.startswith(again)), 0.0)
                watched = min((at for at, _, _ in observation.events), default=began)
                cost = [
                    injection
                    for injection in ledger.injections
                    if incarnation in injection.hit and watched < injection.began < began
                ]
                if cost:
                    found.append((cost[-1].fault.kind, began - cost[-1].began))
    return found


def stories(outcome: Outcome) -> str:
    """The story of each violation, those of one run together."""
    of: dict[str | int | None, list[Violation]] = {}
    for violation in outcome.violations:
        of.setdefault(violation.run_id or violation.request_id or violation.ask, []).append(violation)
    timelines = ["\n".join(_story(outcome, subject, found)) for subject, found in list(of.items())[:_STORIES]]
    more = len(of) - len(timelines)
    return "\n\n".join(timelines + ([f"... and {more} more"] if more else []))


def _story(outcome: Outcome, subject: str | int | None, found: Sequence[Violation]) -> Iterator[str]:
    ledger = outcome.ledger
    yield f"═══ seed {outcome.plan.seed}: {subject or 'the whole system'}"
    yield from (f"  ✗ {violation.text}" for violation in found)
    asks = {n: e for n, e in ledger.accepted.items() if n == subject or subject in e.run_ids}
    for ask in asks.values():
        yield f"  asked: {ask.ask}"
    lines = [(at, f"ask {n}: {text}") for at, n, text in ledger.lines if n in asks or n == subject]
    run = outcome.stored.runs.get(str(subject))
    if run is not None:
        yield f"  stored: {run}"
        for observation in ledger.observations:
            if observation.run_id == run.id:
                lines += _observation_lines(observation)
    if lines:
        first, last = min(lines)[0], max(lines)[0]
        lines += _fault_lines(ledger.injections, first, last)
    yield from (f"  {_clock(at)} {text}" for at, text in sorted(lines))
    about = next((v.request_id for v in found if v.request_id), None)
    for key, log in outcome.logs.items():
        mine = _before(log, f"request_id={about}") if about else _about(log, run.id) if run else []
        yield from (f"  {key}: {record}" for record in mine[-_RECORDS:])


def _records(log: str) -> list[str]:
    """The records in a log, each with its traceback."""
    records: list[str] = []
    for line in log.splitlines():
        if line.startswith("  ") and records:
            records[-1] += f"\n    {line}"
        else:
            records.append(line)
    return records


def _about(log: str, run_id: str) -> list[str]:
    return [record for record in _records(log) if run_id in record]


def _before(log: str, request: str) -> list[str]:
    """What a process has said until it failed at a request; nothing if that was another process."""
    records = _records(log)
    named = [number for number, record in enumerate(records) if request in record]
    return records[max(0, named[0] - _AROUND_REQUEST) : named[-1] + _AROUND_REQUEST + 1] if named else []


def _observation_lines(observation: Observation) -> list[tuple[float, str]]:
    who = f"reader of the {observation.watch} {id(observation) % 997}"
    return [(at, f"{who}: {event_id} {text}") for at, event_id, text in observation.events]


def _fault_lines(injections: Sequence[Injection], first: float, last: float) -> Iterator[tuple[float, str]]:
    for injection in injections:
        if first - _AROUND < injection.began < last + _AROUND:
            until = f"until {_clock(injection.ended)}" if injection.ended else ""
            yield (
                injection.began,
                f"FAULT {injection.fault.kind} {sorted(injection.hit)} {until} {injection.skipped or ''}",
            )


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1000):03}"


def logs(system: System) -> dict[str, str]:
    """What each process has printed."""
    return {key: system.log(key) for key in system.keys}
