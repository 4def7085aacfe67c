"""The plan: what is asked for and what is broken, when and how, all from one seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

USERS = 4
WARM_UP = 1.5
"""Seconds without faults at the beginning."""
CALM = 2.0
"""Seconds without new faults at the end."""

_TEXT = (
    "run thread state delta lease fence child pool naïve Übermut 東京 日本語 привет мир 🙂 "
    '👩\u200d👧 e\u0301 \u2028 a\u0085b ﷽ \\ " </script> data: id: {} \t \n\n 0 -1'
)
_WORDS = _TEXT.split(" ")
"""Words of prompts and answers; some of them have broken protocols before."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Somebody who reads along."""

    kind: str
    """``run`` or ``thread``, whose stream it reads; ``answer``: it asks once more for the
    same, is answered with the run's stream, and reads that on where it breaks."""
    seed: int
    """Of when its connections break."""
    delay: float
    """Seconds after the acceptance at which it joins."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for runs, and what a faultless world would make of it."""

    number: int
    at: float
    user: int
    kind: str
    text: str
    """Of the user; it contains a mark that no other has."""
    worker_id: str
    config: dict[str, object]
    expected: tuple[tuple[str, str], ...]
    """Type and content of each message that the worker is to write."""
    count: int
    branch: float | None
    """Which of the user's earlier outputs it goes on from, as a share of them; None: a new thread."""
    cancel_after: float | None
    asked_twice: bool
    """Whether the same request is sent again though it was answered."""
    watches: tuple[Watch, ...]
    sends: tuple[tuple[float, str], ...] = ()
    """What is sent to each of its runs while that is under way: seconds after what came before, and the
    text, which no other message has."""

    @property
    def steps(self) -> list[list[str]]:
        """What a program does: pairs of a kind and a text."""
        return self.config["steps"] if self.worker_id == "program" else []  # type: ignore[return-value]

    @property
    def below(self) -> int:
        """How many sub-runs each of its runs is to have."""
        return sum(kind in ("call", "ask") for kind, _ in self.steps)

    @property
    def mark(self) -> str:
        """What makes its text unlike any other."""
        return f"«{self.number}»"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks."""

    number: int
    at: float
    target: str
    action: str
    which: float
    """Which of several targets, as a share of them."""
    seconds: float
    """How long it stays broken, where that can be chosen; else until it is started again."""

    @property
    def kind(self) -> str:
        """What the summary counts it as."""
        return f"{self.target} {self.action}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided before it begins."""

    seed: int
    seconds: float
    asks: tuple[Ask, ...]
    faults: tuple[Fault, ...]
    skew: float = 0.0
    """Seconds by which the clocks of one web process and one pool are ahead."""
    installation: str = ""
    """Its name, if it has one."""


PROCESSES = ("child", "host", "pool", "guardian", "web", "web worker", "reaper", "reaper guardian")
KINDS = (
    *((target, action) for target in PROCESSES for action in ("kill", "stop")),
    *((target, "term") for target in ("child", "pool", "guardian", "web", "reaper", "reaper guardian")),
    *((target, "descriptors") for target in ("pool", "host", "web worker")),
    *(
        ("redis", action)
        for action in ("restart", "empty", "disconnect", "unsubscribe", "sleep", "evict", "full")
    ),
    *(("broker", action) for action in ("lose", "double", "delay")),
)
AS_NOBODY_SPECIAL = (("pool", "processes"), ("host", "processes"))
"""A full process table. The kernel does not limit how many processes root may have."""
ON_POSTGRESQL = (("database", "disconnect"), ("database", "terminate"))
ON_OWN_POSTGRESQL = (("database", "restart"),)
_PAST_THE_LEASE = frozenset({"pool"})
_HOST_SILENCE = 14.0
"""Seconds after which a host that is stopped counts as lost."""
MOST_SKEW = 55.0
"""Seconds; clocks that differ by a minute are promised to do no harm."""


def make(
    seed: int,
    seconds: float,
    *,
    lease: float,
    asks: int,
    faults: int,
    kinds: tuple[tuple[str, str], ...] = KINDS,
) -> Plan:
    """The plan of ``seed``: so many ``asks`` and ``faults`` in so many ``seconds``."""
    return Plan(
        seed,
        seconds,
        tuple(_asks(random.Random(f"{seed} asks"), seconds, asks)),
        tuple(_faults(random.Random(f"{seed} faults"), seconds, faults, kinds, lease)),
        random.Random(f"{seed} skew").uniform(5, MOST_SKEW),
        random.Random(f"{seed} installation").choice(["", "north"]),
    )


def _asks(chance: random.Random, seconds: float, number: int) -> Iterator[Ask]:
    moments = sorted(chance.uniform(0, seconds) for _ in range(number))
    for index, at in enumerate(moments):
        yield _ask(chance, index, at)


_KINDS_OF_ASKS = {
    "echo": 45, "say": 13, "messages": 10, "confirm": 8, "flaky": 7, "steps": 4, "program": 10, "steer": 8,
}  # fmt: skip
"""Each with how many of a hundred are of it, about."""


