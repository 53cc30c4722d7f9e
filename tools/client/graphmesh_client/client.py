"""Runs over gRPC, through Envoy's edge or directly."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any, TypedDict, Unpack
from uuid import uuid4

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value
from graphmesh.orchestrator.v1 import (
    CancelRunRequest,
    Ceilings,
    CreateRunRequest,
    GetRunRequest,
    Graph,
    ListGraphsRequest,
    ListRunsRequest,
    MultitaskStrategy,
    ResumeRunRequest,
    Run,
    RunEvent,
    RunService,
    RunStatus,
    StreamRunRequest,
    WaitRunRequest,
)
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DependencyError

from graphmesh_client.approvals import Approvals
from graphmesh_client.calls import RETRY_SECONDS, Calls, seconds_of
from graphmesh_client.deliveries import Deliveries
from graphmesh_client.threads import Threads

ACTIVE = (RunStatus.RUN_STATUS_PENDING, RunStatus.RUN_STATUS_RUNNING)
LONGEST_WAIT = 60.0
"""Seconds of one call of WaitRun."""
STABLE_SECONDS = 2.0
"""A stream that was open so long has reached the orchestrator, though it may have had nothing to say."""


class RunOptions(TypedDict, total=False):
    """How a run is to be run; see CreateRunRequest."""

    timeout: float
    """How long the run may take, in seconds."""
    recursion_limit: int
    labels: Mapping[str, str]
    multitask_strategy: MultitaskStrategy.ValueType
    schedule_time: datetime
    """When to begin at the earliest; with a zone."""
    ceilings: Ceilings
    webhook_url: str


class Client:
    """A client of one tenant. Close it with `async with`.

    Every method raises `graphmesh_chassis.errors.GraphmeshError`. What can be repeated safely is repeated, until
    `patience` seconds have passed without an answer.
    """

    def __init__(self, address: str, *, tenant: str = "default", patience: float = 10.0) -> None:
        self._calls = Calls(address, tenant, patience)
        self.threads = Threads(self._calls)
        self.approvals = Approvals(self._calls)
        self.deliveries = Deliveries(self._calls)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._calls.close()

    async def create_run(
        self,
        graph: str,
        input: Mapping[str, Any] | None,
        *,
        thread_id: str = "",
        checkpoint_id: str = "",
        request_id: str = "",
        **options: Unpack[RunOptions],
    ) -> Run:
        """Begin a run. Without an input it goes on from the state of its thread.

        A `request_id` is made where none is given, so that a lost answer never makes a second run. Give one of your own
        where your program itself may die and ask again: the same request then gets the same run.

        Raises:
            TypeError: the input is no mapping.
            ValueError: `schedule_time` has no zone.
        """
        if input is not None and not isinstance(input, Mapping):
            raise TypeError(f"the input of a graph has to be a mapping, not {type(input).__name__}")
        request = _run_request(
            options,
            graph=graph,
            thread_id=thread_id,
            checkpoint_id=checkpoint_id,
            request_id=request_id or uuid4().hex,
        )
        if input is not None:
            json_format.ParseDict(dict(input), request.input)
            request.input.SetInParent()
        return (await self._calls.call(RunService.CreateRun, request)).run

    async def get_run(self, run_id: str) -> Run:
        return (await self._calls.call(RunService.GetRun, GetRunRequest(run_id=run_id))).run

    async def wait_run(self, run_id: str, timeout: float = 600) -> Run:
        """The run when it has ended or parked, or as it is after `timeout` seconds."""
        deadline = Deadline.after(timeout)
        while True:
            request = WaitRunRequest(run_id=run_id, max_wait=seconds_of(min(deadline.remaining, LONGEST_WAIT)))
            run = (await self._calls.call(RunService.WaitRun, request, timeout=LONGEST_WAIT + 10)).run
            if run.status not in ACTIVE or deadline.remaining == 0:
                return run

    async def stream_run(self, run_id: str, after_seq: int = 0) -> AsyncGenerator[RunEvent, None]:
        """The events of a run after `after_seq`, until it ends or parks: each once, in order, also over broken
        connections. A parked run goes on under the same numbers: stream it again from the last."""
        patience = Deadline.after(self._calls.patience)
        while True:
            began, seen = time.monotonic(), after_seq
            try:
                async with aclosing(self._stream(run_id, after_seq)) as events:
                    async for event in events:
                        after_seq = event.seq
                        yield event
                return
            except DependencyError:
                if after_seq > seen or time.monotonic() - began > STABLE_SECONDS:
                    patience = Deadline.after(self._calls.patience)
                elif patience.remaining == 0:
                    raise
                else:
                    await asyncio.sleep(RETRY_SECONDS)

    async def resume_run(self, run_id: str, answers: Mapping[str, Any]) -> Run:
        """Answer questions of a parked run, by `interrupt_id`, with anything that JSON has. It goes on when all are
        answered; the same answers again change nothing."""
        values = {key: json_format.ParseDict(answer, Value()) for key, answer in answers.items()}
        request = ResumeRunRequest(run_id=run_id, answers=values)
        return (await self._calls.call(RunService.ResumeRun, request)).run

    async def cancel_run(self, run_id: str, reason: str) -> Run:
        """Ask for a run to be ended; the run as it is then."""
        request = CancelRunRequest(run_id=run_id, reason=reason)
        return (await self._calls.call(RunService.CancelRun, request)).run

    async def list_runs(
        self,
        *,
        graph: str = "",
        thread_id: str = "",
        status: RunStatus.ValueType = RunStatus.RUN_STATUS_UNSPECIFIED,
        limit: int = 50,
    ) -> list[Run]:
        """The newest runs."""
        request = ListRunsRequest(graph=graph, thread_id=thread_id, status=status)
        return await self._calls.listed(RunService.ListRuns, request, lambda page: page.runs, limit)

    async def list_graphs(self) -> list[Graph]:
        return list((await self._calls.call(RunService.ListGraphs, ListGraphsRequest())).graphs)

    async def _stream(self, run_id: str, after_seq: int) -> AsyncGenerator[RunEvent, None]:
        request = StreamRunRequest(run_id=run_id, after_seq=after_seq)
        async with aclosing(self._calls.stream(RunService.StreamRun, request)) as responses:
            async for response in responses:
                yield response.event


def _run_request(options: RunOptions, **place: Any) -> CreateRunRequest:
    fields: dict[str, Any] = {**options, **place}
    timeout, schedule_time = fields.pop("timeout", None), fields.pop("schedule_time", None)
    request = CreateRunRequest(**fields)
    if timeout is not None:
        request.timeout.CopyFrom(seconds_of(timeout))
    if schedule_time is not None and schedule_time.tzinfo is None:
        raise ValueError(f"schedule_time has to have a zone: {schedule_time}")
    if schedule_time is not None:
        request.schedule_time.FromDatetime(schedule_time)
    return request
