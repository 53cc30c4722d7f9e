"""ThreadService: decode, use case, encode."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Any

from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.hooks import INLINE_BYTES
from graphmesh_chassis.large_values import convert_aside, is_large, read_places
from graphmesh_chassis.pages import PAGE_BYTES, Page, decode_position, page_of, page_size

from graphmesh_orchestrator.registry import Registry
from graphmesh_orchestrator.roles import RoleRules
from graphmesh_orchestrator.runs.convert import json_object, role_names
from graphmesh_orchestrator.threads import convert
from graphmesh_orchestrator.threads.deletion import Deletion
from graphmesh_orchestrator.threads.forks_sql import SqlForks
from graphmesh_orchestrator.threads.states import ThreadStates
from graphmesh_orchestrator.threads.thread import State, Thread
from graphmesh_orchestrator.threads.threads import Threads

PART_BYTES = 256 * 1024
"""The bytes of an artifact in one message."""


class ThreadServicer(pb.ThreadServiceServicer):
    def __init__(
        self,
        threads: Threads,
        states: ThreadStates,
        forks: SqlForks,
        deletion: Deletion,
        registry: Registry,
        roles: RoleRules,
    ) -> None:
        self._threads, self._states, self._forks = threads, states, forks
        self._deletion, self._registry, self._roles = deletion, registry, roles

    async def CreateThread(self, request: pb.CreateThreadRequest, context: Any) -> pb.CreateThreadResponse:
        if request.graph:
            self._registry.get(request.graph, partial(self._roles.may_run, role_names(current_call().caller)))
        ttl = convert.ttl_seconds(request.time_to_live) if request.HasField("time_to_live") else 0
        thread_id = convert.new_id(request.thread_id)
        thread = await self._threads.create(_tenant(), thread_id, request.graph, request.labels, ttl)
        return pb.CreateThreadResponse(thread=convert.thread_message(thread))

    async def GetThread(self, request: pb.GetThreadRequest, context: Any) -> pb.GetThreadResponse:
        return pb.GetThreadResponse(thread=convert.thread_message(await self._get(request.thread_id)))

    async def ListThreads(self, request: pb.ListThreadsRequest, context: Any) -> pb.ListThreadsResponse:
        size, status = page_size(request.page_size), convert.filter_status(request.status)
        before = decode_position(request.page_token, datetime, str)
        found = await self._threads.find(_tenant(), request.graph, status, before, size + 1, request.thread_id_prefix)
        page = page_of(found, size, convert.thread_message, lambda thread: (thread.created, thread.thread_id))
        return pb.ListThreadsResponse(threads=page.messages, next_page_token=page.next_token)

    async def UpdateThread(self, request: pb.UpdateThreadRequest, context: Any) -> pb.UpdateThreadResponse:
        ttl = convert.ttl_seconds(request.time_to_live) if request.HasField("time_to_live") else None
        changed = await self._threads.update(_tenant(), request.thread_id, request.labels, ttl)
        return pb.UpdateThreadResponse(thread=convert.thread_message(changed))

    async def DeleteThread(self, request: pb.DeleteThreadRequest, context: Any) -> pb.DeleteThreadResponse:
        await self._deletion.delete(_tenant(), request.thread_id)
        return pb.DeleteThreadResponse()

    async def GetThreadState(self, request: pb.GetThreadStateRequest, context: Any) -> pb.GetThreadStateResponse:
        async with read_places("states"):
            thread = await self._get(request.thread_id)
            state = await self._states.get(
                thread, request.checkpoint_id, request.namespace, subgraphs=request.subgraphs
            )
            return pb.GetThreadStateResponse(state=await _message_of(state))

    async def ListThreadStates(self, request: pb.ListThreadStatesRequest, context: Any) -> pb.ListThreadStatesResponse:
        page: Page[pb.ThreadState] = Page(page_size(request.page_size), PAGE_BYTES)
        _, before = decode_position(request.page_token, str, str) or ("", "")
        is_basic = request.view == pb.ThreadStateView.THREAD_STATE_VIEW_BASIC
        history = self._states.history(await self._get(request.thread_id), before, request.namespace, is_basic=is_basic)
        async with read_places("states"), aclosing(history) as states:
            async for state in states:
                message = await _message_of(state)
                if not page.add(message, (request.thread_id, message.checkpoint_id)):
                    break
        return pb.ListThreadStatesResponse(states=page.messages, next_page_token=page.next_token)

    async def UpdateThreadState(
        self, request: pb.UpdateThreadStateRequest, context: Any
    ) -> pb.UpdateThreadStateResponse:
        thread = await self._get(request.thread_id)
        if thread.graph:
            self._roles.require_graph(role_names(current_call().caller), thread.graph)
        values = await convert_aside(request.ByteSize() > INLINE_BYTES, json_object, request.values, "values")
        state = await self._states.update(thread, values, request.as_node, request.checkpoint_id, request.namespace)
        return pb.UpdateThreadStateResponse(state=await _message_of(state))

    async def ForkThread(self, request: pb.ForkThreadRequest, context: Any) -> pb.ForkThreadResponse:
        new_id = convert.new_id(request.new_thread_id)
        forked = await self._forks.fork(_tenant(), request.thread_id, request.checkpoint_id, new_id)
        return pb.ForkThreadResponse(thread=convert.thread_message(forked))

    async def PruneThreads(self, request: pb.PruneThreadsRequest, context: Any) -> pb.PruneThreadsResponse:
        unused_for = request.unused_for.ToTimedelta()
        deleted = await self._deletion.prune(_tenant(), unused_for, request.delete, request.dry_run)
        return convert.deleted_message(deleted)

    async def ReadArtifact(
        self, request: pb.ReadArtifactRequest, context: Any
    ) -> AsyncIterator[pb.ReadArtifactResponse]:
        media_type, data = await self._forks.artifact(_tenant(), request.thread_id, request.digest)
        yield pb.ReadArtifactResponse(data=data[:PART_BYTES], media_type=media_type)
        for start in range(PART_BYTES, len(data), PART_BYTES):
            yield pb.ReadArtifactResponse(data=data[start : start + PART_BYTES])

    async def _get(self, thread_id: str) -> Thread:
        return await self._threads.get(_tenant(), thread_id)


async def _message_of(state: State) -> pb.ThreadState:
    return await convert_aside(is_large(*_values_of(state)), convert.state_message, state)


def _values_of(state: State) -> Iterator[Any]:
    yield state.values
    for task in state.tasks:
        if task.state:
            yield from _values_of(task.state)


def _tenant() -> str:
    return current_call().caller.tenant
