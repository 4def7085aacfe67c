"""Chaos: a seeded load, seeded faults, and a ledger that knows what ought to have come of it.

``plan`` decides everything from the seed; ``system`` is what is shaken, ``faults``
shake it; ``load`` asks for runs and ``readers`` watch them as careful clients do; all
write into the ``ledger``. At the end ``verdict`` holds the ledger against what is
``stored``, and ``report`` tells of it. ``python -m tests.chaos`` runs it alone.
"""