def _ask(chance: random.Random, number: int, at: float) -> Ask:
    kind = chance.choices(list(_KINDS_OF_ASKS), list(_KINDS_OF_ASKS.values()))[0]
    text = f"«{number}» " + " ".join(chance.choices(_WORDS, k=chance.randint(3, 40)))
    worker_id, config, expected = _work(chance, kind, text)
    if config.get("piece") == "word" and chance.random() < 0.3:
        config = {**config, "delay_ms": chance.randint(100, 250)}
    cancelled = chance.random() < 0.12
    count = 2 if chance.random() < 0.15 else 1
    return Ask(
        number=number,
        at=at,
        user=chance.randrange(USERS),
        kind=kind,
        text=text,
        worker_id=worker_id,
        config=config,
        expected=expected,
        count=count,
        branch=chance.random() if chance.random() < 0.4 else None,
        cancel_after=chance.expovariate(1) if cancelled and kind != "confirm" else None,
        asked_twice=chance.random() < 0.1,
        watches=tuple(_watches(chance, count)),
        sends=tuple(_sends(chance, number)) if kind == "steer" else (),
    )


def _work(
    chance: random.Random, kind: str, text: str
) -> tuple[str, dict[str, object], tuple[tuple[str, str], ...]]:
    """The worker, its config, and the messages that it is to write."""
    if kind == "echo":
        piece = chance.choice(["word", "word", "character"])
        delay = chance.randint(5, 60) if piece == "word" else chance.randint(1, 8)
        return "echo", {"delay_ms": delay, "piece": piece}, (("text", text),)
    if kind == "program":
        kinds = chance.choices(_PROGRAM, k=chance.randint(1, 6))
        steps = [[kind, "0.1" if kind == "pause" else f"s{step}"] for step, kind in enumerate(kinds)]
        return "program", {"steps": steps}, tuple(_written(steps))
    if kind == "steer":
        looks = range(chance.randint(1, 6))
        pause = f"{chance.uniform(0.05, 0.4):.3f}"
        steps = [
            ["delta", text],
            *(step for look in looks for step in (["pause", pause], ["inbox", f"i{look}"])),
        ]
        return "program", {"steps": steps}, ()
    times, gap = chance.randint(1, 6), round(chance.uniform(0.02, 0.3), 3)
    config: dict[str, object] = {"text": text, "count": times, "gap": gap}
    once = ("text", text * times)
    match kind:
        case "messages":
            return "fake", {"mode": "messages"}, _MESSAGES
        case "confirm":
            expected = (once, ("confirmation", "Shall I?"), ("text", "You said yes."))
            return "fake", {**config, "mode": "confirm"}, expected
        case "flaky":
            return "fake", {**config, "mode": "fail", "retryable": True, "until_attempt": 2}, (once,)
        case "steps":
            return "fake", {**config, "mode": "steps"}, (once,)
        case _:
            return "fake", config, (once,)


_MESSAGES = (
    ("text", "Let me think."),
    ("function", '{"a":1,"b":2}'),
    ("code", "1 + 2"),
    ("function", "3"),
    ("text", "The sum is 3."),
)


_PROGRAM = ("delta", "once", "once", "pause", "call", "ask", "confirm")


def _written(steps: list[list[str]]) -> Iterator[tuple[str, str]]:
    """What a program writes that reads no messages. What follows on text, without a question, joins it."""
    text = ""
    for kind, name in steps:
        if kind in ("ask", "confirm"):
            if text:
                yield "text", text
            yield "confirmation", name
            text = ""
        said = {"delta": name, "once": f"paid {name} ", "call": f"below paid {name} "}
        text += said.get(kind, "" if kind == "pause" else f"answer to {name}")
    if text:
        yield "text", text


def _sends(chance: random.Random, number: int) -> Iterator[tuple[float, str]]:
    for message in range(chance.randint(1, 3)):
        yield chance.uniform(0, 0.8), f"«{number}» sent {message}"


def _watches(chance: random.Random, count: int) -> Iterator[Watch]:
    first = "answer" if count == 1 and chance.random() < 0.5 else "run"
    yield Watch(first, chance.randrange(2**32), 0)
    if chance.random() < 0.35:
        yield Watch("run", chance.randrange(2**32), chance.uniform(0.1, 3))
    if chance.random() < 0.35:
        yield Watch("thread", chance.randrange(2**32), chance.choice([0, chance.uniform(0, 2)]))


def _faults(
    chance: random.Random, seconds: float, number: int, kinds: tuple[tuple[str, str], ...], lease: float
) -> Iterator[Fault]:
    room = max(seconds - WARM_UP - CALM, 1.0)
    shuffled = _shuffled(chance, kinds)
    for index in range(number):
        target, action = next(shuffled)
        length = chance.uniform(0.3, 3)
        if action == "stop" and target in _PAST_THE_LEASE:
            length = lease + chance.uniform(1, 3)
        elif action == "stop" and target == "host" and chance.random() < 0.5:
            length = _HOST_SILENCE + chance.uniform(0, 2)
        elif action == "sleep":
            length = chance.uniform(1, 8)
        at = WARM_UP + room * (index + chance.random()) / number
        yield Fault(index, at, target, action, chance.random(), length)


def _shuffled(chance: random.Random, kinds: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
    """All kinds in a random order, again and again, so that each comes as often as any other."""
    while True:
        yield from chance.sample(kinds, len(kinds))
