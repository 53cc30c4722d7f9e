"""Rollbacks over every store: the next run on the thread deletes what the rolled back runs have written."""

from graphmesh_orchestrator.runs.run import Multitask
from graphmesh_orchestrator.worker.suspension import Suspension
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointMetadata

from tests.contract.checkpoints import kit
from tests.contract.orchestrator.stores import Stores
from tests.contract.orchestrator.test_runs import a_run, add

THREAD = kit.at("acme/th")


async def put(stores: Stores, config: RunnableConfig, version: int, notes: str) -> RunnableConfig:
    """Store a checkpoint whose channel has this version. Returns its config, with the epoch."""
    new, metadata = kit.checkpoint(notes=notes), CheckpointMetadata(source="loop", step=0, parents={})
    new["channel_versions"] = {"notes": version}
    stored = await stores.saver.aput(config, new, metadata, new["channel_versions"])
    return {"configurable": {**config["configurable"], **stored["configurable"]}}


async def test_next_run_deletes_the_writes_of_rolled_back_runs(stores: Stores) -> None:
    """Also where the run that requested the rollback was cancelled before its turn. They are deleted once: later runs
    build on what is left."""
    suspension = Suspension(stores.interrupts, stores.runs, stores.saver)
    await add(stores, a_run(1))
    await put(stores, kit.with_epoch(THREAD, "run_1"), 1, "written by the first")
    [second] = await add(stores, a_run(2, multitask=Multitask.ROLLBACK))
    await stores.runs.request_cancellation("acme", second.run_id, "not wanted any more")
    await stores.end("run_1")
    assert await stores.claimed() == ["run_2"]
    await stores.end("run_2")
    [third] = await add(stores, a_run(3, multitask=Multitask.ENQUEUE))
    await suspension.revert_rolled_back(third)
    assert await stores.saver.aget_tuple(THREAD) is None
    assert await stores.runs.rolled_back(third) == []


async def test_checkpoints_and_writes_of_other_runs_are_kept(stores: Stores) -> None:
    [first] = await add(stores, a_run(1))
    kept = await put(stores, kit.with_epoch(THREAD, "run_1"), 1, "kept")
    await stores.saver.aput_writes(kept, [("notes", "kept")], "task_1")
    await stores.end("run_1")
    await add(stores, a_run(2))
    rolled_back = kit.with_epoch(kept, "run_2")
    await stores.saver.aput_writes(rolled_back, [("notes", "rolled back")], "task_2")
    await put(stores, rolled_back, 2, "rolled back")
    [third] = await add(stores, a_run(3, multitask=Multitask.ROLLBACK))
    await Suspension(stores.interrupts, stores.runs, stores.saver).revert_rolled_back(third)
    newest = await stores.saver.aget_tuple(THREAD)
    assert newest is not None
    assert newest.checkpoint["channel_values"] == {"notes": "kept"}
    assert [task for task, _, _ in newest.pending_writes or ()] == ["task_1"]
    assert await stores.runs.rolled_back(first) == []
