"""The memory twin of the saver."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver

from graphmesh_orchestrator.checkpoints.config_keys import TENANT, CheckpointRef, run_epoch_of, stored_thread, tenant_of
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
        stored = await super().aput(_stored(config), checkpoint, metadata, new_versions)
        if epoch := run_epoch_of(config):
            self._checkpoints_by_run.setdefault(epoch.run_id, set()).add(_key(stored))
        return _of_tenant(stored, tenant_of(config))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        found = await super().aget_tuple(_stored(config))
        return found and _tuple_of_tenant(found, tenant_of(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        stored = _stored(config) if config else None
        async for found in super().alist(stored, filter=filter, before=before, limit=limit):
            yield _tuple_of_tenant(found, tenant_of(config))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        config = _stored(config)
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


def _stored(config: RunnableConfig) -> RunnableConfig:
    """Return a config whose thread has the name of stored rows."""
    given = config["configurable"]
    return {**config, "configurable": {**given, "thread_id": stored_thread(given), TENANT: None}}


def _of_tenant(config: RunnableConfig, tenant: str | None) -> RunnableConfig:
    return CheckpointRef.of(config).config(tenant)


def _tuple_of_tenant(found: CheckpointTuple, tenant: str | None) -> CheckpointTuple:
    if tenant is None:
        return found
    parent = found.parent_config and _of_tenant(found.parent_config, tenant)
    return found._replace(config=_of_tenant(found.config, tenant), parent_config=parent)
