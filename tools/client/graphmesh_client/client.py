"""The client of runs over gRPC, through Envoy's edge or directly."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, TypedDict, Unpack
from uuid import uuid4

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct, Value
from graphmesh.orchestrator.v1 import (
    BudgetStatus,
    CancelRunRequest,
    Ceilings,
    CreateRunRequest,
    ExecuteRunRequest,
    Feedback,
    GetRunRequest,
    Graph,
    ListBudgetsRequest,
    ListGraphsRequest,
    ListRunsRequest,
    MultitaskStrategy,
    RecordFeedbackRequest,
    ResumeRunRequest,
    Run,
    RunEvent,
    RunService,
    RunStatus,
    RunView,
    StreamMode,
    StreamRunRequest,
    StreamRunResponse,
    WaitRunRequest,
)
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DependencyError
from graphmesh_contracts.structs import require_exact

from graphmesh_client.approvals import Approvals
from graphmesh_client.assistants import Assistants
from graphmesh_client.calls import RETRY_SECONDS, Calls, OnRetry, duration_of
from graphmesh_client.deliveries import Deliveries
from graphmesh_client.run_status import RunPhase, phase_of
from graphmesh_client.schedules import Schedules
from graphmesh_client.store import Store
from graphmesh_client.threads import Threads
from graphmesh_client.token import TokenSource
from graphmesh_client.tracing import trace_headers

MAX_WAIT = 60.0
"""Seconds of one call of WaitRun."""
BATCH_SIZE = 200
"""The most events in a message of StreamRun."""
STABLE_SECONDS = 2.0
"""Seconds after which an open stream has reached the orchestrator, even without an event."""


class RunOptions(TypedDict, total=False):
    """Options of a run; see CreateRunRequest."""

    timeout: float
    """Seconds that the run may take."""
    recursion_limit: int
    labels: Mapping[str, str]
    multitask_strategy: MultitaskStrategy.ValueType
    schedule_time: datetime
    """The earliest time to begin; it must have a time zone."""
    ceilings: Ceilings
    webhook_url: str
    context: Mapping[str, Any]
    """The context of the graph's nodes."""
    configurable: Mapping[str, Any]
    """Keys for the `configurable` of the nodes' config."""
    assistant: str
    """The id or the name of the assistant that configures the run; the graph is then empty."""
    assistant_version: int
    """The version of the assistant; by default the latest."""
    interrupt_before: Sequence[str]
    """Nodes before which the run parks; `*` for all."""
    interrupt_after: Sequence[str]
    """Nodes after which the run parks."""
    stream_modes: Sequence[StreamMode.ValueType]
    """The contents of its events; by default updates, custom events and text."""


