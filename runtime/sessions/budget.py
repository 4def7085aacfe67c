"""Budgets: what a session has used, and which of its limits that has reached.

A limit is looked at between turns: the turn that reaches it is carried through, and none follows.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from runtime.errors import ConfigurationError
from runtime.model import Json
from runtime.sessions.model import Reason

Usage = Mapping[str, Json]
Price = Mapping[str, float]

NOTHING: Final[Mapping[str, Json]] = {"turns": 0, "seconds": 0.0, "tokens": 0, "cost": 0.0}
"""What a new session has used."""
_PRICED = ("input_tokens", "cached_input_tokens", "output_tokens")
_SENTENCES: Final = {
    Reason.MAX_TURNS: "It has taken {limit} turns since your last message, which is its limit.",
    Reason.MAX_SECONDS: "It has run for {used} seconds; its limit is {limit}.",
    Reason.MAX_TOKENS: "It has used {used} tokens; its limit is {limit}.",
    Reason.MAX_COST: "It has cost {used}; its limit is {limit}.",
}
_FIGURES: Final = {
    Reason.MAX_SECONDS: "seconds",
    Reason.MAX_TOKENS: "tokens",
    Reason.MAX_COST: "cost",
    Reason.MAX_TURNS: "turns",
}
_UNKNOWN: Final = {
    "tokens": "Its worker does not say how many tokens it uses, so its limit of tokens cannot be kept.",
    "cost": "What its model costs is not known, so its limit of cost cannot be kept: name the model in the "
    "worker's config, and its price in the file that BRANCHLINE_SESSION_PRICES names.",
}


@dataclass(frozen=True, slots=True)
class Prices:
    """What models cost: money per million tokens, by model and kind of tokens."""

    of_model: Mapping[str, Price]

    @classmethod
    def read(cls, path: str) -> Prices:
        """Those of a TOML file; empty: none. Raises ConfigurationError."""
        if not path:
            return cls({})
        try:
            found: dict[str, Any] = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"BRANCHLINE_SESSION_PRICES: {path}: {error}") from error
        for model, price in found.items():
            for kind, amount in price.items() if isinstance(price, dict) else [("", None)]:
                if kind not in _PRICED or isinstance(amount, bool) or not isinstance(amount, int | float):
                    raise ConfigurationError(
                        f"BRANCHLINE_SESSION_PRICES: {path}: {model!r} needs numbers for {', '.join(_PRICED)}"
                    )
        return cls(found)

    def cost(self, config: Mapping[str, Json], usage: Usage) -> float | None:
        """What a run has cost; None where that is not known."""
        said = _number(usage.get("cost"))
        if said is not None:
            return said
        model = usage.get("model") or config.get("model")
        price = self.of_model.get(model) if isinstance(model, str) else None
        if price is None or tokens(usage) is None:
            return None
        amounts = {kind: _number(usage.get(kind)) or 0.0 for kind in _PRICED}
        cached = min(amounts["cached_input_tokens"], amounts["input_tokens"])
        input_price = price.get("input_tokens", 0.0)
        total = (amounts["input_tokens"] - cached) * input_price
        total += cached * price.get("cached_input_tokens", input_price)
        return (total + amounts["output_tokens"] * price.get("output_tokens", 0.0)) / 1_000_000


def tokens(usage: Usage) -> float | None:
    """How many tokens a run has used, in and out; None where it does not say."""
    total = _number(usage.get("total_tokens"))
    if total is not None:
        return total
    known = [_number(usage.get(name)) for name in ("input_tokens", "output_tokens")]
    return None if known == [None, None] else sum(amount or 0 for amount in known)


@cache
def prices(path: str) -> Prices:
    """Those of a file, which is read once in a process. Raises ConfigurationError."""
    return Prices.read(path)


def after_seconds(used: Mapping[str, Json], seconds: float) -> dict[str, Json]:
    """``used``, and so many seconds more."""
    return {**used, "seconds": round(float(used["seconds"]) + seconds, 3)}


def after_turn(
    used: Mapping[str, Json],
    runs: Iterable[tuple[Mapping[str, Json], Usage | None]],
    prices: Prices,
    *,
    says_all: bool,
) -> dict[str, Json]:
    """``used`` and what a turn has used: its run and those below it, each with its config.

    Runs that say nothing of what they use count as nothing where another one does. Where none does,
    the figure is unknown (None) from then on if the turn ``says_all``; one that was cancelled may have
    had no time for it.
    """
    said = [(config, usage) for config, usage in runs if usage]
    figures = {
        "tokens": [tokens(usage) for _, usage in said],
        "cost": [prices.cost(config, usage) for config, usage in said],
    }
    after: dict[str, Json] = {**used, "turns": int(used["turns"]) + 1}
    if not said and not says_all:
        return after
    for name, amounts in figures.items():
        known = [amount for amount in amounts if amount is not None]
        whole = len(known) == len(amounts) if name == "cost" else True
        before = used[name]
        after[name] = before + sum(known) if known and whole and before is not None else None
    return after


def exceeded(
    limits: Mapping[str, Json], used: Mapping[str, Json], *, turns: bool
) -> tuple[Reason, str] | None:
    """The limit that is reached, and a sentence; ``turns``: whether that of turns counts, too."""
    for reason, figure in _FIGURES.items():
        limit = limits.get(reason)
        if not limit or (reason is Reason.MAX_TURNS and not turns):
            continue
        amount = used[figure]
        if amount is not None and amount >= limit:
            return reason, _SENTENCES[reason].format(limit=limit, used=amount)
    return None


def unknown(limits: Mapping[str, Json], used: Mapping[str, Json]) -> str | None:
    """A sentence where a limit is set whose figure is not known."""
    for figure, sentence in _UNKNOWN.items():
        if limits.get(f"max_{figure}") and used[figure] is None:
            return sentence
    return None


def _number(value: Json) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
