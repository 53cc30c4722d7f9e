"""Runs over gRPC, through Envoy's edge or directly."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, TypeVar
from uuid import uuid4

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from graphmesh.orchestrator.v1 import (
    CancelRunRequest,
    CreateRunRequest,
    GetRunRequest,
    Graph,
    ListGraphsRequest,
    ListRunsRequest,
    Run,
    RunEvent,
    RunService,
    RunStatus,
    StreamRunRequest,
    WaitRunRequest,
)
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DependencyError
from graphmesh_contracts import Rpc

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

RETRY_SECONDS = 0.5
"""Between two tries to reach the orchestrator."""
ACTIVE = (RunStatus.RUN_STATUS_PENDING, RunStatus.RUN_STATUS_RUNNING)


class Client:
    """A client of one tenant. Close it with `async with`.

    Every method raises `graphmesh_chassis.errors.GraphmeshError`. What can be repeated safely is repeated, until
    `patience` seconds have passed without an answer.
    """

    def __init__(self, address: str, *, tenant: str = "default", patience: float = 10.0) -> None:
        self._channel = Channel(address)
        self._headers = [(metadata.TENANT, tenant)]
        self._patience = patience

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.__aexit__()

    async def create_run(
        self,
        graph: str,
        input: Mapping[str, Any],
        *,
        thread_id: str = "",
        request_id: str = "",
        timeout: float | None = None,
        recursion_limit: int = 0,
    ) -> Run:
        """Begin a run. `timeout` is the run's own, in seconds.

        A `request_id` is made where none is given, so that a lost answer never makes a second run.
        """
        request = CreateRunRequest(
            graph=graph,
            input=json_format.ParseDict(dict(input), Struct()),
            thread_id=thread_id,
            request_id=request_id or uuid4().hex,
            recursion_limit=recursion_limit,
        )
        if timeout is not None:
            request.timeout.FromNanoseconds(round(timeout * 1e9))
        return (await self._call(RunService.CreateRun, request, 10)).run

    async def get_run(self, run_id: str) -> Run:
        return (await self._call(RunService.GetRun, GetRunRequest(run_id=run_id), 5)).run

    async def wait_run(self, run_id: str, timeout: float = 600) -> Run:
        """The run when it has ended, or as it is after `timeout` seconds."""
        deadline = Deadline.after(timeout)
        while True:
            request = WaitRunRequest(run_id=run_id)
            request.max_wait.FromNanoseconds(round(min(deadline.remaining, 60) * 1e9))
            run = (await self._call(RunService.WaitRun, request, 70)).run
            if run.status not in ACTIVE or deadline.remaining == 0:
                return run

    async def stream_run(self, run_id: str, after_seq: int = 0) -> AsyncGenerator[RunEvent, None]:
        """The events of a run after `after_seq`, to its end: each once, in order, also over broken connections."""
        patience = Deadline.after(self._patience)
        while True:
            request = StreamRunRequest(run_id=run_id, after_seq=after_seq)
            try:
                stream = self._channel.stream(RunService.StreamRun, request, timeout=3600, headers=self._headers)
                async for response in stream:
                    after_seq, patience = response.event.seq, Deadline.after(self._patience)
                    yield response.event
                return
            except DependencyError:
                if patience.remaining == 0:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    async def cancel_run(self, run_id: str, reason: str) -> Run:
        """Ask for a run to be ended; the run as it is then."""
        return (await self._call(RunService.CancelRun, CancelRunRequest(run_id=run_id, reason=reason), 10)).run

    async def list_runs(self, *, graph: str = "", thread_id: str = "", limit: int = 50) -> list[Run]:
        """The newest runs, at most 500."""
        request = ListRunsRequest(graph=graph, thread_id=thread_id, page_size=limit)
        return list((await self._call(RunService.ListRuns, request, 5)).runs)

    async def list_graphs(self) -> list[Graph]:
        return list((await self._call(RunService.ListGraphs, ListGraphsRequest(), 5)).graphs)

    async def _call(self, rpc: Rpc[RequestT, ResponseT], request: RequestT, timeout: float) -> ResponseT:
        patience = Deadline.after(self._patience)
        while True:
            try:
                return await self._channel.unary(rpc, request, timeout=timeout, headers=self._headers)
            except DependencyError as error:
                if not error.retryable or patience.remaining == 0:
                    raise
                wait = error.retry_after or RETRY_SECONDS
            await asyncio.sleep(wait)