class Client:
    """A client of one tenant. Close it with `async with`.

    Every method raises a `GraphmeshError`, of the class of its gRPC status. Calls that are safe to repeat are retried,
    until `retry_timeout` seconds have passed without a response.
    """

    def __init__(
        self,
        address: str,
        *,
        tenant: str = "default",
        retry_timeout: float = 10.0,
        on_retry: OnRetry = lambda error: None,
        token: TokenSource | None = None,
    ) -> None:
        """
        Args:
            tenant: that of the calls, where the edge takes it from the client. A token names its own.
            token: for an edge that requires one, or an asynchronous function that returns one, which is called again
                30 seconds before it expires. By default it is that of the environment variable GRAPHMESH_TOKEN, or, for
                the tenant `default`, that of a mesh that `graphmesh up` runs in the present folder.
            address: `http://host:port` or `host:port`, without TLS, or `https://host`. TLS trusts the certificates in
                the file of the environment variable GRPC_DEFAULT_SSL_ROOTS_FILE_PATH, by default those of gRPC.

        Raises:
            ValueError: the address has another form.
        """
        self._calls = Calls(address, tenant, retry_timeout, on_retry, token)
        self.threads = Threads(self._calls)
        self.store = Store(self._calls)
        self.assistants = Assistants(self._calls)
        self.schedules = Schedules(self._calls)
        self.approvals = Approvals(self._calls)
        self.deliveries = Deliveries(self._calls)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
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
        """Begin a run. Without an input it continues from the state of its thread.

        A `request_id` is generated where none is given, so that a lost response never leads to a second run. Pass your
        own where your program itself may die and repeat the call: the same request id gets the same run.

        Raises:
            TypeError: the input is not a mapping.
            ValueError: `schedule_time` has no time zone, or an integer is beyond 2^53.
        """
        request = _run_request(options, graph, input, thread_id, checkpoint_id, request_id)
        return (await self._calls.call(RunService.CreateRun, request, headers=trace_headers())).run

    async def execute_run(
        self,
        graph: str,
        input: Mapping[str, Any] | None,
        *,
        max_wait: float = 600,
        thread_id: str = "",
        checkpoint_id: str = "",
        request_id: str = "",
        **options: Unpack[RunOptions],
    ) -> Run:
        """Begin a run, wait until it has ended or parked, at most `max_wait` seconds, and return it.

        As `create_run` and `wait_run`, in one call where the run takes less than a minute.
        """
        deadline = Deadline.after(max_wait)
        request = ExecuteRunRequest(
            run=_run_request(options, graph, input, thread_id, checkpoint_id, request_id),
            max_wait=duration_of(min(max_wait, MAX_WAIT)),
        )
        headers = trace_headers(waits=True)
        run = (await self._calls.call(RunService.ExecuteRun, request, MAX_WAIT + 10, headers)).run
        if phase_of(run.status) is not RunPhase.ACTIVE or deadline.remaining == 0:
            return run
        return await self.wait_run(run.run_id, deadline.remaining)

    async def get_run(self, run_id: str) -> Run:
        return (await self._calls.call(RunService.GetRun, GetRunRequest(run_id=run_id))).run

    async def wait_run(self, run_id: str, timeout: float = 600) -> Run:
        """Wait until a run has ended or parked, at most `timeout` seconds, and return it."""
        deadline = Deadline.after(timeout)
        while True:
            request = WaitRunRequest(run_id=run_id, max_wait=duration_of(min(deadline.remaining, MAX_WAIT)))
            run = (await self._calls.call(RunService.WaitRun, request, timeout=MAX_WAIT + 10)).run
            if phase_of(run.status) is not RunPhase.ACTIVE or deadline.remaining == 0:
                return run

    async def stream_run(
        self, run_id: str, after_seq: int = 0, *, stream_modes: Sequence[StreamMode.ValueType] = ()
    ) -> AsyncGenerator[RunEvent, None]:
        """Yield the events of a run after `after_seq`, until it ends or parks.

        Each event is yielded once, in order, even if connections break. A run that resumes continues the numbers: pass
        the last `seq` to stream on. With `stream_modes` only events of these modes, which the run was created with,
        and of its status.
        """
        deadline = Deadline.after(self._calls.retry_timeout)
        while True:
            began, first_seq = time.monotonic(), after_seq
            try:
                async with aclosing(self._stream(run_id, after_seq, stream_modes)) as responses:
                    async for response in responses:
                        for event in [response.event] if response.HasField("event") else response.events:
                            after_seq = event.seq
                            yield event
                        if response.HasField("heartbeat"):
                            after_seq = response.heartbeat.after_seq
                return
            except DependencyError as error:
                if after_seq > first_seq or time.monotonic() - began > STABLE_SECONDS:
                    deadline = Deadline.after(self._calls.retry_timeout)
                elif deadline.remaining == 0:
                    raise
                else:
                    self._calls.on_retry(error)
                    await asyncio.sleep(RETRY_SECONDS)

    async def resume_run(self, run_id: str, answers: Mapping[str, Any]) -> Run:
        """Answer interrupts of a parked run, by `interrupt_id`, with JSON values.

        The run resumes when all are answered. The call is idempotent.

        Raises:
            NotJsonError: an integer is beyond 2^53.
        """
        require_exact(answers)
        values = {key: json_format.ParseDict(answer, Value()) for key, answer in answers.items()}
        request = ResumeRunRequest(run_id=run_id, answers=values)
        return (await self._calls.call(RunService.ResumeRun, request)).run

    async def cancel_run(self, run_id: str, reason: str) -> Run:
        """Request the cancellation of a run, and return the run, which may not have ended yet."""
        request = CancelRunRequest(run_id=run_id, reason=reason)
        return (await self._calls.call(RunService.CancelRun, request)).run

    async def record_feedback(self, run_id: str, score: float, comment: str = "") -> Feedback:
        """Record what the caller thinks of a run, in place of what it has thought before; the call is idempotent.

        Args:
            score: from 0, of no use, to 1, just right.
        """
        request = RecordFeedbackRequest(run_id=run_id, score=score, comment=comment)
        return (await self._calls.call(RunService.RecordFeedback, request)).feedback

    async def list_runs(
        self,
        *,
        graph: str = "",
        thread_id: str = "",
        assistant_id: str = "",
        schedule_id: str = "",
        status: RunStatus.ValueType = RunStatus.RUN_STATUS_UNSPECIFIED,
        run_id_prefix: str = "",
        limit: int = 50,
        view: RunView.ValueType = RunView.RUN_VIEW_BASIC,
    ) -> list[Run]:
        """Return the newest runs; with RUN_VIEW_FULL also their inputs, outputs and the values of interrupts."""
        request = ListRunsRequest(
            graph=graph,
            thread_id=thread_id,
            assistant_id=assistant_id,
            schedule_id=schedule_id,
            status=status,
            run_id_prefix=run_id_prefix,
            view=view,
        )
        return await self._calls.collect(RunService.ListRuns, request, lambda page: page.runs, limit)

    async def list_budgets(self) -> list[BudgetStatus]:
        """List the budgets that the runs of the tenant share, with what they have used today."""
        return list((await self._calls.call(RunService.ListBudgets, ListBudgetsRequest())).budgets)

    async def list_graphs(self) -> list[Graph]:
        return list((await self._calls.call(RunService.ListGraphs, ListGraphsRequest())).graphs)

    def _stream(
        self, run_id: str, after_seq: int, stream_modes: Sequence[StreamMode.ValueType]
    ) -> AsyncGenerator[StreamRunResponse, None]:
        request = StreamRunRequest(run_id=run_id, after_seq=after_seq, stream_modes=stream_modes, batch_size=BATCH_SIZE)
        return self._calls.stream(RunService.StreamRun, request)


