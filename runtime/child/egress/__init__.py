"""Egress: the only way out of the networks that strict workers live in.

A strict host is alone in a network without a way out (:mod:`runtime.sandbox.namespaces`),
and the pool process holds the socket that listens there. What connects to it speaks HTTP:
it asks for a tunnel (``CONNECT``), sends a request for another host, as to any proxy, or
one to a base URL that stands for a host and to which the gateway adds a credential.

::

    gateway        accepts, asks whose a connection is, and answers what is refused
    routes         what a request asks for, and whether the worker may have it
    dialer         resolves a name, and connects to addresses that are allowed
    forwarding     passes on requests and their answers
    tunnel         passes on bytes
    owners         which child a connection belongs to, as the kernel says
"""

from runtime.child.egress.gateway import Client, Gateway
from runtime.child.egress.routes import Access, Injection, Routes

__all__ = ["Access", "Client", "Gateway", "Injection", "Routes"]
