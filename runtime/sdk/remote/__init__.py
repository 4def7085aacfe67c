"""A machine elsewhere, which executes runs of a pool over HTTPS, without Redis, database or open ports.

::

    connections  to the server, kept from one request to the next
    api          requests to the server
    machine      asks for runs, and has each executed; drains
    execution    one run: carries what its worker says, and what it is told
    worker       what executes a run, and what starts it
    process      a worker as a process on this machine, without a sandbox
    __main__     python -m branchline_sdk.remote

The standard library only. `branchline remote` is the same, with the sandbox of a pool.
"""

from .machine import Machine
from .worker import Exit, Lost, Start, Worker

__all__ = ["Exit", "Lost", "Machine", "Start", "Worker"]
