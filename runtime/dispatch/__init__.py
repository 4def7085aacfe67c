"""Dispatch: accept, cancel and answer runs."""

from runtime.dispatch.after_commit import after_commit
from runtime.dispatch.dispatcher import Dispatcher
from runtime.dispatch.explain import encode_wait
from runtime.dispatch.request import Accepted, IdempotencyKey, NewThread, RunRequest

__all__ = [
    "Accepted",
    "Dispatcher",
    "IdempotencyKey",
    "NewThread",
    "RunRequest",
    "after_commit",
    "encode_wait",
]
