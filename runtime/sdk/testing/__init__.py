"""Execute a worker in a test, in the test's own process and without a server::

    result = execute("workers/shout", "hello")
    assert result.text == "HELLO! "

docs/reference/sdk.md explains it.

::

    execution     execute, and the attempts that follow
    wire          what stands for the pipes to the pool
    transcript    what an attempt has said
"""

from .execution import Result, execute
from .transcript import Error, Question, WrittenMessage

__all__ = ["Error", "Question", "Result", "WrittenMessage", "execute"]
