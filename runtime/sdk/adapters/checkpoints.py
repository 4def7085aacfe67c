"""LangGraph's checkpoints, as JSON that a run saves and that its state carries to the next one."""

from __future__ import annotations

import binascii
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)

from ..messages import Json

Record = list[Json]
"""A checkpoint, the value of a channel, or what a task has written: its kind, its place, what it is."""


class Checkpoints(BaseCheckpointSaver[int]):
    """The checkpoints of one thread, and of the graphs within its graph."""

    def __init__(self, save: Callable[[], Awaitable[None]]) -> None:
        """``save``: called after each step of the graph itself; it takes what is new."""
        super().__init__()
        self._save = save
        self._new: list[Record] = []
        self._checkpoints: dict[str, dict[str, Record]] = {}
        self._values: dict[tuple[str, str, int], Record] = {}
        self._writes: dict[tuple[str, str], dict[tuple[str, int], Record]] = {}

    def restore(self, records: Iterable[Record]) -> None:
        """Have what was put before."""
        for record in records:
            kind, namespace, *where = record
            if kind == "checkpoint":
                self._checkpoints.setdefault(namespace, {})[where[0]] = record
            elif kind == "value":
                self._values[namespace, where[0], where[1]] = record
            else:
                self._writes.setdefault((namespace, where[0]), {})[where[1], where[2]] = record

    def take(self) -> list[Record]:
        """What was put since this was called last."""
        new, self._new = self._new, []
        return new

    def latest(self) -> list[Record]:
        """The last checkpoint of the graph itself, with its values: what the next run goes on from."""
        if "" not in self._checkpoints:
            return []
        record = self._checkpoints[""][max(self._checkpoints[""])]
        versions = self._load(record[4])["channel_versions"]
        values = [self._values.get(("", name, version)) for name, version in versions.items()]
        return [record, *(value for value in values if value is not None)]

    def history(self) -> list[Record]:
        """All of the graph itself: for channels whose value is what was ever written to them."""
        checkpoints = list(self._checkpoints.get("", {}).values())
        values = [record for (namespace, *_), record in self._values.items() if not namespace]
        writes = [
            record
            for (namespace, _), records in self._writes.items()
            if not namespace
            for record in records.values()
        ]
        return [*checkpoints, *values, *writes]

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See the base class."""
        namespace = config["configurable"].get("checkpoint_ns", "")
        known = self._checkpoints.get(namespace, {})
        id = get_checkpoint_id(config) or max(known, default="")
        return self._tuple(config, namespace, id) if id in known else None

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """See the base class."""
        wanted = config or {"configurable": {}}
        namespace = wanted["configurable"].get("checkpoint_ns", "")
        end = get_checkpoint_id(before) if before else None
        found = 0
        for id in sorted(self._checkpoints.get(namespace, {}), reverse=True):
            one = self._tuple(wanted, namespace, id)
            fits = all(one.metadata.get(name) == value for name, value in (filter or {}).items())
            if fits and (end is None or id < end):
                if found == limit:
                    return
                found += 1
                yield one

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """See the base class."""
        namespace, id = config["configurable"].get("checkpoint_ns", ""), checkpoint["id"]
        values = checkpoint["channel_values"]
        for name, version in new_versions.items():
            if name in values:
                self._add(["value", namespace, name, version, self._dump(values[name])])
        rest = {name: value for name, value in checkpoint.items() if name != "channel_values"}
        about = self._dump(get_checkpoint_metadata(config, metadata))
        parent = config["configurable"].get("checkpoint_id")
        self._add(["checkpoint", namespace, id, parent, self._dump(rest), about])
        return _place(config, namespace, id)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """See the base class."""
        namespace, id = (
            config["configurable"].get("checkpoint_ns", ""),
            config["configurable"]["checkpoint_id"],
        )
        known = self._writes.get((namespace, id), {})
        for number, (channel, value) in enumerate(writes):
            place = WRITES_IDX_MAP.get(channel, number)
            if place < 0 or (task_id, place) not in known:
                self._add(["write", namespace, id, task_id, place, channel, self._dump(value), task_path])

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See the base class."""
        return self.get_tuple(config)

    async def alist(self, config: RunnableConfig | None, **arguments: Any) -> AsyncIterator[CheckpointTuple]:
        """See the base class."""
        for one in self.list(config, **arguments):
            yield one

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """See the base class."""
        place = self.put(config, checkpoint, metadata, new_versions)
        if metadata.get("source") == "loop" and not config["configurable"].get("checkpoint_ns"):
            await self._save()
        return place

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """See the base class."""
        self.put_writes(config, writes, task_id, task_path)

    def _add(self, record: Record) -> None:
        self.restore([record])
        self._new.append(record)

    def _tuple(self, config: RunnableConfig, namespace: str, id: str) -> CheckpointTuple:
        _, _, _, parent, rest, about = self._checkpoints[namespace][id]
        checkpoint = self._load(rest)
        found = {
            name: self._values.get((namespace, name, version))
            for name, version in checkpoint["channel_versions"].items()
        }
        checkpoint["channel_values"] = {
            name: self._load(record[4]) for name, record in found.items() if record is not None
        }
        written = sorted(
            self._writes.get((namespace, id), {}).values(), key=lambda record: (record[7], record[3:5])
        )
        return CheckpointTuple(
            config=_place(config, namespace, id),
            checkpoint=checkpoint,
            metadata=self._load(about),
            parent_config=_place(config, namespace, parent) if parent else None,
            pending_writes=[(record[3], record[5], self._load(record[6])) for record in written],
        )

    def _dump(self, value: Any) -> Json:
        kind, data = self.serde.dumps_typed(value)
        return [kind, binascii.b2a_base64(data, newline=False).decode()]

    def _load(self, dumped: Json) -> Any:
        kind, data = dumped
        return self.serde.loads_typed((kind, binascii.a2b_base64(data)))


def _place(config: RunnableConfig, namespace: str, id: str) -> RunnableConfig:
    thread = config["configurable"].get("thread_id")
    return {"configurable": {"thread_id": thread, "checkpoint_ns": namespace, "checkpoint_id": id}}
