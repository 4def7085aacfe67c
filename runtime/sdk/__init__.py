"""What the author of a Python worker imports.

A worker is a function of a :class:`Run`, plain or generator, sync or async::

    def run(run):
        yield "You said: " + run.messages[-1].content

What it yields or returns is a piece of the answer (str) or an event of the protocol
(dict). docs/reference/sdk.md explains the rest.

::

    run, messages, errors    what authors use; exported here
    progress                 what the worker does, for its user
    steps                    what is done once, whatever becomes of an attempt
    turns, formats, tools    the conversation for models, and calls; imported when they are asked for
    window                   the newest messages without losing the goal; for pools, too
    beginnings               half an answer, for workers that go on with it; imported by them
    model_errors             what providers of models do wrong; imported where it happens
    chat_answers             reads an answer of chat completions; imported by workers that ask a model
    thoughts                 what a model thinks at the beginning of its text; imported by that
    durable_answers          asks for such an answer once, whatever becomes of the attempt; imported likewise
    tool_turns               a model that calls tools, turn by turn; imported by workers that have some
    logs, log_handler        lines of the run's log; they, too
    serving, adapters        make a worker of an agent of another library; imported by serve()
    interpreter              what connect() takes
    mistakes                 what an author has misspelt, with its line
    choosing                 what may be chosen in a config, for who is asked
    exits                    what is registered with atexit, in forks
    version, alias           which pools it goes with; its other name, under a pool
    loader                   finds the worker's function in its file
    driver                   executes one run
    wire                     the pipes to and from the pool
    protocol                 the lines that a worker may write; for who reads them: a pool, a test
    testing                  executes a worker in its author's tests

Its modules import each other relatively, for authors install the same package as
``branchline_sdk``.

All of it needs the standard library only and imports fast, for it is a part of every
worker's start. It does without threading: importing that makes every fork twice as
expensive, because of what it does in each forked child.
"""

from .errors import Cancelled, Failure
from .interpreter import InterpreterABC, MappingRule
from .loader import worker
from .messages import Message
from .run import OpenMessage, Run
from .serving import connect, serve

__all__ = [
    "Cancelled",
    "Failure",
    "InterpreterABC",
    "MappingRule",
    "Message",
    "OpenMessage",
    "Run",
    "connect",
    "serve",
    "worker",
]
