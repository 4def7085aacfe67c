"""How quick Branchline is, measured from outside: ``make bench``, or ``python -m bench --help``."""
