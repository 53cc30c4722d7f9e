"""The sample shop: loads its data into the services of a mesh."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from graphmesh.billing.v1 import BillingService
from graphmesh.crm.v1 import CrmService
from graphmesh_chassis.channel import Channel

from graphmesh_cli.commands.import_rows import import_rows
from graphmesh_cli.commands.ingest import ingest_folder
from graphmesh_cli.commands.row_sources import Row, jsonl

_PACKAGED = Path(__file__).parents[1] / "sample"
SAMPLE = _PACKAGED if _PACKAGED.exists() else Path(__file__).parents[4] / "deploy/sample"
"""The data: in a wheel that of the package, in a development environment that of its repository."""
TIMES = ("issueTime", "occurTime")


async def load_sample_shop(channel: Channel, tenant: str = "default") -> str:
    """Load the sample shop, as `graphmesh import` and `graphmesh ingest` do. Returns a summary of the counts."""
    shift = _age_of_sample()
    await import_rows(channel, BillingService.SetRefundPolicy, jsonl(SAMPLE / "refund_policy.jsonl"), tenant=tenant)
    loaded = [
        f"{(await import_rows(channel, rpc, _rows(name, shift), tenant=tenant)).done} {name}"
        for name, rpc in (
            ("customers", CrmService.CreateCustomer),
            ("orders", CrmService.AddRecord),
            ("invoices", BillingService.CreateInvoice),
            ("charges", BillingService.Charge),
        )
    ]
    passages = await ingest_folder(channel, SAMPLE / "articles", tenant=tenant)
    return f"{', '.join(loaded)}, {passages} passages of knowledge"


def _age_of_sample() -> timedelta:
    """Return the time to add to the sample's dates, so that its newest invoice was issued an hour ago."""
    newest = max(datetime.fromisoformat(row.content["issueTime"]) for row in jsonl(SAMPLE / "invoices.jsonl"))
    return datetime.now(UTC) - timedelta(hours=1) - newest


def _rows(name: str, shift: timedelta) -> Iterator[Row]:
    for row in jsonl(SAMPLE / f"{name}.jsonl"):
        shifted = {key: _shifted(row.content[key], shift) for key in TIMES if key in row.content}
        yield replace(row, content={**row.content, **shifted})


def _shifted(time: str, shift: timedelta) -> str:
    return (datetime.fromisoformat(time) + shift).isoformat()
