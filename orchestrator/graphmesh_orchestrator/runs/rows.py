"""Conversion between runs and rows of `runs`, and the row of their threads."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

from graphmesh_chassis.epoch import Epoch
from graphmesh_nodes.budget import Limits, Usage

from graphmesh_orchestrator.db.clock import LEASE_SECONDS, seconds_now
from graphmesh_orchestrator.db.rows import RunColumns
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import (
    Accounting,
    Multitask,
    Run,
    RunIdentity,
    RunRequest,
    RunState,
)

_IDENTITY, _REQUEST, _STATE = ([field.name for field in fields(part)] for part in (RunIdentity, RunRequest, RunState))
CONTENTS = ("input", "output", "context", "configurable")
"""The columns of `runs` that may have megabytes."""
_REQUEST.remove("limits")  # its column has the name that the wire has


def columns_of(run: Run) -> RunColumns:
    """Return the columns of a run, all but those of its lease."""
    columns = {
        **vars(run.identity),
        **vars(run.request),
        **vars(run.state),
        "ceilings": dict(vars(run.request.limits)),
        "last_seq": run.accounting.last_seq,
        "usage": dict(vars(run.accounting.usage)),
    }
    del columns["limits"]
    return cast(RunColumns, columns)


def run_of(row: Mapping[Any, Any]) -> Run:
    """Return the run of a row; SQLAlchemy's rows have the mapping as `_mapping`."""
    request = {name: row[name] for name in _REQUEST}
    state = {name: row[name] for name in _STATE}
    return Run(
        RunIdentity(**{name: row[name] for name in _IDENTITY}),
        RunRequest(**{**request, "limits": Limits(**row["ceilings"]), "multitask": Multitask(row["multitask"])}),
        RunState(**{**state, "status": RunStatus(row["status"]), "epoch": Epoch(row["epoch"])}),
        Accounting(row["last_seq"], _usage_of(row["usage"])),
    )


def _usage_of(stored: Mapping[str, Any]) -> Usage:
    return Usage(**{**stored, "effect_keys": tuple(stored.get("effect_keys", ()))})


def thread_row(run: Run) -> dict[str, Any]:
    """Return the row of the thread that a run creates."""
    identity, now = run.identity, run.request.created
    key = {"tenant": identity.tenant, "thread_id": identity.thread_id}
    return {**key, "graph": identity.graph, "labels": {}, "created": now, "used": now, "ttl_seconds": 0}


def lease_columns(run: Run, worker: str) -> dict[str, Any]:
    """Return the columns of the lease with which a worker begins a new run; of none where the run is pending."""
    if run.status is RunStatus.RUNNING:
        return {"lease_owner": worker, "lease_expires": seconds_now() + LEASE_SECONDS}
    return {"lease_owner": "", "lease_expires": 0}
