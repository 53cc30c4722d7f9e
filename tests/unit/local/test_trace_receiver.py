"""A mesh without a collector gets a receiver of its own, with ports and a key that edits do not change."""

from pathlib import Path
from typing import Any

import pytest
from graphmesh_local.server_programs import mesh_programs
from graphmesh_local.state_folder import StateFolder
from graphmesh_local.trace_receiver import KEY_HEADER, TraceReceiver, export_settings
from graphmesh_mesh.envoy.render import documents
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.topology import Mesh, parse

MESH: dict[str, Any] = {
    "edge": {"port": 8080, "identity": "forwarded"},
    "mesh": {"port": 8081},
    "admin": {"port": 8082},
    "services": {"crm": {"service": "graphmesh.crm.v1.CrmService", "module": "graphmesh_crm", "port": 20200}},
}
COLLECTOR = {"collector": {"address": "otel.example", "port": 4317}, "traces": 0.25, "headers": "x-key=abc,y=z"}


def mesh_with(telemetry: Any = None) -> Mesh:
    services = {
        **MESH["services"],
        "orchestrator": {"service": "graphmesh.orchestrator.v1.RunService", "external": True},
    }
    services["orchestrator"]["port"] = 20050
    return parse({**MESH, "services": services, **({"telemetry": telemetry} if telemetry else {})})


def test_receiver_is_added_once() -> None:
    receiver = TraceReceiver()
    first, again = receiver.added_to(mesh_with()), receiver.added_to(mesh_with())
    assert first.services["telemetry"].port == again.services["telemetry"].port
    assert first.telemetry == again.telemetry
    assert first.telemetry
    assert first.telemetry.traces == 1
    assert TraceReceiver().added_to(mesh_with()).telemetry != first.telemetry


def test_share_of_traces_is_kept() -> None:
    found = TraceReceiver().added_to(mesh_with({"traces": 0.5})).telemetry
    assert found
    assert (found.traces, found.collector is None) == (0.5, False)


def test_collector_takes_the_place_of_the_receiver(tmp_path: Path) -> None:
    mesh = TraceReceiver().added_to(mesh_with(COLLECTOR))
    assert "telemetry" not in mesh.services
    settings = export_settings(mesh, "crm", StateFolder(tmp_path))
    assert settings["OTLP_ENDPOINT"] == "http://otel.example:4317"
    assert (settings["OTLP_HEADERS"], settings["TRACE_RATIO"], settings["METRICS"]) == ("x-key=abc,y=z", "0.25", "otlp")


def test_settings_of_the_user_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHMESH_CRM_TRACES", "off")
    assert not export_settings(TraceReceiver().added_to(mesh_with()), "crm", StateFolder(tmp_path))


def test_programs_get_the_key_and_a_port_for_metrics(tmp_path: Path) -> None:
    """But for meshes without telemetry."""
    traced, plain = TraceReceiver().added_to(mesh_with()), mesh_with()
    assert traced.telemetry
    key = dict(traced.telemetry.header_pairs)[KEY_HEADER]
    crm, telemetry = mesh_programs(traced, "", StateFolder(tmp_path), {}, {})[0]
    assert crm.env["GRAPHMESH_CRM_OTLP_HEADERS"] == f"{KEY_HEADER}={key}"
    assert crm.env["GRAPHMESH_CRM_METRICS_LISTEN"] == crm.metrics != ""
    assert telemetry.env["GRAPHMESH_TELEMETRY_OTLP_KEY"] == key
    assert "GRAPHMESH_TELEMETRY_TRACES" not in telemetry.env
    [other] = mesh_programs(plain, "", StateFolder(tmp_path), {}, {})[0]
    assert (other.metrics, "GRAPHMESH_CRM_TRACES" in other.env) == ("", False)


def test_envoy_traces_to_the_collector() -> None:
    """With the share and the headers of mesh.yaml; without one it has no tracer."""
    text = str(documents(mesh_with(COLLECTOR)))
    for expected in ("otel.example", "'random_sampling': {'value': 25.0}", "{'key': 'x-key', 'value': 'abc'}"):
        assert expected in text
    assert "envoy.tracers.opentelemetry" not in str(documents(mesh_with()))


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"colector": {"port": 1}}, "telemetry.colector"),
        ({"collector": {"address": "x"}}, "telemetry.collector.port"),
        ({"traces": 2}, "telemetry.traces"),
        ({"headers": "no equals sign"}, "telemetry.headers"),
        ({"headers": "a=b,"}, "telemetry.headers"),
    ],
)
def test_mistakes_are_named(section: dict[str, Any], problem: str) -> None:
    with pytest.raises(MeshError, match=problem.replace(".", r"\.")):
        mesh_with(section)
