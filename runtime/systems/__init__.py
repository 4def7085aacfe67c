"""Systems of agents: entities, each a worker with a config, that send each other messages through channels.

::

    definition   what a system is made of, as a file or a client says it
    graph        which entity sends to which, by its channels
    cycles       entities that ask each other without end
    fitting      whether what one schema lets out, another one takes
    problems     what the check of a definition finds
    check        finds it
    model        systems that live, their entities, and the messages in their mailboxes
    passing      filters and maps of channels
    routing      what follows from a message that was handled, and to whom it goes
    tables       the tables of systems
    store        SQL: to make and to end systems, and all that is read of them
    mailboxes    SQL: how messages come into mailboxes, are taken, end, and what follows
    service      what a person may do with systems, and what the outbox has done for them

Handling a message is a run of the entity's worker. What follows its end is a task of the outbox, so
nothing of a system lives in a process.
"""
