"""Sessions: a thread that goes on by itself, turn after turn, until its goal is reached or a limit is.

::

    model        what a session is, its states and the legal transitions between them
    tables       its tables; the store makes transitions, two writers never the same one
    store        SQL
    budget       what a session has used, and which limit that has reached
    progress     whether turns still bring something new
    service      what a person may do with a session, and what follows a turn

A turn is a run. What follows its end is a task of the outbox (:mod:`runtime.store.turns`), so nothing
of a session lives in a process.
"""
