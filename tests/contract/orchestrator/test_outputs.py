"""Outputs that grow with their thread: each run shows its own, and a conversation takes what was added to it."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa
from graphmesh_orchestrator.db.tables import artifacts, runs
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run

from tests.contract.orchestrator.stores import WORKER, SqlStores, Stores, stop_entry
from tests.contract.runs import a_run

TURN_BYTES = 2 * 400


def conversation(turns: int) -> list[dict[str, Any]]:
    """Return its messages, two a turn."""
    return [{"type": "human" if n % 2 else "ai", "id": f"m{n}", "content": f"{n} " * 120} for n in range(2 * turns)]


async def add(stores: Stores, number: int, output: dict[str, Any], thread_id: str = "th", **own: Any) -> Run:
    """Add a run that has ended with an output."""
    run = await stores.runs.add(a_run(f"run_{number}", thread_id=thread_id, **own), WORKER)
    changes: dict[str, Any] = {"status": RunStatus.SUCCESS, "holds_thread": False, "output": output}
    ended = run.with_state(ended=run.request.created + timedelta(seconds=1), **changes)
    await stores.commits.store(stop_entry(ended))
    return await stores.runs.get("acme", run.run_id)


async def block_count(stores: SqlStores) -> int:
    query = sa.select(sa.func.count()).select_from(artifacts).where(artifacts.c.name.startswith("output:"))
    return int((await stores.database.rows(query))[0][0])


async def stored_bytes(stores: SqlStores) -> int:
    """Return the bytes of all outputs."""
    size = sa.func.length if stores.database.is_sqlite else sa.func.octet_length
    in_rows = sa.select(sa.func.sum(size(sa.cast(runs.c.output, sa.Text))))
    in_blocks = sa.select(sa.func.coalesce(sa.func.sum(size(artifacts.c.data)), 0))
    return sum([int((await stores.database.rows(query))[0][0]) for query in (in_rows, in_blocks)])


@pytest.mark.parametrize("count", [0, 7, 8, 9, 63, 64, 65, 200, 520])
async def test_output_is_read_as_it_was_returned(stores: Stores, count: int) -> None:
    """By each way that shows a run."""
    messages, numbers = conversation(260)[:count], list(range(count))
    output = {"before": 1, "messages": messages, "numbers": numbers, "after": {"a": [1] * 9}}
    run = await add(stores, 1, output, request_id="r")
    assert run.state.output == output
    assert list(run.state.output) == list(output)
    assert [found.state.output for found in await stores.runs.find("acme", {}, None, 10)] == [output]
    assert [found.state.output for found in await stores.runs.find("acme", {}, None, 10, contents=False)] == [None]
    again = await stores.runs.add(a_run("run_2", thread_id="th", request_id="r"), WORKER)
    assert (again.run_id, again.state.output) == ("run_1", output)


async def test_conversation_takes_what_was_added_to_it(sql_stores: SqlStores) -> None:
    """A turn adds a few times its messages, however long the conversation is."""
    sizes = []
    for turn in range(1, 161):
        messages = conversation(turn)
        run = await add(sql_stores, turn, {"messages": messages})
        if turn % 40 == 0:
            assert run.state.output == {"messages": messages}
            sizes.append(await stored_bytes(sql_stores))
    grown = [after - before for before, after in pairwise(sizes)]
    assert max(grown) < 1.5 * min(grown)
    assert sizes[-1] < 12 * 160 * TURN_BYTES
    for turn in (1, 50, 100):
        assert (await sql_stores.runs.get("acme", f"run_{turn}")).state.output == {"messages": conversation(turn)}


async def test_edited_message_changes_no_earlier_output(stores: Stores) -> None:
    messages = conversation(50)
    edited = [*messages[:3], {**messages[3], "content": "edited"}, *messages[4:]]
    await add(stores, 1, {"messages": messages})
    await add(stores, 2, {"messages": edited})
    found = await stores.runs.find("acme", {}, None, 10)
    assert {run.run_id: run.state.output for run in found} == {
        "run_1": {"messages": messages},
        "run_2": {"messages": edited},
    }


async def test_blocks_are_deleted_with_the_last_run_that_has_them(sql_stores: SqlStores) -> None:
    old, young = datetime.now(UTC) - timedelta(days=2), datetime.now(UTC)
    await add(sql_stores, 1, {"messages": conversation(40)}, created=old)
    await add(sql_stores, 2, {"messages": [{"other": "x" * 500}] * 64}, created=old)
    await add(sql_stores, 3, {"messages": conversation(41)}, created=young)
    await add(sql_stores, 4, {"messages": conversation(40)}, "else", created=old)
    before = await block_count(sql_stores)
    await sql_stores.deletion.delete_runs(young - timedelta(days=1))
    assert (await sql_stores.runs.get("acme", "run_3")).state.output == {"messages": conversation(41)}
    assert 0 < await block_count(sql_stores) < before / 2
    await sql_stores.deletion.delete("acme", "th")
    assert await block_count(sql_stores) == 0


async def test_run_that_ends_while_blocks_are_deleted_keeps_its_own(sql_stores: SqlStores) -> None:
    old = datetime.now(UTC) - timedelta(days=2)
    for number in range(0, 20, 2):
        await add(sql_stores, number, {"messages": conversation(40)}, created=old)
        ending = add(sql_stores, number + 1, {"messages": conversation(41)}, created=datetime.now(UTC))
        _, run = await asyncio.gather(sql_stores.deletion.delete_runs(old + timedelta(days=1)), ending)
        assert (await sql_stores.runs.get("acme", run.run_id)).state.output == {"messages": conversation(41)}
