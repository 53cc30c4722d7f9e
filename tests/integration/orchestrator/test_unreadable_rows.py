"""Whatever the rows of a run have, calls that read them answer: what cannot be shown is absent, and named."""

import json
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.database import open_database
from graphmesh_contracts import struct_value
from graphmesh_orchestrator.db.tables import events

from tests.integration.orchestrator.mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

PARKED = pb.RunStatus.RUN_STATUS_INTERRUPTED
UNREADABLE = {
    "nested": '{"a":' * 40 + "1" + "}" * 40,
    "nested beyond the parser": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "lone surrogate": '{"a": "\\ud800"}',
    "lone surrogate in a name": '{"\\ud800": 1}',
    "large integer": '{"a": 1' + "0" * 400 + "}",
    "integer beyond the parser": '{"a": 1' + "0" * 5000 + "}",
    "nan": '{"a": [NaN]}',
    "infinity": '{"a": -Infinity}',
    "no json": '{"a":',
}
PLACES = {
    "input": "UPDATE runs SET input = :data WHERE run_id = :run",
    "output": "UPDATE runs SET output = :data WHERE run_id = :run",
    "labels": "UPDATE runs SET labels = :data WHERE run_id = :run",
    "versions": "UPDATE runs SET versions = :data WHERE run_id = :run",
    "interrupt": "UPDATE interrupts SET value = :data WHERE run_id = :run",
}


async def store(mesh: Mesh, run: pb.Run, statement: str, data: str) -> None:
    url = f"sqlite+aiosqlite:///{mesh.folder}/orchestrator.db"
    async with open_database(url) as database, database.transaction() as connection:
        assert (await connection.execute(sa.text(statement), {"data": data, "run": run.run_id})).rowcount


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", UNREADABLE)
async def test_calls_answer_with_what_can_be_shown(mesh: Mesh, place: str, kind: str) -> None:
    healthy = await mesh.run("ask_twice", name="x")
    run = await mesh.run("ask_twice", name="x")
    before = await mesh.call(pb.RunService.GetRun, pb.GetRunRequest(run_id=healthy.run_id))

    await store(mesh, run, PLACES[place], UNREADABLE[kind])

    shown = (await mesh.call(pb.RunService.GetRun, pb.GetRunRequest(run_id=run.run_id))).run
    assert (shown.run_id, shown.status) == (run.run_id, PARKED)
    waited = (await mesh.call(pb.RunService.WaitRun, pb.WaitRunRequest(run_id=run.run_id))).run
    listed = (await mesh.call(pb.RunService.ListRuns, pb.ListRunsRequest())).runs
    assert [waited, shown] == [shown, listed[0]]
    assert listed[1] == before.run
    assert [event.seq for event in await mesh.events(run)] == list(range(1, run.last_seq + 1))
    if place in ("input", "output"):
        assert [field.partition(":")[0].partition(".")[0] for field in shown.not_shown] == [place]
        assert not shown.HasField("input" if place == "input" else "output")
    elif place == "interrupt":
        assert shown.interrupts[0].not_shown.startswith("value")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"{}",
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + data[:2],
        lambda data: data + b"\x1a\x00",
        lambda data: b"\x12" + data[1:],
        lambda data: b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ],
    ids=["other bytes", "empty", "cut off", "too long", "one too many", "another field", "endless number"],
)
async def test_events_of_a_damaged_row_are_named(mesh: Mesh, damage: Callable[[bytes], bytes]) -> None:
    """Each has its number, and those in other rows are shown."""
    run = await mesh.run("ask_twice", name="x")
    url = f"sqlite+aiosqlite:///{mesh.folder}/orchestrator.db"
    row = sa.sql.and_(events.c.run_id == run.run_id, events.c.last_seq == run.last_seq)
    async with open_database(url) as database, database.transaction() as connection:
        data, kinds = (await connection.execute(sa.select(events.c.data, events.c.kinds).where(row))).one()
        await connection.execute(sa.update(events).where(row).values(data=damage(data)))

    found = await mesh.events(run)

    assert [event.seq for event in found] == list(range(1, run.last_seq + 1))
    assert [bool(event.not_shown) for event in found][-len(kinds) :] == [True] * len(kinds)


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_a_run_with_an_unreadable_input_ends(mesh: Mesh, kind: str) -> None:
    run = await mesh.run("ask_twice", name="x")
    await store(mesh, run, PLACES["input"], UNREADABLE[kind])

    await mesh.client.cancel_run(run.run_id, "unreadable")

    assert (await mesh.wait(run)).status == pb.RunStatus.RUN_STATUS_CANCELLED


async def test_values_that_json_has_are_shown(mesh: Mesh) -> None:
    run = await mesh.run("ask_twice", name="x")
    await store(mesh, run, PLACES["output"], json.dumps({"a": ["\u20ac", 1.5, None, {"b": True}]}))

    shown = (await mesh.call(pb.RunService.GetRun, pb.GetRunRequest(run_id=run.run_id))).run
    assert not shown.not_shown
    assert struct_value(shown.output)["a"][0] == "\u20ac"
