"""The background task of schedules over the memory twins: what a tick does where something is wrong."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from google.rpc import status_pb2
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import DatabaseUnavailable, InvalidInput
from graphmesh_chassis.rates import Rates
from graphmesh_chassis.status import from_status
from graphmesh_contracts import Rate
from graphmesh_orchestrator.graph_rates import GraphRates
from graphmesh_orchestrator.notifications.poll_timer import PollTimer
from graphmesh_orchestrator.run_requests import RunRequests
from graphmesh_orchestrator.schedules.schedule import Progress, Schedule, ScheduleStatus, Spec
from graphmesh_orchestrator.schedules.schedules import UNKNOWN_GRAPH_SECONDS, MemorySchedules
from graphmesh_orchestrator.schedules.ticker import Ticker
from graphmesh_orchestrator.schedules.timing import Timing
from graphmesh_orchestrator.webhooks.delivery import HostPatterns
from graphmesh_orchestrator.webhooks.receivers import Receivers
from langgraph.graph import START, StateGraph
from pydantic import BaseModel, field_validator

from tests.unit.orchestrator.memory_orchestrator import GRAPH, MemoryOrchestrator, open_orchestrator

TICK = 1_800_000_000


class State(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def has_no_bug(cls, text: str) -> str:
        if text == "bug":
            raise ZeroDivisionError
        return text


class UnavailableOnce(MemorySchedules):
    """Its database is unavailable for the first tick."""

    is_available = False

    async def fire(self, *args: object) -> object:  # type: ignore[override]
        if not self.is_available:
            self.is_available = True
            raise DatabaseUnavailable()
        return await super().fire(*args)  # type: ignore[arg-type]


@pytest_asyncio.fixture
async def orchestrator() -> AsyncIterator[MemoryOrchestrator]:
    builder = StateGraph(State)
    builder.add_node("node", lambda state: {"text": state.text})
    builder.add_edge(START, "node")
    async with open_orchestrator(builder) as opened:
        opened.tables.clock = lambda: TICK + 1.0
        yield opened


def ticker_of(orchestrator: MemoryOrchestrator, schedules: MemorySchedules, rates: GraphRates | None = None) -> Ticker:
    receivers = Receivers(HostPatterns([]), b"")
    requests = RunRequests(orchestrator.registry, orchestrator.assistants, receivers, rates=rates)
    notifier = orchestrator.worker().notifier
    return Ticker(schedules, requests, orchestrator.registry.names, notifier.to_claim, PollTimer(notifier))


def a_schedule(text: str | int, schedule_id: str = "s", time_zone: str = "UTC") -> Schedule:
    """Return a schedule whose tick is due."""
    request = pb.CreateRunRequest(graph=GRAPH)
    request.input.update({"text": text})
    timing = Timing("0 * * * *", time_zone, 0, 0, 0)
    spec, now = Spec(request.SerializeToString(), GRAPH, "", timing), datetime.fromtimestamp(TICK, UTC)
    return Schedule("acme", schedule_id, f"uid-{schedule_id}", "ana", spec, now, now, progress=Progress(next_tick=TICK))


async def after_tick(orchestrator: MemoryOrchestrator, schedule: Schedule) -> Schedule:
    """Return a schedule after its tick, which another one's follows that is in order."""
    schedules = MemorySchedules(orchestrator.tables, orchestrator.runs)
    for one in (schedule, a_schedule("x", "other")):
        await schedules.create(one)
    await ticker_of(orchestrator, schedules).poll()
    assert (await schedules.get("acme", "other")).progress.run_count == 1
    return await schedules.get("acme", schedule.schedule_id)


def reason_of(schedule: Schedule) -> str:
    assert schedule.progress.last_error is not None
    return from_status(status_pb2.Status.FromString(schedule.progress.last_error)).reason


