"""What a run may reach on its machine, enforced by the kernel.

::

    seccomp                which system calls it may make
    bpf, syscalls          how a filter is written; the numbers of the calls

The standard library only, and little of it: every host and every child imports this.
"""
