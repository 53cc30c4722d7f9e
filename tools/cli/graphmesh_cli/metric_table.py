"""The table of metrics in the documentation, from the instruments that the code declares."""

from importlib import import_module
from pathlib import Path

from graphmesh_chassis.telemetry.metrics import CATALOG, Instrument, label_name, prometheus_name

PAGE = Path("docs/observability.md")
BEGIN, END = "<!-- metrics -->", "<!-- /metrics -->"
MODULES = (
    "graphmesh_chassis.server_metrics",
    "graphmesh_chassis.telemetry.export",
    "graphmesh_nodes.calls",
    "graphmesh_nodes.retries",
    "graphmesh_orchestrator.api.approval_service",
    "graphmesh_orchestrator.checkpoints.group_commit",
    "graphmesh_orchestrator.db.backlog",
    "graphmesh_orchestrator.interrupts.approval_expiry",
    "graphmesh_orchestrator.runs.feedback",
    "graphmesh_orchestrator.webhooks.dispatcher",
    "graphmesh_orchestrator.worker.decision_metrics",
    "graphmesh_orchestrator.worker.late_traces",
    "graphmesh_orchestrator.worker.run_metrics",
    "graphmesh_model.accounting.vendor_call",
)
"""The modules that declare instruments."""


def instruments() -> list[Instrument]:
    """Return all instruments of the product, by name."""
    declared = [import_module(module) for module in MODULES]
    names = {value.instrument.name for module in declared for value in vars(module).values() if _is_instrument(value)}
    return [CATALOG[name] for name in sorted(names)]


def _is_instrument(value: object) -> bool:
    return isinstance(getattr(value, "instrument", None), Instrument)


def page(text: str) -> str:
    """Return a page with the table in it. Raises ValueError: it has no place for it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def table() -> str:
    rows = [_row(one) for one in instruments()]
    return "\n".join(("| in Prometheus | kind, unit | labels | meaning |", "|---|---|---|---|", *rows))


def _row(one: Instrument) -> str:
    name = prometheus_name(one) + ("_total" if one.kind == "counter" else "")
    labels = ", ".join(f"`{label_name(attribute)}`" for attribute in one.attributes)
    return f"| `{name}` | {one.kind}, {one.unit} | {labels} | {one.description} |"