async def test_run_of_a_tick_has_the_subject_and_the_client_of_the_schedule(orchestrator: MemoryOrchestrator) -> None:
    ticked = await after_tick(orchestrator, replace(a_schedule("x"), client="web"))
    run = await orchestrator.runs.get("acme", ticked.progress.last_run_id)
    assert (run.identity.subject, run.identity.client) == ("ana", "web")
    assert (run.request.due, run.request.schedule_id) == (TICK, "s")
    assert run.request.request_id == f"uid-s.{TICK}"


@pytest.mark.parametrize(("text", "reason"), [(1, InvalidInput.reason), ("bug", "INTERNAL")])
async def test_tick_whose_input_is_refused_fails(
    orchestrator: MemoryOrchestrator, text: str | int, reason: str
) -> None:
    """Also where the graph's own validator raises an error."""
    ticked = await after_tick(orchestrator, a_schedule(text))
    assert (reason_of(ticked), ticked.progress.failures, ticked.progress.run_count) == (reason, 1, 0)


async def test_tick_above_the_rate_of_its_graph_is_left_out_and_no_failure(orchestrator: MemoryOrchestrator) -> None:
    rates = GraphRates({GRAPH: Rate(2, 3600)}, Rates(), orchestrator.runs)
    schedules = MemorySchedules(orchestrator.tables, orchestrator.runs)
    for number in range(3):
        await schedules.create(a_schedule("x", f"s{number}"))
    await ticker_of(orchestrator, schedules, rates).poll()
    ticked = [await schedules.get("acme", f"s{number}") for number in range(3)]
    [refused] = [one for one in ticked if one.progress.run_count == 0]
    assert (reason_of(refused), refused.progress.failures) == ("RATE_LIMITED", 0)
    assert refused.progress.next_tick > TICK


async def test_schedule_whose_time_zone_is_gone_fails(orchestrator: MemoryOrchestrator) -> None:
    ticked = await after_tick(orchestrator, a_schedule("x", time_zone="Mars/Base"))
    assert (ticked.status, reason_of(ticked), ticked.progress.next_tick) == (ScheduleStatus.FAILED, "INTERNAL", 0)


async def test_tick_is_repeated_where_the_database_was_unavailable(orchestrator: MemoryOrchestrator) -> None:
    schedules = UnavailableOnce(orchestrator.tables, orchestrator.runs)
    await schedules.create(a_schedule("x"))
    ticker = ticker_of(orchestrator, schedules)
    await ticker.poll()
    assert (await schedules.get("acme", "s")).progress == a_schedule("x").progress
    orchestrator.tables.clock = lambda: TICK + 20.0
    await ticker.poll()
    assert (await schedules.get("acme", "s")).progress.run_count == 1


async def test_schedule_of_a_graph_that_is_gone_fails(orchestrator: MemoryOrchestrator) -> None:
    """Once no other worker that may have the graph has taken its tick, and before the tick is too late."""
    schedule = a_schedule("x")
    template = pb.CreateRunRequest(graph="gone").SerializeToString()
    gone = replace(schedule, spec=replace(schedule.spec, graph="gone", run=template))
    assert (await after_tick(orchestrator, gone)).progress == gone.progress
    orchestrator.tables.clock = lambda: TICK + UNKNOWN_GRAPH_SECONDS + 6
    schedules = MemorySchedules(orchestrator.tables, orchestrator.runs)
    await schedules.create(gone)
    await ticker_of(orchestrator, schedules).poll()
    failed = await schedules.get("acme", "s")
    assert (reason_of(failed), failed.progress.failures) == ("GRAPH_NOT_FOUND", 1)


async def test_tick_of_roles_that_are_there_no_more_states_who_could(orchestrator: MemoryOrchestrator) -> None:
    ticked = await after_tick(orchestrator, replace(a_schedule("x"), roles=["clerk"]))
    assert (reason_of(ticked), ticked.progress.failures, ticked.progress.run_count) == ("GRAPH_NOT_ALLOWED", 1, 0)
    assert ticked.progress.last_error is not None
    message = from_status(status_pb2.Status.FromString(ticked.progress.last_error)).message
    assert "of which the file of roles does not have clerk" in message
