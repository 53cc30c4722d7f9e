"""The fenced log checkpointer: LangGraph's checkpoints and task writes in the orchestrator's database.

    commits = GroupCommit(SqlBatchWriter(database))
    async with commits.running():
        graph = builder.compile(checkpointer=LogSaver(database, commits))
        config = {"configurable": {"thread_id": "t", RUN_EPOCH: RunEpoch(run_id, epoch)}}
        await graph.ainvoke(value, config, durability="sync")

The log is append-only: a superstep is one row with the values that are new in it, and the writes of a task are one row.
The entries of many runs are stored in one transaction, which proves that their epochs are current; nothing is reported
as stored before its commit.
"""

from graphmesh_orchestrator.checkpoints.config_keys import (
    NEW_THREAD,
    NEWEST,
    RUN_EPOCH,
    CheckpointRef,
    NewThread,
    RunEpoch,
    thread_config,
)
from graphmesh_orchestrator.checkpoints.entries import Commits, Entry, Source
from graphmesh_orchestrator.checkpoints.group_commit import GroupCommit
from graphmesh_orchestrator.checkpoints.group_commit_sql import SqlBatchWriter
from graphmesh_orchestrator.checkpoints.large_values import StateLimits
from graphmesh_orchestrator.checkpoints.retry_reads import RETRY_SECONDS, retry_while_unavailable
from graphmesh_orchestrator.checkpoints.saver import LogSaver
from graphmesh_orchestrator.checkpoints.write_behind import WriteBehind, write_behind_of

__all__ = [
    "NEWEST",
    "NEW_THREAD",
    "RETRY_SECONDS",
    "RUN_EPOCH",
    "CheckpointRef",
    "Commits",
    "Entry",
    "GroupCommit",
    "LogSaver",
    "NewThread",
    "RunEpoch",
    "Source",
    "SqlBatchWriter",
    "StateLimits",
    "WriteBehind",
    "retry_while_unavailable",
    "thread_config",
    "write_behind_of",
]
