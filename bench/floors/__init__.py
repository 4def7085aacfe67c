"""What the parts of a run's way cost where there is nothing around them.

Nobody who uses Celery, Redis and a process per run can be quicker than these
three; how much slower the whole is, is what Branchline itself costs.
"""
