"""An interpreter that was started ahead of a run and has imported the worker, where a fork would not do.

It is executed by a fork of the host, which is in the run's sandbox already, and waits for the
request that the host passes on.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import sys

from runtime.child import forked
from runtime.child.imported import Imported, ImportFailed
from runtime.sdk.wire import line_buffer_stdout


def main(entrypoint: str, descriptor: str) -> None:
    """Import the worker, wait for a run and execute it. ``descriptor``: of the socket to the host."""
    host = socket.socket(fileno=int(descriptor))
    host.set_inheritable(False)
    faulthandler.register(forked.SHOW_STACK, file=2)  # stderr of the run, once there is one
    line_buffer_stdout()
    try:
        imported = Imported(entrypoint)
    except ImportFailed as error:
        failed = error
    else:
        imported.handlers.register()
        forked.execute(imported.loaded, *forked.await_request(host), host)
    _, descriptors = forked.await_request(host)
    os.dup2(descriptors[2], 2)
    print(f"The worker could be imported once, and not again: {failed}", file=sys.stderr, flush=True)
    os._exit(1)
