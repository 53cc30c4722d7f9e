"""The memory twin of the saver."""

from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.memory import InMemorySaver

from graphmesh_orchestrator.checkpoints.config_keys import run_epoch_of
from graphmesh_orchestrator.checkpoints.encoding import without_answers_of_cut_off


class MemorySaver(InMemorySaver):
    """LangGraph's saver in memory, with the operations that it lacks: pruning, and deletion by run.

    It stores everything at once and fences nothing. Graphs with delta channels must not be pruned.
    """

    def __init__(self) -> None:
        super().__init__()
        self._checkpoints_by_run: dict[str, set[tuple[str, str, str]]] = {}
        """Thread, namespace and id."""
        self._tasks_by_run: dict[str, set[tuple[str, str, str, str]]] = {}
        """Thread, namespace, id of the checkpoint, and task."""

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        stored = await super().aput(config, checkpoint, metadata, new_versions)
        if epoch := run_epoch_of(config):
            self._checkpoints_by_run.setdefault(epoch.run_id, set()).add(_key(stored))
        return stored

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await super().aput_writes(config, without_answers_of_cut_off(writes), task_id, task_path)
        if epoch := run_epoch_of(config):
            self._tasks_by_run.setdefault(epoch.run_id, set()).add((*_key(config), task_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            for key in self._checkpoints_by_run.pop(run_id, ()):
                self._delete(*key)
            for thread_id, ns, checkpoint_id, task_id in self._tasks_by_run.pop(run_id, ()):
                writes = self.writes.get((thread_id, ns, checkpoint_id), {})
                for write in [write for write in writes if write[0] == task_id]:
                    del writes[write]

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        for thread_id in thread_ids:
            for ns, stored in self.storage.get(thread_id, {}).items():
                for checkpoint_id in sorted(stored)[: None if strategy == "delete" else -1]:
                    self._delete(thread_id, ns, checkpoint_id)

    def _delete(self, thread_id: str, ns: str, checkpoint_id: str) -> None:
        self.storage[thread_id][ns].pop(checkpoint_id, None)
        self.writes.pop((thread_id, ns, checkpoint_id), None)


def _key(config: RunnableConfig) -> tuple[str, str, str]:
    given = config["configurable"]
    return given["thread_id"], given.get("checkpoint_ns", ""), given["checkpoint_id"]
