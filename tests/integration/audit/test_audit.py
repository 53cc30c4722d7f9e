"""`graphmesh audit` with databases that real stores have written."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from graphmesh_chassis.audit_sealer import Sealer
from graphmesh_chassis.calls import fingerprint
from graphmesh_chassis.database import open_database
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
            Probe.Change, Question(number=5), deadline=Deadline.after(60), headers=[*headers.items()]
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


def test_lists_what_envoy_has_refused(state: Path) -> None:
    """Equal calls of a minute as one. Only a verified token states a caller; of a workload it is the certificate."""
    run, spiffe = "/graphmesh.orchestrator.v1.RunService/CreateRun", "spiffe://graphmesh.local/crm"
    call = {"listener": "edge", "timestamp": "2026-11-30T12:00:01.000Z", "http_status": 200, "from": "192.0.2.7"}
    call |= {"method": "POST", "path": run, "grpc_status": "UNAUTHENTICATED"}
    call |= {"detail": "jwt_authn_access_denied{Jwt_is_expired}"}
    denied = {**call, "grpc_status": "PERMISSION_DENIED", "detail": "rbac_denied", "timestamp": "2026-11-30T12:01:00Z"}
    of_workload = {**denied, "listener": "mesh", "tenant": "lie", "subject": "lie", "timestamp": "2026-11-30T12:02:00Z"}
    lines = [
        *[call] * 3,
        {**call, "grpc_status": "OK"},
        {**denied, "replica": "127.0.0.1:1"},
        {**denied, "tenant": "acme", "subject": "mira"},
        {**of_workload, "workload": spiffe},
        {**call, "method": "GET", "path": "/v1/runs?x=1", "http_status": 401, "timestamp": "2026-11-30T12:03:00Z"},
    ]
    (state / "logs").mkdir()
    (state / "logs" / "envoy.log").write_text("[warning] a line\n" + "".join(f"{json.dumps(one)}\n" for one in lines))

    def shown(*options: str) -> list[tuple[object, ...]]:
        entries = map(json.loads, audit("--state", state, "--service", "envoy", "--json", *options)[1].splitlines())
        names = ("method", "tenant", "subject", "source", "result", "detail", "calls")
        return [tuple(entry.get(name, "") for name in names) for entry in entries]

    assert shown() == [
        (run, "", "", "192.0.2.7", "UNAUTHENTICATED", "Jwt_is_expired", 3),
        (run, "acme", "mira", "192.0.2.7", "PERMISSION_DENIED", "rbac_denied", 1),
        (run, "", "", spiffe, "PERMISSION_DENIED", "rbac_denied", 1),
        ("GET /v1/runs", "", "", "192.0.2.7", "UNAUTHENTICATED", "Jwt_is_expired", 1),
    ]
    assert [one[1] for one in shown("--tenant", "acme")] == ["acme"]
    text = audit("--state", state)[1]
    assert ("UNAUTHENTICATED Jwt_is_expired x3" in text, "192.0.2.7" in text, "GET /v1/runs" in text) == (True,) * 3
    assert "UNAUTHENTICATED" not in audit("--state", state, "--run", "run_billing")[1]


def test_json_has_all_fields_without_contents(state: Path) -> None:
    """Neither requests nor responses nor messages of errors, which may contain private data."""
    first, second = (json.loads(line) for line in audit("--state", state, "--json")[1].splitlines())
    own = {"create_time", "method", "tenant", "key", "epoch", "result", "detail", "calls", "number", "source"}
    assert set(first) == {*own, *HEADERS}
    assert (first["thread"], first["epoch"], first["key"]) == ("THREAD", 3, "run_billing")
    assert "Anna" not in json.dumps(second)


async def seal(url: str) -> None:
    async with open_database(url) as stored:
        await Sealer(stored).seal()


async def test_verify_reports_sealed_rows_and_the_first_broken_one(state: Path) -> None:
    """A warehouse without a log is left out."""
    code, output = audit("--state", state, "--verify")
    _, *rows = (line.split() for line in output.splitlines())
    assert (code, rows) == (0, [["billing", "0", "1", "0" * 64], ["ticketing", "0", "1", "0" * 64]])
    await seal(f"sqlite+aiosqlite:///{state}/databases/billing.db")
    log = json.loads(audit("--state", state, "--verify", "--json", "--service", "billing")[1])
    assert (log["database"], log["sealed"], log["unsealed"], log["broken"]) == ("billing", 1, 0, "")
    with closing(sqlite3.connect(state / "databases" / "billing.db")) as connection, connection:
        connection.execute("UPDATE audit_log SET subject = 'eve'")
    code, output = audit("--state", state, "--verify")
    assert code == 1
    assert "billing: row 1 (probe.Change of acme/eve at " in output
    assert "was changed" in output
    with closing(sqlite3.connect(state / "databases" / "billing.db")) as connection, connection:
        connection.execute("DROP TABLE audit_log")
    code, output = audit("--state", state, "--verify")
    assert (code, "billing: the table audit_log was removed" in output) == (1, True)


async def test_verify_compares_with_anchors(state: Path, tmp_path: Path) -> None:
    """Earlier results of its own, and lines of a log, in one file. An anchor outlives the log that it is of."""
    url, file = f"sqlite+aiosqlite:///{state}/databases/billing.db", tmp_path / "anchors.jsonl"
    await seal(url)
    earlier = audit("--state", state, "--verify", "--json")[1]
    one = json.loads(earlier.splitlines()[0])
    logged = {"event": "audit log sealed", "service": "billing", "sealed": 1, "hash": one["hash"]}
    file.write_text(f"{earlier}some line of a log\n{json.dumps(logged)}\n")

    def compared(*options: object) -> tuple[int, str]:
        return audit("--state", state, "--verify", "--anchors", file, *options)

    assert compared()[0] == 0
    file.write_text(json.dumps({**logged, "hash": "0" * 64}))
    assert (compared()[0], "billing: row 1 (probe.Change of acme/" in compared()[1]) == (1, True)
    assert compared("--service", "ticketing")[1].endswith("has no anchor of ticketing\n")
    file.write_text(json.dumps({**logged, "service": "shipping"}))
    assert (compared()[0], "shipping: there is no log, and the anchor has row 1" in compared()[1]) == (1, True)
    file.write_text(f"{earlier}{json.dumps({**logged, 'hash': '0' * 64})}")
    assert (compared()[0], "line 3: row 1 of billing has another hash in a line before" in compared()[1]) == (1, True)
    file.write_text(json.dumps({**logged, "sealed": "1"}))
    assert (compared()[0], "line 1: needs database or service, sealed and hash" in compared()[1]) == (2, True)
    assert audit("--state", state, "--anchors", file)[0] == 2


async def test_verify_reads_a_database_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    async with probe_service(postgres_url, tmp_path) as shop:
        await cause_effect(shop, run="run_one")
        await cause_effect(shop, run="run_two")
    await seal(postgres_url)
    code, output = audit("--database", postgres_url, "--verify")
    assert (code, output.splitlines()[1].split()[:3]) == (0, ["database", "2", "0"])
    with sa.create_engine(postgres_url, poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql("DELETE FROM audit_log WHERE number = 1")
    code, output = audit("--database", postgres_url, "--verify")
    assert (code, "database: row 1 was removed" in output) == (1, True)


def test_verify_takes_no_filters(state: Path) -> None:
    for option in (["--run", "run_1"], ["--tenant", "acme"], ["--limit", "5"], ["--imports"]):
        code, output = audit("--state", state, "--verify", *option)
        assert (code, "--verify verifies whole logs" in output) == (2, True)


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