def _set_struct(field: Struct, value: Mapping[str, Any]) -> None:
    require_exact(value)
    json_format.ParseDict(dict(value), field)
    field.SetInParent()


def run_request(
    graph: str, input: Mapping[str, Any] | None, *, thread_id: str = "", **options: Unpack[RunOptions]
) -> CreateRunRequest:
    """Return the request for a run that a schedule creates again and again. Raises as `create_run`."""
    request = _run_request(options, graph, input, thread_id, "", "")
    request.ClearField("request_id")
    return request


def _run_request(
    options: RunOptions,
    graph: str,
    input: Mapping[str, Any] | None,
    thread_id: str,
    checkpoint_id: str,
    request_id: str,
) -> CreateRunRequest:
    """Raises TypeError and ValueError as `create_run`."""
    if input is not None and not isinstance(input, Mapping):
        raise TypeError(f"the input of a graph must be a mapping, not {type(input).__name__}")
    fields: dict[str, Any] = dict(options)
    timeout, schedule_time = fields.pop("timeout", None), fields.pop("schedule_time", None)
    structs = {name: fields.pop(name, None) for name in ("context", "configurable")}
    request = CreateRunRequest(
        graph=graph,
        thread_id=thread_id,
        checkpoint_id=checkpoint_id,
        request_id=request_id or uuid4().hex,
        **fields,
    )
    for name, value in {"input": input, **structs}.items():
        if value is not None:
            _set_struct(getattr(request, name), value)
    if timeout is not None:
        request.timeout.CopyFrom(duration_of(timeout))
    if schedule_time is not None and schedule_time.tzinfo is None:
        raise ValueError(f"schedule_time must have a time zone: {schedule_time}")
    if schedule_time is not None:
        request.schedule_time.FromDatetime(schedule_time)
    return request
