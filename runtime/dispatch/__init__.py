"""Dispatch: accept, cancel and answer runs."""

from runtime.dispatch.dispatcher import Accepted, Dispatcher, IdempotencyKey, NewThread, RunRequest

__all__ = ["Accepted", "Dispatcher", "IdempotencyKey", "NewThread", "RunRequest"]
