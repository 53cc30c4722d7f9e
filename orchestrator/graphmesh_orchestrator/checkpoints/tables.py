"""The tables of the checkpoint log: checkpoints and task writes. Their artifacts are in `db.tables`."""

import sqlalchemy as sa

from graphmesh_orchestrator.db.tables import Key, metadata

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("thread_id", Key, primary_key=True),
    sa.Column("ns", Key, primary_key=True),
    sa.Column("checkpoint_id", Key, primary_key=True),
    sa.Column("parent_id", Key),
    sa.Column("follows", Key),
    sa.Column("run_id", Key),
    sa.Column("stamp", sa.BigInteger, nullable=False),
    sa.Column("head", sa.LargeBinary),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("refers", sa.JSON(none_as_null=True)),
)
"""One row a superstep.

`head` is the checkpoint without its values, with its metadata and the ids of the rows that hold its values; `data` has
the new values. A row whose `head` is null is not a checkpoint any more; it is kept for values that others refer to.
`refers` has the names of the artifacts that `data` refers to; null for none.
`follows` is the parent where no other checkpoint may follow it (see `NEWEST`). `stamp` orders the rows of a thread: it
is greater than the parent's even where the clocks of processes differ.
"""
sa.Index("checkpoints_by_stamp", checkpoints.c.thread_id, checkpoints.c.ns, checkpoints.c.stamp)
sa.Index("checkpoints_by_follows", checkpoints.c.thread_id, checkpoints.c.ns, checkpoints.c.follows, unique=True)
sa.Index("checkpoints_by_run", checkpoints.c.run_id)

task_writes = sa.Table(
    "task_writes",
    metadata,
    sa.Column("thread_id", Key, primary_key=True),
    sa.Column("ns", Key, primary_key=True),
    sa.Column("checkpoint_id", Key, primary_key=True),
    sa.Column("task_id", Key, primary_key=True),
    sa.Column("stamp", sa.BigInteger, primary_key=True),
    sa.Column("task_path", Key, nullable=False),
    sa.Column("run_id", Key),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("refers", sa.JSON(none_as_null=True)),
)
"""One row for the writes that a task stores at once; `stamp` orders the rows of a task."""
sa.Index("task_writes_by_run", task_writes.c.run_id)
