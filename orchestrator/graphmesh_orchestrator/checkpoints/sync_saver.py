"""The synchronous methods of a saver, for graphs that a node calls with `invoke`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphmesh_chassis.own_loop import OwnLoop
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)


class SyncSaver(BaseCheckpointSaver[int]):
    """A saver whose synchronous methods wait, in another thread, for the asynchronous ones on its event loop.

    On the event loop itself they raise InvalidStateError.
    """

    def __init__(self, **options: Any) -> None:
        """Remember the running event loop."""
        super().__init__(**options)
        self._loop = OwnLoop("a graph is invoked synchronously on the event loop: await its `ainvoke` or `astream`")

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._loop.wait(self.aget_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        found = self.alist(config, filter=filter, before=before, limit=limit)

        async def following() -> CheckpointTuple | None:
            return await anext(found, None)

        while item := self._loop.wait(following()):
            yield item

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self._loop.wait(self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._loop.wait(self.aput_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        self._loop.wait(self.adelete_thread(thread_id))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return self._loop.wait(self.aget_delta_channel_history(config=config, channels=channels))
