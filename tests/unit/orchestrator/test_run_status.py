"""The status of a run is defined once: the contract and the tables have the same values."""

import sqlalchemy as sa
from graphmesh.orchestrator import v1 as pb
from graphmesh_orchestrator import run_status
from graphmesh_orchestrator.db import tables
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs import convert
from sqlalchemy.dialects import postgresql

from tests.contract.runs import a_run

PREFIX = "RUN_STATUS_"


def test_statuses_are_those_of_the_contract() -> None:
    names = {name.removeprefix(PREFIX) for name in pb.RunStatus.keys()}  # noqa: SIM118
    assert names == {"UNSPECIFIED", *RunStatus.__members__}


def test_messages_have_the_status_of_the_run() -> None:
    for status in RunStatus:
        message = convert.run_message(a_run(status=status))
        assert pb.RunStatus.Name(message.status) == f"{PREFIX}{status.name}"


def test_each_status_is_active_parked_or_final() -> None:
    assert {status for status in RunStatus if status.is_active} == set(run_status.ACTIVE)
    assert {status for status in RunStatus if not status.is_active and not status.is_final} == {RunStatus.INTERRUPTED}


def test_conditions_of_indexes_are_those_of_the_migrations() -> None:
    """They are made of the values of statuses; a database uses a partial index only where a statement has its text."""
    active = "status IN ('pending', 'running')"
    conditions = {tables.claimable: active, tables.by_owner: active, tables.waiting: "status = 'pending'"}
    for index, condition in conditions.items():
        for dialect in ("sqlite", "postgresql"):
            assert str(index.dialect_options[dialect]["where"]).startswith(condition)


def test_conditions_of_statements_have_the_values_of_statuses() -> None:
    for condition in (tables.ACTIVE, tables.CLAIMABLE, tables.HELD, tables.WAITING):
        compiled = sa.select(tables.runs.c.run_id).where(condition).compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
        assert not compiled.params
        assert f"'{RunStatus.PENDING}'" in str(compiled)
