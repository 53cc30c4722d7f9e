"""Runs as values, for the suites of the orchestrator's stores."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from graphmesh_chassis.epoch import Epoch
from graphmesh_orchestrator.runs.run import Accounting, Run, RunIdentity, RunRequest, RunState, own_thread

NOW = datetime.now(UTC)
_REQUEST, _STATE, _ACCOUNTING = (
    {field.name for field in dataclasses.fields(part)} for part in (RunRequest, RunState, Accounting)
)


def a_run(
    run_id: str = "run_1",
    *,
    tenant: str = "acme",
    thread_id: str | None = None,
    graph: str = "pay",
    created: datetime = NOW,
    subject: str = "ana",
    roles: list[str] | None = None,
    client: str = "",
    **fields: Any,
) -> Run:
    """Return a run, by default with a thread of its own and a deadline one hour after `created`.

    `fields` are fields of its request, its state or its accounting; `epoch` may be an `int`.
    """
    if unknown := fields.keys() - _REQUEST - _STATE - _ACCOUNTING:
        raise TypeError(f"fields of no part of a run: {', '.join(sorted(unknown))}")
    request: dict[str, Any] = {"input": {}, "created": created, "recursion_limit": 25}
    state: dict[str, Any] = {"deadline": created + timedelta(hours=1)}
    return Run(
        RunIdentity(
            run_id, tenant, subject, own_thread(run_id) if thread_id is None else thread_id, graph, roles, client
        ),
        RunRequest(**request | _only(_REQUEST, fields)),
        RunState(**state | _only(_STATE, fields) | {"epoch": Epoch(fields.get("epoch", 0))}),
        Accounting(**_only(_ACCOUNTING, fields)),
    )


def _only(names: set[str], fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name in names}
