"""`graphmesh audit` with databases that real stores have written."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from graphmesh_chassis.calls import fingerprint
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.effects import Effect
from graphmesh_chassis.errors import RuleViolated
from graphmesh_chassis.store import SqlStore
from graphmesh_cli.app import app
from typer.testing import CliRunner

from tests.contract.chassis.test_effects import HEADERS, SqlTally, Tally, TallyServer, database, opened, respond
from tests.integration.chassis.probe import Probe, Question


@asynccontextmanager
async def probe_service(url: str, folder: Path) -> AsyncIterator[TallyServer]:
    async with database(url, folder) as stored, opened(SqlStore(stored, SqlTally)) as shop:
        yield shop


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A state folder of a stopped mesh with two services: one has an effect, the other has a refused one."""

    async def refuse(effect: Effect[Tally], question: Any) -> Any:
        raise RuleViolated("Anna may not have 5", rule="cap")

    folder = tmp_path / "databases"
    for name, then in (("billing", respond), ("ticketing", refuse)):
        async with probe_service(f"sqlite+aiosqlite:///{folder}/{name}.db", tmp_path) as shop:
            shop.then = then
            await cause_effect(shop, run=f"run_{name}")
    (folder / "sample-warehouse.db").touch()
    return tmp_path


async def cause_effect(shop: TallyServer, run: str) -> None:
    assert shop.served
    headers = {f"x-graphmesh-{name}": name.upper() for name in HEADERS}
    headers |= {"x-graphmesh-run": run, "x-graphmesh-tenant": "acme", "idempotency-key": run, "x-graphmesh-epoch": "3"}
    headers["x-graphmesh-approval-digest"] = fingerprint(Probe.Change.path, Question(number=5)).hex()
    with suppress(RuleViolated):
        await shop.served.channel.unary(
            Probe.Change, Question(number=5), deadline=Deadline.after(10), headers=[*headers.items()]
        )


def audit(*arguments: object, **environment: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["audit", *map(str, arguments)], env={"COLUMNS": "200", **environment})
    return done.exit_code, done.output


def test_lists_the_effects_of_all_services_in_the_order_of_time(state: Path) -> None:
    """Including refused ones; each is a line with time, tool, result, caller, run, node and approval."""
    code, output = audit("--state", state)
    assert code == 0, output
    _, charged, refused = output.splitlines()
    for part in ("probe.Change", "acme/SUBJECT", "run_billing", "NODE", "APPROVAL", "OK"):
        assert part in charged
    assert "run_ticketing" in refused
    assert "RULE_VIOLATED" in refused


def test_options_filter_by_run_tenant_and_service(state: Path) -> None:

    def runs(*options: str) -> list[str]:
        return [json.loads(line)["run"] for line in audit("--state", state, "--json", *options)[1].splitlines()]

    assert runs() == ["run_billing", "run_ticketing"]
    assert runs("--run", "run_ticketing") == runs("--service", "ticketing") == runs("--limit", "1") == ["run_ticketing"]
    assert runs("--tenant", "acme", "--service", "billing") == ["run_billing"]
    assert runs("--tenant", "other") == []


def test_json_has_all_fields_without_contents(state: Path) -> None:
    """Neither requests nor responses nor messages of errors, which may contain private data."""
    first, second = (json.loads(line) for line in audit("--state", state, "--json")[1].splitlines())
    assert set(first) == {"create_time", "method", "tenant", "key", "epoch", "result", *HEADERS}
    assert (first["thread"], first["epoch"], first["key"]) == ("THREAD", 3, "run_billing")
    assert "Anna" not in json.dumps(second)


async def test_reads_a_database_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    """Named by its URL, or by the service's own setting."""
    async with probe_service(postgres_url, tmp_path) as shop:
        await cause_effect(shop, run="run_postgres")
    for code, output in (
        audit("--database", postgres_url, "--run", "run_postgres"),
        audit("--state", tmp_path, GRAPHMESH_BILLING_DATABASE_URL=postgres_url),
    ):
        assert code == 0
        assert "run_postgres" in output


def test_an_unreadable_database_is_reported(tmp_path: Path) -> None:
    """In one line; a missing file is not created."""
    code, output = audit("--state", tmp_path)
    assert (code, "no database" in output) == (2, True)
    code, output = audit("--database", f"sqlite:///{tmp_path}/none.db")
    assert (code, "cannot be read" in output) == (1, True)
    assert not (tmp_path / "none.db").exists()
    code, output = audit("--database", "mysql://localhost/shop")
    assert (code, "has a driver that is not installed" in output) == (2, True)
