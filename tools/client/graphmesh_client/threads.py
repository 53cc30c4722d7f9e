"""Threads: the state that runs read and write."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from graphmesh.orchestrator.v1 import (
    CreateThreadRequest,
    DeleteThreadRequest,
    ForkThreadRequest,
    GetThreadRequest,
    GetThreadStateRequest,
    ListThreadsRequest,
    ListThreadStatesRequest,
    PruneThreadsRequest,
    PruneThreadsResponse,
    ReadArtifactRequest,
    Thread,
    ThreadService,
    ThreadState,
    ThreadStateView,
    ThreadStatus,
    UpdateThreadRequest,
    UpdateThreadStateRequest,
)
from graphmesh_contracts.structs import require_exact

from graphmesh_client.calls import NO_LIMIT, Calls, duration_of

NO_LABELS: Mapping[str, str] = {}


class Threads:
    """The threads of the client's tenant. Calls that are not idempotent are not retried after a lost response."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self,
        thread_id: str = "",
        *,
        graph: str = "",
        labels: Mapping[str, str] = NO_LABELS,
        time_to_live: float | None = None,
    ) -> Thread:
        """Create a thread; without an id, one is generated. `time_to_live` is in seconds after its last use."""
        request = CreateThreadRequest(thread_id=thread_id, graph=graph, labels=labels)
        if time_to_live is not None:
            request.time_to_live.CopyFrom(duration_of(time_to_live))
        return (await self._calls.call_once(ThreadService.CreateThread, request)).thread

    async def get(self, thread_id: str) -> Thread:
        return (await self._calls.call(ThreadService.GetThread, GetThreadRequest(thread_id=thread_id))).thread

    async def find(
        self,
        *,
        graph: str = "",
        status: ThreadStatus.ValueType = ThreadStatus.THREAD_STATUS_UNSPECIFIED,
        thread_id_prefix: str = "",
        limit: int = 50,
    ) -> list[Thread]:
        """Return the newest threads."""
        request = ListThreadsRequest(graph=graph, status=status, thread_id_prefix=thread_id_prefix)
        return await self._calls.collect(ThreadService.ListThreads, request, lambda page: page.threads, limit)

    async def update(
        self, thread_id: str, *, labels: Mapping[str, str] = NO_LABELS, time_to_live: float | None = None
    ) -> Thread:
        """Set labels and the seconds to live. An empty value deletes a label; 0 seconds mean indefinitely."""
        request = UpdateThreadRequest(thread_id=thread_id, labels=labels)
        if time_to_live is not None:
            request.time_to_live.CopyFrom(duration_of(time_to_live))
        return (await self._calls.call(ThreadService.UpdateThread, request)).thread

    async def delete(self, thread_id: str) -> None:
        """Delete a thread with its history, runs and artifacts."""
        await self._calls.call_once(ThreadService.DeleteThread, DeleteThreadRequest(thread_id=thread_id))

    async def state(
        self, thread_id: str, checkpoint_id: str = "", *, namespace: Sequence[str] = (), subgraphs: bool = False
    ) -> ThreadState:
        """Return the state at a checkpoint, by default the newest.

        Args:
            namespace: the subgraph to read, as its events and `tasks` have it; by default the thread's graph.
            subgraphs: whether its `tasks` have the states of subgraphs.
        """
        request = GetThreadStateRequest(
            thread_id=thread_id, checkpoint_id=checkpoint_id, namespace=namespace, subgraphs=subgraphs
        )
        return (await self._calls.call(ThreadService.GetThreadState, request)).state

    def history(
        self,
        thread_id: str,
        limit: int = NO_LIMIT,
        *,
        namespace: Sequence[str] = (),
        view: ThreadStateView.ValueType = ThreadStateView.THREAD_STATE_VIEW_FULL,
    ) -> AsyncGenerator[ThreadState, None]:
        """Return the states of a thread, or of a subgraph, the newest first; THREAD_STATE_VIEW_BASIC without values."""
        request = ListThreadStatesRequest(thread_id=thread_id, view=view, namespace=namespace)
        return self._calls.iterate(ThreadService.ListThreadStates, request, lambda page: page.states, limit)

    async def update_state(
        self,
        thread_id: str,
        values: Mapping[str, Any] | None,
        *,
        as_node: str = "",
        checkpoint_id: str = "",
        namespace: Sequence[str] = (),
    ) -> ThreadState:
        """Write to the state as the node would, and return the new state. An older checkpoint forks the history.

        With a `namespace` to that of a subgraph: node and checkpoint are then its own.

        Raises:
            TypeError: the values are not a mapping.
            NotJsonError: an integer is beyond 2^53.
        """
        if values is not None and not isinstance(values, Mapping):
            raise TypeError(f"an update of a state must be a mapping, not {type(values).__name__}")
        request = UpdateThreadStateRequest(
            thread_id=thread_id, as_node=as_node, checkpoint_id=checkpoint_id, namespace=namespace
        )
        require_exact(values)
        request.values.CopyFrom(json_format.ParseDict(dict(values or {}), Struct()))
        return (await self._calls.call_once(ThreadService.UpdateThreadState, request)).state

    async def fork(self, thread_id: str, *, checkpoint_id: str = "", new_thread_id: str = "") -> Thread:
        """Create a thread with the state of this one, at a checkpoint or the newest."""
        request = ForkThreadRequest(thread_id=thread_id, checkpoint_id=checkpoint_id, new_thread_id=new_thread_id)
        return (await self._calls.call_once(ThreadService.ForkThread, request)).thread

    async def prune(self, unused_for: float, *, delete: bool = False, dry_run: bool = False) -> PruneThreadsResponse:
        """Prune the history of all threads not used for so many seconds, or `delete` the threads."""
        request = PruneThreadsRequest(unused_for=duration_of(unused_for), delete=delete, dry_run=dry_run)
        return await self._calls.call(ThreadService.PruneThreads, request)

    async def artifact(self, thread_id: str, digest: str) -> bytes:
        """Read an artifact of the thread by the digest in its URI."""
        request = ReadArtifactRequest(thread_id=thread_id, digest=digest)
        parts = [part.data async for part in self._calls.stream(ThreadService.ReadArtifact, request)]
        return b"".join(parts)
