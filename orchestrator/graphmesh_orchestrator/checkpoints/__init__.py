"""The fenced log checkpointer: LangGraph's checkpoints and task writes in the orchestrator's database.

    commits = GroupCommit(database)
    async with commits.running():
        graph = builder.compile(checkpointer=LogSaver(database, commits))
        await graph.ainvoke(value, {"configurable": {"thread_id": "t", CLAIM: Claim(run_id, epoch)}}, durability="sync")

The log is append-only: a superstep is one row with the values that are new in it, a task's writes are one row. What
many runs have waiting is stored in one transaction, which proves that their epochs are current; nothing is reported
as stored before its commit.
"""

from graphmesh_orchestrator.checkpoints.config_keys import BLANK, CLAIM, HEAD, Blank, Claim, Place
from graphmesh_orchestrator.checkpoints.entries import Entry, Source
from graphmesh_orchestrator.checkpoints.group_commit import GroupCommit
from graphmesh_orchestrator.checkpoints.large_values import Bounds
from graphmesh_orchestrator.checkpoints.retry_reads import patient
from graphmesh_orchestrator.checkpoints.saver import LogSaver
from graphmesh_orchestrator.checkpoints.write_behind import TRAIL, Trail, trail_of

__all__ = [
    "BLANK",
    "CLAIM",
    "HEAD",
    "TRAIL",
    "Blank",
    "Bounds",
    "Claim",
    "Entry",
    "GroupCommit",
    "LogSaver",
    "Place",
    "Source",
    "Trail",
    "patient",
    "trail_of",
]
