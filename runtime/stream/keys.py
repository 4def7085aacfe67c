"""Every Redis key and channel is spelled here and nowhere else.

All keys of a thread carry its id as hash tag, so that they live in one slot and
one script may touch them all. What an installation has a name of its own for begins with it.
"""

from __future__ import annotations


class Keys:
    """The names of one installation."""

    def __init__(self, installation: str = "") -> None:
        self.prefix = f"{installation}.branchline" if installation else "branchline"

    def head(self, thread_id: str) -> str:
        """Hash: ``epoch``, ``seq`` (of the newest entry), ``server`` (run id the epoch began under).

        ``r:<run id>`` for each run under way of which the log has something, so that the loss of
        its own key is noticed.
        """
        return f"{self.prefix}:{{{thread_id}}}:head"

    def log(self, thread_id: str) -> str:
        """Stream: the entries, with ids ``<seq>-0`` and fields t (type), r (run id), d (payload)."""
        return f"{self.prefix}:{{{thread_id}}}:log"

    def open(self, thread_id: str) -> str:
        """Hash: ``<run id>/<message id>`` → payload of the ``message.created`` of an open message."""
        return f"{self.prefix}:{{{thread_id}}}:open"

    def partial(self, thread_id: str, message_id: str = "") -> str:
        """String: the text so far of an open message. Without an id: what all such keys begin with."""
        return f"{self.prefix}:{{{thread_id}}}:partial:{message_id}"

    def run(self, thread_id: str, run_id: str) -> str:
        """Hash: what the log knows of a run.

        ``fence`` (attempt), ``last`` (run-local number), ``server`` (run id of the Redis server
        the fence was set under), ``queued`` and ``ended`` (cursors of its first and its last
        entry; ``queued`` is ``-`` where the log lacks the first one), ``k:<event key>``,
        ``m:<message id>`` (attempt that wrote it), and ``n:<message id>`` and ``b:<message id>``
        (deltas of an open message, and bytes of its text).
        """
        return f"{self.prefix}:{{{thread_id}}}:run:{run_id}"

    def inbox(self, thread_id: str, run_id: str, attempt: int) -> str:
        """List: lines that a worker sent over HTTP and the executor has not read yet."""
        return f"{self.prefix}:{{{thread_id}}}:inbox:{run_id}:{attempt}"

    def inbox_state(self, thread_id: str, run_id: str, attempt: int) -> str:
        """Hash: ``bytes`` and ``lines`` in the inbox, ``token`` and ``taken`` (lines) of the latest pop.

        And ``seen``: the number of the newest line, where the worker numbers them.
        """
        return f"{self.prefix}:{{{thread_id}}}:inbox-state:{run_id}:{attempt}"

    def answer(self, thread_id: str, run_id: str, attempt: int, token: str) -> str:
        """String: the answer to a line that a worker sent over HTTP, for the process that waits for it."""
        return f"{self.prefix}:{{{thread_id}}}:answer:{run_id}:{attempt}:{token}"

    def wake(self, thread_id: str) -> str:
        """Channel: the cursor of a thread's newest entry, as a wake-up; then the entries, if small."""
        return f"{self.prefix}:wake:{thread_id}"

    def pool(self, incarnation: str) -> str:
        """Channel: messages to one pool process."""
        return f"{self.prefix}:pool:{incarnation}"

    def calls(self, pool: str) -> str:
        """Channel: that a sub-run waits, to all processes of a pool."""
        return f"{self.prefix}:calls:{pool}"

    def offers(self, pool: str) -> str:
        """Hash: the offers of machines elsewhere to execute a run of a pool → until when each holds."""
        return f"{self.prefix}:{{pool {pool}}}:offers"

    def claim(self, pool: str, offer: str) -> str:
        """String: the run that is given for an offer."""
        return f"{self.prefix}:{{pool {pool}}}:claim:{offer}"

    def workspace(self, workspace_id: str) -> str:
        """Channel: hints to all who have a workspace open."""
        return f"{self.prefix}:workspace:{workspace_id}"

    def revocations(self) -> str:
        """Channel: ids of users some of whose credentials have ended."""
        return f"{self.prefix}:revocations"

    def sliding_window(self, name: str) -> str:
        """List: the times of attempts that are counted under a name, in milliseconds, the latest first."""
        return f"{self.prefix}:tries:{name}"
