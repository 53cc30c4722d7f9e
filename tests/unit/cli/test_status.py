"""The status of a mesh is read from metrics: what is not known is no zero."""

import math
from pathlib import Path
from typing import Any

import pytest
from graphmesh_cli.commands.status import graphs_of, screen, services_of
from graphmesh_local.process_metrics import MeshMetrics, Replicas, Samples, service_of
from graphmesh_local.state_folder import MeshState
from rich.console import Console

TEXT = """
langgraph_runs_in_flight{graphmesh_graph="support"} 2.0
graphmesh_runs_ended_total{graphmesh_end="success",graphmesh_graph="support",graphmesh_graph_version="1"} 6.0
graphmesh_runs_ended_total{graphmesh_end="error",graphmesh_graph="support",graphmesh_graph_version="2"} 2.0
graphmesh_runs_ended_total{graphmesh_end="cancelled",graphmesh_graph="support",graphmesh_graph_version="2"} 2.0
graphmesh_run_duration_seconds_bucket{graphmesh_graph="support",graphmesh_end="success",le="1.0"} 5.0
graphmesh_run_duration_seconds_bucket{graphmesh_graph="support",graphmesh_end="success",le="2.0"} 10.0
graphmesh_run_duration_seconds_bucket{graphmesh_graph="support",graphmesh_end="success",le="+Inf"} 10.0
graphmesh_run_tokens_sum{graphmesh_graph="support"} 5000.0
graphmesh_run_cost_usd_sum{graphmesh_graph="support"} 0.05
graphmesh_server_slots{rpc_service="b"} 15.0
graphmesh_server_slots_max{rpc_service="b"} 16.0
graphmesh_server_queue{rpc_service="b"} 3.0
graphmesh_server_call_duration_seconds_count{error_type="",rpc_method="m"} 8.0
graphmesh_server_call_duration_seconds_count{error_type="DATABASE_UNAVAILABLE",rpc_method="m"} 1.0
graphmesh_server_call_duration_seconds_count{error_type="RULE_VIOLATED",rpc_method="m"} 1.0
graphmesh_runs_pending 4.0
graphmesh_runs_oldest_pending_seconds 90.0
"""
PROCESS: dict[str, Any] = {"address": "127.0.0.1:1", "pid": 1, "state": "ready", "starts": 1, "log": Path("log")}


def mesh() -> MeshState:
    addresses = dict.fromkeys(("edge", "mesh", "admin"), "127.0.0.1:1")
    services = {"billing": ("127.0.0.1:1", "127.0.0.1:2"), "crm": ("127.0.0.1:3",)}
    processes = dict.fromkeys(("billing-1", "billing-2", "crm", "envoy"), PROCESS)
    return MeshState.model_validate(
        {"pid": 1, "environment": "", "certificates": "c", "services": services, "processes": processes, **addresses}
    )


def metrics(*, replicas: bool = True) -> MeshMetrics:
    samples = Samples.parsed([TEXT, "graphmesh_runs_pending 4.0\n"])
    found = {"billing": Replicas(1, 2, 1), "crm": Replicas(1, 1, 0)} if replicas else {}
    return MeshMetrics(samples, {"billing": samples, "crm": Samples()}, found, ["crm"])


def test_graph_has_success_durations_and_money() -> None:
    """Cancelled runs are neither success nor failure."""
    [support] = graphs_of(metrics().samples)
    assert (support.graph, support.version, support.in_flight, support.ended) == ("support", "1, 2", 2, 10)
    assert (support.success, support.p50_seconds) == (0.75, 1.0)
    assert support.p95_seconds == pytest.approx(1.9)
    assert (support.tokens_a_run, support.dollars_a_run) == (500, 0.005)


def test_service_has_replicas_caps_and_its_own_errors() -> None:
    """Not those of its callers."""
    billing, crm = services_of(mesh(), metrics())
    assert (billing.healthy, billing.replicas, billing.ejected) == (1, 2, 1)
    assert (billing.slots, billing.max_slots, billing.queued, billing.calls, billing.errors) == (15, 16, 3, 10, 0.1)
    assert (crm.healthy, crm.slots, crm.calls, crm.errors) == (1, None, None, None)


def shown(found: MeshMetrics) -> str:
    console = Console(width=120, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    console.print(screen(mesh(), found))
    console.file.close()
    return console.export_text()


def test_screen_states_what_is_not_known() -> None:
    """And what waits, once: processes read it from one database."""
    text = shown(metrics())
    assert "1 of 2" in text
    assert "1 out" in text
    assert "no metrics" in text
    assert "4 runs pending, 0 approvals pending" in text
    assert "the oldest run waits for 90.0 s" in text
    assert "without metrics: crm" in text
    assert "?" in shown(metrics(replicas=False))


@pytest.mark.parametrize(
    ("process", "service"), [("billing-1", "billing"), ("crm", "crm"), ("orchestrator-10", "orchestrator")]
)
def test_processes_belong_to_services(process: str, service: str) -> None:
    assert service_of(process, mesh()) == service


def test_quantiles_are_those_of_prometheus() -> None:
    samples = metrics().samples
    assert samples.quantile("graphmesh_run_duration_seconds", 0.25) == 0.5
    assert samples.quantile("graphmesh_run_duration_seconds", 1) == 2
    assert math.isnan(samples.quantile("nothing", 0.5))
    infinite = Samples.parsed(['h_bucket{le="1.0"} 0.0\nh_bucket{le="+Inf"} 3.0\n'])
    assert infinite.quantile("h", 0.5) == 1
