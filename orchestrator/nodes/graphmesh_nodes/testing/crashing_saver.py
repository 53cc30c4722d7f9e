"""A checkpointer in memory whose process can die."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import WRITES_IDX_MAP, ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.memory import InMemorySaver


class CrashingSaver(InMemorySaver):
    """Stores checkpoints until the process dies, and nothing from then on."""

    def __init__(self, on_crash: Callable[[], None]) -> None:
        super().__init__()
        self._on_crash = on_crash
        self.is_dead = False
        self.crash_after = ""
        """The node whose next result kills the process before it is stored."""
        self.task_nodes: Mapping[str, str] = {}
        """The nodes of the tasks that have begun, by their ids."""

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        is_result = any(channel not in WRITES_IDX_MAP for channel, _ in writes)
        if is_result and self.crash_after and self.task_nodes.get(task_id) == self.crash_after:
            self.crash_after = ""
            self._on_crash()
        if not self.is_dead:
            await super().aput_writes(config, writes, task_id, task_path)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return config if self.is_dead else await super().aput(config, checkpoint, metadata, new_versions)
