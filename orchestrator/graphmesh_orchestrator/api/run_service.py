"""RunService: decode, use case, encode."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.calls import current_call, working
from graphmesh_chassis.errors import InvalidInput
from graphmesh_chassis.hooks import INLINE_BYTES
from graphmesh_chassis.large_values import convert_aside, is_large, read_places
from graphmesh_chassis.pages import PAGE_BYTES, Page, decode_position, page_size
from graphmesh_contracts import to_struct
from graphmesh_nodes.declaration import Declaration

from graphmesh_orchestrator.api.run_watcher import HEARTBEAT_SECONDS, Heartbeat, RunWatcher
from graphmesh_orchestrator.api.submission import Submission
from graphmesh_orchestrator.budgets.convert import status_messages
from graphmesh_orchestrator.budgets.tenant_budgets import TenantBudgets
from graphmesh_orchestrator.db.database_clock import Now
from graphmesh_orchestrator.interrupts.interrupts import Interrupts
from graphmesh_orchestrator.leases.in_flight import InFlight
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.registry import Graph, Registry
from graphmesh_orchestrator.roles import RoleRules
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs import convert
from graphmesh_orchestrator.runs.events import stream_responses
from graphmesh_orchestrator.runs.feedback import Feedbacks
from graphmesh_orchestrator.runs.run import Interrupt, Run
from graphmesh_orchestrator.runs.runs import Runs

MESSAGE_BYTES = 1024 * 1024
"""The most bytes of several events in a message of a stream."""
BATCH_RUNS = 4
"""Full runs that a listing reads at a time: each may have megabytes, and most of a page may not fit in it."""


class RunServicer(pb.RunServiceServicer):
    def __init__(
        self,
        runs: Runs,
        feedbacks: Feedbacks,
        interrupts: Interrupts,
        registry: Registry,
        submission: Submission,
        watcher: RunWatcher,
        in_flight: InFlight,
        notifier: Notifier,
        now: Now,
        roles: RoleRules,
        budgets: TenantBudgets,
    ) -> None:
        self._roles, self._budgets = roles, budgets
        self._runs, self._feedbacks, self._interrupts, self._registry = runs, feedbacks, interrupts, registry
        self._submission, self._watcher = submission, watcher
        self._in_flight, self._notifier, self._now = in_flight, notifier, now

    async def CreateRun(self, request: pb.CreateRunRequest, context: Any) -> pb.CreateRunResponse:
        return pb.CreateRunResponse(run=await self._message(await self._create(request)))

    async def GetRun(self, request: pb.GetRunRequest, context: Any) -> pb.GetRunResponse:
        async with read_places("runs"):
            run = await self._runs.get(_tenant(), request.run_id)
            message = await self._message(run)
            message.feedback.extend(map(convert.feedback_message, await self._feedbacks.of_run(run.run_id)))
            return pb.GetRunResponse(run=message)

    async def WaitRun(self, request: pb.WaitRunRequest, context: Any) -> pb.WaitRunResponse:
        return pb.WaitRunResponse(run=await self._message(await self._wait(request.run_id, request)))

    async def ExecuteRun(self, request: pb.ExecuteRunRequest, context: Any) -> pb.ExecuteRunResponse:
        try:
            async with working():
                run = await self._create(request.run)
        except InvalidInput as error:
            error.move_into("run")
            raise
        if run.status.is_active:
            run = await self._wait(run.run_id, request)
        return pb.ExecuteRunResponse(run=await self._message(run))

    async def StreamRun(self, request: pb.StreamRunRequest, context: Any) -> AsyncIterator[Any]:
        modes = convert.stream_modes(request.stream_modes)
        seconds = request.heartbeat_interval.ToNanoseconds() / 1e9 or HEARTBEAT_SECONDS
        events = self._watcher.events(_tenant(), request.run_id, request.after_seq, modes, seconds)
        async with aclosing(events) as found:
            async for one in found:
                if isinstance(one, Heartbeat):
                    yield pb.StreamRunResponse(heartbeat=pb.Heartbeat(after_seq=one.seq))
                    continue
                for response in stream_responses(one, request.batch_size, MESSAGE_BYTES):
                    yield response

    async def ListRuns(self, request: pb.ListRunsRequest, context: Any) -> pb.ListRunsResponse:
        page: Page[pb.Run] = Page(page_size(request.page_size), PAGE_BYTES)
        async with read_places("runs"), aclosing(self._found(request, page.size + 1)) as found:
            async for run, message in found:
                if not page.add(message, (run.request.created, run.run_id)):
                    break
        return pb.ListRunsResponse(runs=page.messages, next_page_token=page.next_token)

    async def CancelRun(self, request: pb.CancelRunRequest, context: Any) -> pb.CancelRunResponse:
        run = await self._runs.request_cancellation(_tenant(), request.run_id, request.reason)
        self._in_flight.cancel(run.run_id, run.state.cancel_reason)
        self._notifier.to_cancel(run.run_id)
        return pb.CancelRunResponse(run=await self._message(run))

    async def ResumeRun(self, request: pb.ResumeRunRequest, context: Any) -> pb.ResumeRunResponse:
        caller = current_call().caller
        if self._roles.restricts(roles := convert.role_names(caller)):
            resumed = await self._runs.get(caller.tenant, request.run_id)
            self._roles.require_graph(roles, resumed.identity.graph)
        await self._budgets.require(caller.tenant)
        answers = await convert_aside(request.ByteSize() > INLINE_BYTES, convert.answers, request)
        run = await self._interrupts.answer(caller.tenant, request.run_id, answers, caller.subject)
        self._notifier.to_claim(run.run_id)
        return pb.ResumeRunResponse(run=await self._message(run))

    async def RecordFeedback(self, request: pb.RecordFeedbackRequest, context: Any) -> pb.RecordFeedbackResponse:
        caller = current_call().caller
        given = convert.feedback(request, caller.subject, self._now())
        stored = await self._feedbacks.record(caller.tenant, request.run_id, given)
        return pb.RecordFeedbackResponse(feedback=convert.feedback_message(stored))

    async def ListGraphs(self, request: pb.ListGraphsRequest, context: Any) -> pb.ListGraphsResponse:
        roles = convert.role_names(current_call().caller)
        allowed = (graph for graph in self._registry.all() if self._roles.may_run(roles, graph.name))
        return pb.ListGraphsResponse(graphs=[graph_message(graph, self._roles) for graph in allowed])

    async def ListBudgets(self, request: pb.ListBudgetsRequest, context: Any) -> pb.ListBudgetsResponse:
        found = await self._budgets.of(_tenant())
        return pb.ListBudgetsResponse(budgets=status_messages(found) if found else ())

    async def _create(self, request: pb.CreateRunRequest) -> Run:
        has_large = request.ByteSize() > INLINE_BYTES
        run = await convert_aside(has_large, convert.run, request, current_call().caller, self._now())
        return await self._submission.create(run, request.assistant)

    async def _wait(self, run_id: str, request: pb.WaitRunRequest | pb.ExecuteRunRequest) -> Run:
        """Return a run as soon as it has ended or parked, or after `max_wait`."""
        seconds = request.max_wait.ToNanoseconds() / 1e9 if request.HasField("max_wait") else None
        try:
            async with asyncio.timeout(seconds):
                return await self._watcher.stopped(_tenant(), run_id)
        except TimeoutError:
            return await self._runs.get(_tenant(), run_id)

    async def _found(self, request: pb.ListRunsRequest, limit: int) -> AsyncGenerator[tuple[Run, pb.Run]]:
        """Yield runs with their messages. Full ones may be big, so they are read in batches, as the page takes them."""
        before, columns = decode_position(request.page_token, datetime, str), convert.filter_columns(request)
        prefix = request.run_id_prefix
        is_basic = request.view == pb.RunView.RUN_VIEW_BASIC
        batch = limit if is_basic else min(limit, BATCH_RUNS)
        while runs := await self._runs.find(_tenant(), columns, before, batch, prefix, contents=not is_basic):
            for run, message in zip(runs, await self._messages(runs, values=not is_basic), strict=True):
                yield run, message
            if len(runs) < batch or is_basic:
                return
            before = (runs[-1].request.created, runs[-1].run_id)

    async def _message(self, run: Run) -> pb.Run:
        [message] = await self._messages([run])
        return message

    async def _messages(self, runs: Sequence[Run], *, values: bool = True) -> list[pb.Run]:
        """Return the messages of runs, with the open interrupts of those that are parked, and these with `values`."""
        parked = [run.run_id for run in runs if run.status is RunStatus.INTERRUPTED]
        interrupts = await self._interrupts.open(parked, values=values) if parked else {}
        messages = [await _message_of(run, interrupts.get(run.run_id, ())) for run in runs]
        if not values:
            for interrupt in (interrupt for message in messages for interrupt in message.interrupts):
                interrupt.ClearField("value")
        return messages


async def _message_of(run: Run, interrupts: Sequence[Interrupt] = ()) -> pb.Run:
    has_large = is_large(run.request.input, run.state.output, *(interrupt.value for interrupt in interrupts))
    return await convert_aside(has_large, convert.run_message, run, interrupts)


def graph_message(graph: Graph, roles: RoleRules) -> pb.Graph:
    context, declared = graph.context.schema, graph.declaration
    rights = roles.rights(graph.name, sorted(declared.tools) if declared else ())
    return pb.Graph(
        name=graph.name,
        description=graph.description,
        input_schema=to_struct(graph.input.schema),
        output_schema=to_struct(graph.output_schema),
        context_schema=to_struct(context) if context else None,
        declaration=_declaration_message(declared) if declared else None,
        roles=[pb.GraphRole(role=role, tools=tools) for role, tools in rights.items()],
    )


def _declaration_message(declared: Declaration) -> pb.GraphDeclaration:
    return pb.GraphDeclaration(
        tools=sorted(declared.tools),
        ceilings=convert.ceilings_message(declared.limits),
        prompts=declared.prompts,
        policy_schema=to_struct(declared.policy.model_json_schema()) if declared.policy else None,
        customer=declared.customer,
    )


def _tenant() -> str:
    return current_call().caller.tenant
