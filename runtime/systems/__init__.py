"""Systems of agents: entities, each a worker with a config, that send each other messages through channels.

::

    definition   what a system is made of, as a file or a client says it
    graph        which entity sends to which, by its channels
    cycles       entities that ask each other without end
    fitting      whether what one schema lets out, another one takes
    problems     what the check of a definition finds
    check        finds it
"""
