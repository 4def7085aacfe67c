"""Where subsystems are registered: what carries out each kind of task, and further duties of the reaper."""

from runtime.dispatch.outbox import Outbox
from runtime.services import Services


def outbox_of(services: Services) -> Outbox:
    """The outbox of a process."""
