"""What was measured: figures with their rounds, and the table that shows them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


def quantile(values: Iterable[float], share: float) -> float:
    """The value that ``share`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@dataclass(slots=True)
class Figure:
    """One thing that was measured, once in each round."""

    what: str
    unit: str
    target: str = ""
    floors: tuple[str, ...] = ()
    """Figures whose sum is the least that this one could be."""
    rounds: list[float] = field(default_factory=list)
    samples: int = 0
    """How many single measurements are behind all rounds."""
    prototype: list[float] = field(default_factory=list)
    """The same, of the prototype."""

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.rounds)


class Figures:
    """All figures of a run of the benchmarks, in the order in which they were begun."""

    def __init__(self) -> None:
        self._all: dict[str, Figure] = {}

    def add(
        self,
        what: str,
        unit: str,
        value: float,
        *,
        samples: int = 1,
        target: str = "",
        floors: tuple[str, ...] = (),
        is_prototype: bool = False,
    ) -> None:
        """One round's value; ``is_prototype``: of the prototype, for comparison."""
        figure = self._all.setdefault(what, Figure(what, unit, target, floors))
        if is_prototype:
            figure.prototype.append(value)
        else:
            figure.rounds.append(value)
            figure.samples += samples

    def __bool__(self) -> bool:
        return bool(self._all)

    def table(self) -> str:
        """All figures as a Markdown table."""
        rows = [self._row(figure) for figure in self._all.values() if figure.rounds]
        compared = any(figure.prototype for figure in self._all.values())
        heads = ["what", "unit", "target", "median", "min–max", "n", "floor", "× floor"]
        heads += ["prototype", "× prototype"] if compared else []
        lines = [heads, ["---"] * 3 + ["---:"] * (len(heads) - 3), *(row[: len(heads)] for row in rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def plain(self) -> list[dict[str, Any]]:
        """All figures as JSON."""
        return [
            {**asdict(figure), "median": figure.median, "floor": self._floor(figure)}
            for figure in self._all.values()
            if figure.rounds
        ]

    def _row(self, figure: Figure) -> list[str]:
        floor = self._floor(figure)
        return [
            figure.what,
            figure.unit,
            figure.target,
            f"**{_shown(figure.median)}**",
            _spread(figure.rounds),
            f"{len(figure.rounds)} × {round(figure.samples / len(figure.rounds))}",
            _shown(floor) if floor else "",
            _ratio(figure.median, floor),
            f"{_shown(statistics.median(figure.prototype))} ({_spread(figure.prototype)})"
            if figure.prototype
            else "",
            _ratio(figure.median, statistics.median(figure.prototype)) if figure.prototype else "",
        ]

    def _floor(self, figure: Figure) -> float | None:
        known = [self._all[name].median for name in figure.floors if name in self._all]
        return sum(known) if known and len(known) == len(figure.floors) else None


def _spread(values: Sequence[float]) -> str:
    return f"{_shown(min(values))}–{_shown(max(values))}"


def _ratio(value: float, base: float | None) -> str:
    return f"{value / base:.2f}" if base else ""


def _shown(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
