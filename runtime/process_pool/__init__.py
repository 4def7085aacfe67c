"""A function that is called in processes of its own, each of which can be ended.

A regular expression or a schema of somebody else may need minutes, and no thread can be
stopped meanwhile; nor does any other thread or greenlet run, because Python's lock is
held. So the function is called in another process, which the kernel ends once it has
used its time. The processes stay warm from one call to the next, and they have neither
this process's environment nor its connections.

This is not a pool of the glossary, which consumes a queue. It works under gevent and
without it; ``concurrent.futures`` and ``multiprocessing`` do not survive gevent's
patches, and cannot end one call.
"""

from __future__ import annotations

from runtime.process_pool.pool import ProcessPool

__all__ = ["ProcessPool"]
