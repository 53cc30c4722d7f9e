"""Schedules: ticks create runs, by the rules of CreateRun, and say so where they cannot."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf import json_format
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import AlreadyExists, GraphmeshError, InvalidInput, NotFound
from graphmesh_chassis.status import from_status
from graphmesh_client import run_request
from graphmesh_contracts import struct_value

from tests.integration.client.test_command_line import graphmesh, id_in
from tests.integration.orchestrator.gates import GATES
from tests.integration.orchestrator.mesh import Mesh, serve_billing, serve_orchestrator

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAPH = """
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

class State(TypedDict):
    name: str

class Context(TypedDict):
    tone: str

graph = StateGraph(State, context_schema=Context)
graph.add_node("greet", lambda state, runtime: {"name": f"{runtime.context['tone']} {state['name']}"})
graph.add_edge(START, "greet")
"""
ACTIVE, PAUSED = pb.ScheduleStatus.SCHEDULE_STATUS_ACTIVE, pb.ScheduleStatus.SCHEDULE_STATUS_PAUSED
FAILED = pb.ScheduleStatus.SCHEDULE_STATUS_FAILED
GREET = run_request("greeting", {"name": "x"}, context={"tone": "dear"})
DAILY = "0 9 * * *"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    folder: Path = tmp_path_factory.mktemp("mesh")
    (folder / "greeting.py").write_text(GRAPH)
    async with (
        serve_billing(folder) as billing,
        serve_orchestrator(folder, billing, schedule_interval_seconds=1, max_schedules=30) as mesh,
    ):
        yield mesh


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.05)


async def runs_of(mesh: Mesh, schedule: pb.Schedule) -> list[pb.Run]:
    """Return the runs of a schedule, the oldest first."""
    request = pb.ListRunsRequest(schedule_id=schedule.schedule_id, page_size=500)
    return list(reversed((await mesh.call(pb.RunService.ListRuns, request)).runs))


async def get(mesh: Mesh, schedule: pb.Schedule) -> pb.Schedule:
    return await mesh.client.schedules.get(schedule.schedule_id)


async def let_ticks_be_late(mesh: Mesh, schedule: pb.Schedule, seconds: int) -> None:
    """Set the next tick of a schedule back, as if no worker had run since."""

    def change() -> None:
        with closing(sqlite3.connect(mesh.folder / "orchestrator.db", timeout=60)) as database, database:
            set_back = "UPDATE schedules SET next_tick = next_tick - ? WHERE schedule_id = ? AND tenant = ?"
            database.execute(set_back, (seconds, schedule.schedule_id, mesh.tenant))

    await asyncio.to_thread(change)


async def test_ticks_create_runs_until_the_schedule_is_paused(mesh: Mesh) -> None:
    late: Any = {"catch_up": pb.CatchUp.CATCH_UP_ALL, "catch_up_window": 60}  # on a loaded machine
    schedule = await mesh.client.schedules.create(GREET, interval=1, **late)
    assert schedule.status == ACTIVE

    async def has_two_runs() -> bool:
        return len(await runs_of(mesh, schedule)) >= 2

    await eventually(has_two_runs)
    paused = await mesh.client.schedules.pause(schedule.schedule_id)
    assert (paused.status, paused.HasField("next_tick_time")) == (PAUSED, False)
    runs = await runs_of(mesh, schedule)
    ticks = [run.schedule_time.seconds for run in runs]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))
    assert all(run.create_time.ToDatetime() >= run.schedule_time.ToDatetime() for run in runs)
    assert len({run.thread_id for run in runs}) == len(runs)
    assert struct_value((await mesh.wait(runs[0])).output) == {"name": "dear x"}
    assert (paused.run_count, paused.last_run_id) == (len(runs), runs[-1].run_id)
    assert (await mesh.client.schedules.resume(schedule.schedule_id)).status == ACTIVE
    await mesh.client.schedules.delete(schedule.schedule_id)
    with pytest.raises(NotFound):
        await get(mesh, schedule)
    assert len(await runs_of(mesh, schedule)) >= len(runs)


async def test_ticks_of_an_interval_are_whole_intervals_from_its_start(mesh: Mesh) -> None:
    schedule = await mesh.client.schedules.create(GREET, interval=3600, start_time=datetime.fromtimestamp(0, UTC))
    assert schedule.next_tick_time.seconds % 3600 == 0
    assert all(tick.seconds % 3600 == 0 for tick in (await get(mesh, schedule)).upcoming)


async def test_triggered_run_is_created_once_for_a_request(mesh: Mesh) -> None:
    schedule = await mesh.client.schedules.create(GREET, cron=DAILY, time_zone="Europe/Berlin", paused=True)
    runs = [await mesh.client.schedules.trigger(schedule.schedule_id, request_id="once") for _ in range(2)]
    assert runs[0].run_id == runs[1].run_id
    assert struct_value((await mesh.wait(runs[0])).output) == {"name": "dear x"}
    assert [run.run_id for run in await runs_of(mesh, schedule)] == [runs[0].run_id]
    assert (await get(mesh, schedule)).run_count == 0


async def test_specification_is_read_as_it_was_written_with_its_next_ticks(mesh: Mesh) -> None:
    start = datetime.now(UTC).replace(hour=12, minute=0, second=0) + timedelta(days=1)
    period: dict[str, Any] = {"start_time": start, "end_time": start + timedelta(days=3)}
    schedule = await mesh.client.schedules.create(
        GREET, schedule_id="report", cron=DAILY, time_zone="Asia/Tokyo", labels={"team": "a"}, **period
    )
    read = await get(mesh, schedule)
    assert read.spec.run == GREET
    assert (read.spec.cron, read.spec.time_zone, dict(read.spec.labels)) == (DAILY, "Asia/Tokyo", {"team": "a"})
    assert len(read.upcoming) == 3
    assert read.upcoming[0] == read.next_tick_time
    assert read.next_tick_time.ToDatetime().hour == 0
    with pytest.raises(AlreadyExists):
        await mesh.client.schedules.create(GREET, schedule_id="report", cron=DAILY)
    updated = await mesh.client.schedules.update("report", GREET, interval=3600)
    assert (updated.spec.cron, updated.spec.interval.seconds) == ("", 3600)
    assert [one.schedule_id async for one in mesh.client.schedules.find(graph="greeting")] == ["report"]
    assert [one async for one in mesh.client.schedules.find(status=PAUSED)] == []


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({}, ["spec.cron"]),
        ({"cron": DAILY, "interval": "60s"}, ["spec.cron"]),
        ({"cron": "* * * * * *"}, ["spec.cron"]),
        ({"cron": "@daily"}, ["spec.cron"]),
        ({"cron": "0 0 30 2 *"}, ["spec.cron"]),
        ({"cron": "0 0 */30 2 MON#5"}, ["spec.cron"]),
        ({"cron": "0 0 1 1 *" * 50}, ["spec.cron"]),
        ({"cron": DAILY, "time_zone": "Mars/Base"}, ["spec.time_zone"]),
        ({"cron": DAILY, "time_zone": "../etc/passwd"}, ["spec.time_zone"]),
        ({"interval": "60s", "time_zone": "UTC"}, ["spec.time_zone"]),
        ({"interval": "0s"}, ["spec.interval"]),
        ({"interval": "1.5s"}, ["spec.interval"]),
        ({"interval": "60s", "end_time": "2020-01-01T00:00:00Z"}, ["spec.interval"]),
        ({"interval": "60s", "catch_up_window": "60s"}, ["spec.catch_up_window"]),
        ({"interval": "60s", "catch_up": "CATCH_UP_ALL"}, ["spec.catch_up_window"]),
        ({"interval": "60s", "catch_up": "CATCH_UP_ALL", "catch_up_window": "86400s"}, ["spec.catch_up_window"]),
        ({"cron": DAILY, "run": {"request_id": "x"}}, ["spec.run.request_id"]),
        ({"cron": DAILY, "run": {"checkpoint_id": "x"}}, ["spec.run.checkpoint_id"]),
        ({"cron": DAILY, "run": {"schedule_time": "2030-01-01T00:00:00Z"}}, ["spec.run.schedule_time"]),
        ({"cron": DAILY, "run": {"input": {"name": "x" * 300_000}}}, ["spec.run"]),
        ({"cron": DAILY, "run": {"input": {"name": 1}}}, ["spec.run.input.name"]),
        ({"cron": DAILY, "run": {"context": {}}}, ["spec.run.context.tone"]),
        ({"cron": DAILY, "run": {"assistant": "a"}}, ["spec.run.graph"]),
    ],
)
async def test_bad_specifications_are_refused_by_field(mesh: Mesh, spec: dict[str, Any], fields: list[str]) -> None:
    run = {"graph": "greeting", "input": {"name": "x"}, "context": {"tone": "dear"}, **spec.get("run", {})}
    request = json_format.ParseDict({"spec": {**spec, "run": run}}, pb.CreateScheduleRequest())
    with pytest.raises(InvalidInput) as refused:
        await mesh.call(pb.ScheduleService.CreateSchedule, request)
    assert [violation.field for violation in refused.value.violations] == fields


async def test_thread_of_another_graph_is_refused(mesh: Mesh) -> None:
    await mesh.client.threads.create(graph="loop", thread_id="th-loop")
    request = run_request("greeting", {"name": "x"}, thread_id="th-loop", context={"tone": "dear"})
    with pytest.raises(GraphmeshError) as refused:
        await mesh.client.schedules.create(request, cron=DAILY)
    assert refused.value.reason == "WRONG_GRAPH"


async def test_schedule_whose_ticks_fail_says_so_and_stops(mesh: Mesh) -> None:
    """Its assistant is deleted. Updating it makes it active again."""
    assistant = await mesh.client.assistants.create("greeting", context={"tone": "dear"})
    request = run_request("", {"name": "x"}, assistant=assistant.assistant_id)
    late: Any = {"catch_up": pb.CatchUp.CATCH_UP_ALL, "catch_up_window": 60}
    schedule = await mesh.client.schedules.create(request, interval=1, **late)
    await mesh.client.assistants.delete(assistant.assistant_id)
    await let_ticks_be_late(mesh, schedule, 30)

    async def has_failed() -> bool:
        return (await get(mesh, schedule)).status == FAILED

    await eventually(has_failed)
    failed = await get(mesh, schedule)
    assert (failed.failures, failed.HasField("next_tick_time")) == (10, False)
    assert from_status(failed.last_error).reason == "RESOURCE_NOT_FOUND"
    updated = await mesh.client.schedules.update(schedule.schedule_id, GREET, cron=DAILY)
    assert (updated.status, updated.failures) == (ACTIVE, 0)


async def test_late_ticks_follow_the_policy(mesh: Mesh) -> None:
    """After an hour without workers none is caught up with, or the last one, or those within the window."""
    late: dict[str, Any] = {
        "skip": {},
        "last": {"catch_up": pb.CatchUp.CATCH_UP_LAST},
        "all": {"catch_up": pb.CatchUp.CATCH_UP_ALL, "catch_up_window": 1000},
    }
    start = datetime.now(UTC) - timedelta(seconds=300 + 6 * 600)
    made = {
        name: await mesh.client.schedules.create(GREET, interval=600, start_time=start, **policy)
        for name, policy in late.items()
    }
    for schedule in made.values():
        await let_ticks_be_late(mesh, schedule, 3600)

    async def are_current() -> bool:
        found = [await get(mesh, schedule) for schedule in made.values()]
        return all(one.next_tick_time.ToDatetime(UTC) > datetime.now(UTC) for one in found)

    await eventually(are_current)
    counts = {name: len(await runs_of(mesh, schedule)) for name, schedule in made.items()}
    assert counts == {"skip": 0, "last": 1, "all": 2}
    assert all([(await get(mesh, schedule)).HasField("missed_time") for schedule in made.values()])


async def test_tick_on_a_busy_thread_is_left_out_and_no_failure(mesh: Mesh) -> None:
    gate = "busy-schedule"
    holder = await mesh.create("gated", {"name": gate}, thread_id="th-busy")
    request = run_request("gated", {"name": "open"}, thread_id="th-busy")
    schedule = await mesh.client.schedules.create(request, interval=1)

    async def is_refused() -> bool:
        return (await get(mesh, schedule)).HasField("last_error")

    await eventually(is_refused)
    refused = await get(mesh, schedule)
    assert from_status(refused.last_error).reason == "THREAD_BUSY"
    assert (refused.failures, refused.run_count, refused.status) == (0, 0, ACTIVE)
    await mesh.client.schedules.delete(schedule.schedule_id)
    GATES[gate].set()
    await mesh.wait(holder)


async def test_deleted_thread_of_a_schedule_is_created_again(mesh: Mesh) -> None:
    request = run_request("greeting", {"name": "x"}, thread_id="th-report", context={"tone": "dear"})
    schedule = await mesh.client.schedules.create(request, interval=1)

    async def has_run() -> bool:
        return any(run.status == pb.RunStatus.RUN_STATUS_SUCCESS for run in await runs_of(mesh, schedule))

    await eventually(has_run)
    await mesh.client.schedules.pause(schedule.schedule_id)
    for run in await runs_of(mesh, schedule):
        await mesh.wait(run)
    await mesh.client.threads.delete("th-report")
    assert await runs_of(mesh, schedule) == []
    await mesh.client.schedules.resume(schedule.schedule_id)
    await eventually(has_run)
    assert (await mesh.client.threads.get("th-report")).graph == "greeting"
    await mesh.client.schedules.delete(schedule.schedule_id)


async def test_another_tenant_with_many_due_schedules_delays_none(mesh: Mesh) -> None:
    """Each of 30 has a hundred late ticks; the tick of the other tenant is among the first."""
    late: Any = {"catch_up": pb.CatchUp.CATCH_UP_ALL, "catch_up_window": 90}
    async with mesh.as_new_tenant() as crowd:
        many = [await crowd.client.schedules.create(GREET, interval=1, paused=True, **late) for _ in range(30)]
        with pytest.raises(GraphmeshError) as refused:
            await crowd.client.schedules.create(GREET, interval=1)
        assert refused.value.reason == "RESOURCE_LIMIT"
        for schedule in many:
            await crowd.client.schedules.resume(schedule.schedule_id)
            await let_ticks_be_late(crowd, schedule, 80)
        schedule = await mesh.client.schedules.create(GREET, interval=1)

        async def has_run() -> bool:
            return bool(await runs_of(mesh, schedule))

        await eventually(has_run)
        await mesh.client.schedules.delete(schedule.schedule_id)
        created = sum([(await get(crowd, one)).run_count for one in many])
        for one in many:
            await crowd.client.schedules.delete(one.schedule_id)
    assert created < 30 * 80


async def test_schedules_of_another_tenant_are_not_found(mesh: Mesh) -> None:
    schedule = await mesh.client.schedules.create(GREET, cron=DAILY)
    async with mesh.as_new_tenant() as other:
        for call in (
            other.client.schedules.get(schedule.schedule_id),
            other.client.schedules.pause(schedule.schedule_id),
            other.client.schedules.trigger(schedule.schedule_id),
            other.client.schedules.update(schedule.schedule_id, GREET, cron=DAILY),
            other.client.schedules.delete(schedule.schedule_id),
        ):
            with pytest.raises(NotFound):
                await call


async def test_commands_manage_schedules(mesh: Mesh) -> None:
    assert await graphmesh(mesh, "schedules", "list") == "no schedules\n"
    what = ("greeting", '{"name": "x"}', "--context", '{"tone": "dear"}')
    created = await graphmesh(mesh, "schedules", "create", *what, "--cron", DAILY, "--time-zone", "Europe/Berlin")
    made = id_in(created, "sch")
    assert f"{made} of greeting: 0 9 * * * Europe/Berlin, active, next " in created
    run_id = id_in(await graphmesh(mesh, "schedules", "trigger", made[:12]), "run")
    assert '"dear x"' in await graphmesh(mesh, "watch", run_id)
    assert run_id[:12] in await graphmesh(mesh, "runs", "--schedule", made[:12])
    assert "paused" in await graphmesh(mesh, "schedules", "pause", made)
    assert "active" in await graphmesh(mesh, "schedules", "resume", made)
    assert (await graphmesh(mesh, "schedules", "show", made)).count("next") == 6
    assert "every 1:00:00" in await graphmesh(mesh, "schedules", "update", made, *what, "--every", "1h")
    assert "greeting" in await graphmesh(mesh, "schedules", "list")
    assert "and not both" in await graphmesh(mesh, "schedules", "create", *what, exits=2)
    assert "spec.cron" in await graphmesh(mesh, "schedules", "create", *what, "--cron", "@daily", exits=1)
    assert await graphmesh(mesh, "schedules", "delete", made) == f"{made} is deleted\n"
