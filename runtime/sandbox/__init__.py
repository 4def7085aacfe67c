"""What a run may reach on its machine, enforced by the kernel.

::

    seccomp                which system calls it may make
    bpf, syscalls          how a filter is written; the numbers of the calls
    namespaces             a network of its own
    destinations           which hosts it may connect to out of that

The standard library only, and little of it: every host and every child imports this.
"""
