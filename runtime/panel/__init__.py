"""The agent chat panel: chats of an application's users with its agents.

::

    model      what an agent chat is
    tables     its tables
    store      SQL
    service    what a client may do with chats, and what becomes of those that nobody uses
    tokens     those of an application's own users

An agent chat is the session of a thread (:mod:`runtime.sessions`), which never goes on by itself.
"""
