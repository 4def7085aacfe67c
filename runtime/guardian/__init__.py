"""Guardians: a tiny parent for a process that has to run, and the heartbeat that it listens to.

The standard library and :mod:`runtime.system.processes` only, so that there is little in a guardian
that could fail or grow.
"""

from runtime.guardian.guardian import Guardian, stop_with_parent

__all__ = ["Guardian", "stop_with_parent"]
