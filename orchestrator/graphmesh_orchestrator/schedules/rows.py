"""Conversion between schedules and rows of `schedules`."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from graphmesh_orchestrator.schedules.schedule import CatchUp, Progress, Schedule, ScheduleStatus, Spec
from graphmesh_orchestrator.schedules.timing import Timing

_TIMING, _PROGRESS = ([field.name for field in fields(part)] for part in (Timing, Progress))
_SPEC = [field.name for field in fields(Spec) if field.name != "timing"]
_OWN = [field.name for field in fields(Schedule) if field.name not in ("spec", "progress")]


def columns_of(schedule: Schedule) -> dict[str, Any]:
    """Return the columns of a schedule, all but `moved` and `claimed_until`."""
    spec = schedule.spec
    columns = {**vars(schedule), **vars(spec), **vars(spec.timing), **progress_columns(schedule)}
    for name in ("spec", "timing", "progress"):
        del columns[name]
    return columns


def progress_columns(schedule: Schedule) -> dict[str, Any]:
    """Return the columns that ticks change."""
    return {"status": schedule.status, **vars(schedule.progress)}


def schedule_of(row: Mapping[Any, Any]) -> Schedule:
    """Return the schedule of a row; SQLAlchemy's rows have the mapping as `_mapping`."""
    spec = {name: row[name] for name in _SPEC}
    timing = Timing(**{name: row[name] for name in _TIMING})
    own = {name: row[name] for name in _OWN}
    return Schedule(
        **{**own, "status": ScheduleStatus(row["status"])},
        spec=Spec(**{**spec, "catch_up": CatchUp(row["catch_up"])}, timing=timing),
        progress=Progress(**{name: row[name] for name in _PROGRESS}),
    )
