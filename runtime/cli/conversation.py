"""A thread as ``branchline chat`` sees it: the current state, and the branch that leads to it."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import NotFound
from runtime.model import Json
from runtime.thread_api.client import Api


@dataclass(frozen=True, slots=True)
class Leaf:
    """A state without children: the end of a branch."""

    state_id: str
    turns: int
    preview: str


class Conversation:
    """One thread, and the position in it: the state that the next message follows."""

    def __init__(self, api: Api, thread: dict[str, Json]) -> None:
        self._api = api
        self._thread: str = thread["id"]
        self.position: str = thread["latest_state_id"]

    @classmethod
    def create(cls, api: Api) -> Conversation:
        """Create a thread."""
        return cls(api, api.post("/api/threads", {})["thread"])

    @classmethod
    def resume(cls, api: Api, thread_id: str) -> Conversation:
        """Open an existing thread at its latest state."""
        return cls(api, api.get(f"/api/threads/{thread_id}")["thread"])

    @property
    def thread_id(self) -> str:
        """The id of the thread."""
        return self._thread

    def ask(self, worker_id: str, config: dict[str, Json], text: str | None) -> str:
        """Start a run at the position, on ``text`` if given, and move to its output. Returns the run's id."""
        body: dict[str, Json] = {"input_state_id": self.position, "worker_id": worker_id, "config": config}
        if text is not None:
            body["messages"] = [{"role": "user", "content": text}]
        answer = self._api.post(f"/api/threads/{self._thread}/runs", body)
        self.position = answer["states"][0]["id"]
        return str(answer["runs"][0]["id"])

    def history(self) -> list[dict[str, Json]]:
        """The last 200 messages up to the position, oldest first."""
        items: list[dict[str, Json]] = self._api.get(f"/api/states/{self.position}/messages", limit=200)[
            "items"
        ]
        return items

    def before_question(self, number: int) -> str:
        """The state that the ``number``-th question of this branch followed, from 1."""
        asked = [message for message in self.history() if message["role"] == "user"]
        if not 1 <= number <= len(asked):
            raise NotFound(f"There is no question {number} on this branch; it has {len(asked)}.")
        state = self._api.get(f"/api/states/{asked[number - 1]['state_id']}")["state"]
        return str(state["parent_id"])

    def leaves(self) -> list[Leaf]:
        """The ends of all branches, oldest first."""
        items: list[dict[str, Json]] = []
        query: dict[str, Json] = {"limit": 200}
        while True:
            page = self._api.get(f"/api/threads/{self._thread}/states", **query)
            items += page["items"]
            if not page["next"]:
                break
            query["cursor"] = page["next"]
        parents = {item["parent_id"] for item in items}
        ends = [item for item in items if item["id"] not in parents and item["parent_id"]]
        return [Leaf(item["id"], (item["depth"] + 1) // 2, item["preview"] or "") for item in ends]
