"""The machine underneath: its clock, processes and signals, greenlets, and files that only their owner reads.

Nothing is imported here: a pool's guardian and the hosts of children import single modules of it,
and pay for no more.
"""
