"""RunService: decode, use case, encode."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.pages import decode_position, encode_token, page_size

from graphmesh_orchestrator import convert
from graphmesh_orchestrator.executor import Executor
from graphmesh_orchestrator.graphs import Registry
from graphmesh_orchestrator.interrupts_sql import SqlInterrupts
from graphmesh_orchestrator.notices import Notices, Topic
from graphmesh_orchestrator.runs import Event, Run, RunStatus
from graphmesh_orchestrator.runs_sql import SqlRuns
from graphmesh_orchestrator.submission import Submission

PAGE = 200
"""Events that are read at a time."""


class RunServicer(pb.RunServiceServicer):
    def __init__(
        self,
        runs: SqlRuns,
        interrupts: SqlInterrupts,
        graphs: Registry,
        submission: Submission,
        executor: Executor,
        notices: Notices,
    ) -> None:
        self._runs, self._interrupts, self._graphs = runs, interrupts, graphs
        self._submission, self._executor = submission, executor
        self._notices = notices

    async def CreateRun(self, request: pb.CreateRunRequest, context: Any) -> pb.CreateRunResponse:
        run = await self._submission.add(convert.run(request, current_call().caller))
        return pb.CreateRunResponse(run=convert.run_message(run))

    async def GetRun(self, request: pb.GetRunRequest, context: Any) -> pb.GetRunResponse:
        [message] = await self._messages([await self._get(request.run_id)])
        return pb.GetRunResponse(run=message)

    async def WaitRun(self, request: pb.WaitRunRequest, context: Any) -> pb.WaitRunResponse:
        seconds = request.max_wait.ToNanoseconds() / 1e9 if request.HasField("max_wait") else None
        try:
            async with asyncio.timeout(seconds):
                run = await self._stopped(request.run_id)
        except TimeoutError:
            run = await self._get(request.run_id)
        [message] = await self._messages([run])
        return pb.WaitRunResponse(run=message)

    async def StreamRun(self, request: pb.StreamRunRequest, context: Any) -> AsyncIterator[pb.StreamRunResponse]:
        await self._get(request.run_id)
        async for event in self._events(request.run_id, request.after_seq):
            yield pb.StreamRunResponse(event=convert.event_message(event))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Any) -> pb.ListRunsResponse:
        size = page_size(request.page_size)
        before = decode_position(request.page_token, datetime, str)
        found = await self._runs.find(current_call().caller.tenant, convert.wanted(request), before, size + 1)
        page, room = pb.ListRunsResponse(), convert.PAGE_BYTES
        for message in await self._messages(found):
            room -= message.ByteSize()
            if page.runs and (len(page.runs) == size or room < 0):
                last = found[len(page.runs) - 1]
                page.next_page_token = encode_token(last.created, last.run_id)
                break
            page.runs.append(message)
        return page

    async def CancelRun(self, request: pb.CancelRunRequest, context: Any) -> pb.CancelRunResponse:
        run = await self._runs.ask_to_cancel(current_call().caller.tenant, request.run_id, request.reason)
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
        return pb.ListGraphsResponse(graphs=[convert.graph_message(graph) for graph in self._graphs.all()])

    async def _messages(self, runs: Sequence[Run]) -> list[pb.Run]:
        """The messages of runs, with what those wait for that are parked."""
        parked = [run.run_id for run in runs if run.status is RunStatus.INTERRUPTED]
        asked = await self._interrupts.open(parked) if parked else {}
        return [convert.run_message(run, asked.get(run.run_id, ())) for run in runs]

    async def _get(self, run_id: str) -> Run:
        return await self._runs.get(current_call().caller.tenant, run_id)

    async def _stopped(self, run_id: str) -> Run:
        """The run as soon as it has ended or parked."""
        if ended := await self._executor.ended(current_call().caller.tenant, run_id):
            return ended
        while True:
            notice = self._notices.next(Topic.STOPPED, run_id)
            run = await self._get(run_id)
            if not run.status.is_active:
                return run
            await self._notices.wait(notice)

    async def _events(self, run_id: str, after_seq: int) -> AsyncIterator[Event]:
        """The events after `after_seq`, until the run ends or parks."""
        while True:
            notice = self._notices.next(Topic.EVENTS, run_id)
            run = await self._get(run_id)
            async for event in self._stored(run_id, after_seq):
                yield event
                after_seq = event.seq
            if not run.status.is_active and after_seq >= run.last_seq:
                return
            if run.status.is_active:
                await self._notices.wait(notice)

    async def _stored(self, run_id: str, after_seq: int) -> AsyncIterator[Event]:
        """The events after `after_seq` that are stored by now."""
        while page := await self._runs.events(run_id, after_seq, PAGE):
            for event in page:
                yield event
            if len(page) < PAGE:
                return
            after_seq = page[-1].seq
