"""What a run may reach on its machine, enforced by the kernel.

::

    rules                  what a worker.toml says of its worker
    machine, policy        what this machine can do; what is in force for a worker, and why not all
    programs               which files a program needs to run at all
    plan                   what a host is told of it
    host_sandbox           what the host does to itself and to its children
    landlock               files, signals, abstract sockets
    seccomp                which system calls it may make
    bpf, syscalls          how a filter is written; the numbers of the calls
    namespaces             a network of its own
    destinations           which hosts it may connect to out of that
    identity               an own uid, no capabilities
    folders, disk          the folders of runs, and how much is in them

The standard library only, and little of it: every host and every child imports this.
"""
