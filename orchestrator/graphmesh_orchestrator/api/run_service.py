"""RunService: decode, use case, encode."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.pages import PAGE_BYTES, decode_position, page_of, page_size

from graphmesh_orchestrator.api.run_watcher import RunWatcher
from graphmesh_orchestrator.api.submission import Submission
from graphmesh_orchestrator.interrupts.interrupts_sql import SqlInterrupts
from graphmesh_orchestrator.notifications.notifier import Notices
from graphmesh_orchestrator.registry import Graph, Registry
from graphmesh_orchestrator.runs import convert
from graphmesh_orchestrator.runs.run import Run, RunStatus
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.worker.executor import Executor


class RunServicer(pb.RunServiceServicer):
    def __init__(
        self,
        runs: SqlRuns,
        interrupts: SqlInterrupts,
        graphs: Registry,
        submission: Submission,
        executor: Executor,
        notices: Notices,
        watcher: RunWatcher,
    ) -> None:
        self._runs, self._interrupts, self._graphs = runs, interrupts, graphs
        self._submission, self._executor = submission, executor
        self._notices, self._watcher = notices, watcher

    async def CreateRun(self, request: pb.CreateRunRequest, context: Any) -> pb.CreateRunResponse:
        run = await self._submission.add(convert.run(request, current_call().caller))
        return pb.CreateRunResponse(run=convert.run_message(run))

    async def GetRun(self, request: pb.GetRunRequest, context: Any) -> pb.GetRunResponse:
        [message] = await self._messages([await self._runs.get(_tenant(), request.run_id)])
        return pb.GetRunResponse(run=message)

    async def WaitRun(self, request: pb.WaitRunRequest, context: Any) -> pb.WaitRunResponse:
        seconds = request.max_wait.ToNanoseconds() / 1e9 if request.HasField("max_wait") else None
        try:
            async with asyncio.timeout(seconds):
                run = await self._watcher.stopped(_tenant(), request.run_id)
        except TimeoutError:
            run = await self._runs.get(_tenant(), request.run_id)
        [message] = await self._messages([run])
        return pb.WaitRunResponse(run=message)

    async def StreamRun(self, request: pb.StreamRunRequest, context: Any) -> AsyncIterator[pb.StreamRunResponse]:
        await self._runs.get(_tenant(), request.run_id)
        async for event in self._watcher.events(_tenant(), request.run_id, request.after_seq):
            yield pb.StreamRunResponse(event=convert.event_message(event))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Any) -> pb.ListRunsResponse:
        size = page_size(request.page_size)
        before = decode_position(request.page_token, datetime, str)
        found = await self._runs.find(_tenant(), convert.wanted(request), before, size + 1)
        page = page_of(
            zip(found, await self._messages(found), strict=True),
            size,
            lambda row: row[1],
            lambda row: (row[0].created, row[0].run_id),
            max_bytes=PAGE_BYTES,
        )
        return pb.ListRunsResponse(runs=page.messages, next_page_token=page.next_token)

    async def CancelRun(self, request: pb.CancelRunRequest, context: Any) -> pb.CancelRunResponse:
        run = await self._runs.ask_to_cancel(_tenant(), request.run_id, request.reason)
        self._executor.cancel(run.run_id, run.cancel_reason)
        self._notices.to_cancel(run.run_id)
        return pb.CancelRunResponse(run=convert.run_message(run))

    async def ResumeRun(self, request: pb.ResumeRunRequest, context: Any) -> pb.ResumeRunResponse:
        caller, answers = current_call().caller, convert.answers(request)
        run = await self._interrupts.answer(caller.tenant, request.run_id, answers, caller.subject)
        self._notices.to_claim(run.run_id)
        [message] = await self._messages([run])
        return pb.ResumeRunResponse(run=message)

    async def ListGraphs(self, request: pb.ListGraphsRequest, context: Any) -> pb.ListGraphsResponse:
        return pb.ListGraphsResponse(graphs=[graph_message(graph) for graph in self._graphs.all()])

    async def _messages(self, runs: Sequence[Run]) -> list[pb.Run]:
        """The messages of runs, with what those wait for that are parked."""
        parked = [run.run_id for run in runs if run.status is RunStatus.INTERRUPTED]
        asked = await self._interrupts.open(parked) if parked else {}
        return [convert.run_message(run, asked.get(run.run_id, ())) for run in runs]


def _tenant() -> str:
    return current_call().caller.tenant


def graph_message(graph: Graph) -> pb.Graph:
    return pb.Graph(
        name=graph.name,
        description=graph.description,
        input_schema=convert.struct(graph.input_schema),
        output_schema=convert.struct(graph.output_schema),
    )
