"""What all benchmarks have in common."""

from __future__ import annotations

from bench.branchline import Branchline
from bench.figures import Figures
from bench.system import System


class Measure:
    """Something that is measured in rounds. Subclasses say what."""

    name: str
    """What ``python -m bench NAME`` chooses."""
    compared = False
    """Whether the prototype can do it too."""

    async def prepare(self, branchline: Branchline) -> None:
        """What must be there before the first round."""

    async def round(self, system: System, figures: Figures) -> None:
        """Measure once. ``system`` is Branchline, or the prototype where ``compared``."""
        raise NotImplementedError

    async def clear(self) -> None:
        """After the last round."""
