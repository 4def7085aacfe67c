"""Chaos: a seeded load, seeded faults, and a ledger that knows what ought to have come of it.

``plan`` decides everything from the seed. ``system`` is the deployment under test;
``faults`` injects faults into it, ``load`` requests runs, and ``readers`` follow them
as careful clients do, each building its ``view``. All of them write to the ``ledger``.
At the end ``verdict`` compares the ledger with what is ``stored``, and ``report``
prints a summary and the history of each violation. ``python -m tests.chaos`` runs it.
"""
