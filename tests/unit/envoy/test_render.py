"""Envoy's configuration as rendered from a mesh."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import descriptor_pb2
from graphmesh_contracts import Idempotency, MethodPolicy, RateLimit
from graphmesh_mesh.envoy.documents import HEALTH_CHECK, LUA, TRANSCODER, seconds
from graphmesh_mesh.envoy.folder import stale_files, write
from graphmesh_mesh.envoy.rates import ADDRESS, ADDRESS_KEY, TENANT_ACTIONS, bucket
from graphmesh_mesh.envoy.render import documents, render
from graphmesh_mesh.envoy.routes import RETRY_ON, retries
from graphmesh_mesh.envoy.validate import EnvoyRefusal, validate
from graphmesh_mesh.topology import Mesh, load, parse

ROOT = Path(__file__).parents[3]
CHARGE = "/graphmesh.billing.v1.BillingService/Charge"


def billing_mesh(**billing: Any) -> Mesh:
    service = {"service": "graphmesh.billing.v1.BillingService", "module": "graphmesh_billing", "port": 100, **billing}
    listeners = {"edge": {"port": 1, "services": ["billing"]}, "mesh": {"port": 2}, "admin": {"port": 3}}
    return parse({**listeners, "services": {"billing": service}})


def cluster(mesh: Mesh, name: str = "billing") -> dict[str, Any]:
    return next(dict(found) for found in documents(mesh)["cds.yaml"]["resources"] if found["name"] == name)


def route(mesh: Mesh, path: str = CHARGE) -> dict[str, Any]:
    (table,) = documents(mesh)["rds-mesh.yaml"]["resources"]
    return next(one["route"] for one in table["virtual_hosts"][0]["routes"] if one["match"].get("path") == path)


@pytest.mark.parametrize(
    ("calls", "period", "per_fill", "interval"),
    [(100, 0.5, 10, 0.05), (7, 1, 7, 1), (100, 1, 5, 0.05), (30, 60, 1, 2), (10, 0.52, 10, 0.52)],
)
def test_bucket_is_filled_in_small_steps_at_the_same_rate(
    calls: int, period: float, per_fill: int, interval: float
) -> None:
    """After a pause a client may still make all calls at once."""
    filled = {"max_tokens": calls, "tokens_per_fill": per_fill, "fill_interval": seconds(interval)}
    assert bucket(RateLimit(calls, period)) == filled


def test_the_rendered_files_are_fresh() -> None:
    """deploy/rendered/envoy is rendered from the current deploy/mesh.yaml and protos."""
    assert not stale_files(ROOT / "deploy/rendered/envoy", render(load(ROOT / "deploy/mesh.yaml")))


def test_rendering_is_reproducible() -> None:
    """The files do not depend on the machine, the folder or the run."""
    files = render(billing_mesh())
    assert files == render(billing_mesh())
    assert not any(str(ROOT).encode() in content or str(Path.home()).encode() in content for content in files.values())


def test_envoy_s_cap_is_above_the_admission_limits() -> None:
    """It grows with the replicas."""
    one, three = cluster(billing_mesh()), cluster(billing_mesh(replicas=3))
    caps = [found["circuit_breakers"]["thresholds"][0]["max_requests"] for found in (one, three)]
    assert caps[1] - caps[0] == 2 * (16 + 1024)
    assert caps[0] > 16 + 1024


def test_the_breaker_follows_the_policy() -> None:
    """Failures, cooling period and its maximum; all replicas may be ejected, without panic routing."""
    found = cluster(billing_mesh(policy={"breaker": {"consecutiveFailures": 7, "coolingPeriod": "0.5s"}}))
    outliers = found["outlier_detection"]
    assert (outliers["consecutive_gateway_failure"], outliers["base_ejection_time"]) == (7, "0.5s")
    assert (outliers["max_ejection_time"], outliers["max_ejection_percent"]) == ("30s", 100)
    assert outliers["successful_active_health_check_uneject_host"] is False
    assert found["common_lb_config"]["healthy_panic_threshold"]["value"] == 0


def test_the_edge_ejects_no_replica() -> None:
    """The breaker of the policy is the mesh listener's: clients share the edge's replicas."""
    found = cluster(load(ROOT / "deploy/mesh.yaml"), "edge-orchestrator")
    assert found["outlier_detection"] == {"max_ejection_percent": 0}


def test_a_route_has_only_the_method_s_timeout() -> None:
    """Envoy's defaults, 15 seconds for a route and 5 minutes for an idle stream, are switched off."""
    action = route(billing_mesh(methods={"Charge": {"timeout": "3.25s"}}))
    assert action["max_stream_duration"] == {"max_stream_duration": "3.25s", "grpc_timeout_header_max": "3.25s"}
    assert (action["timeout"], action["idle_timeout"]) == ("0s", "0s")


@pytest.mark.parametrize(
    ("idempotency", "attempts", "retried"),
    [
        (Idempotency.READ, 3, 2),
        (Idempotency.EFFECT, 3, 2),
        (Idempotency.EFFECT, 1, None),
        (Idempotency.UNKNOWN, 3, None),
    ],
)
def test_retries_follow_the_policy(idempotency: Idempotency, attempts: int, retried: int | None) -> None:
    """Only calls that were never sent, only where the contract declares idempotency, at most `max_attempts` times."""
    policy = MethodPolicy(idempotency, 1.0, attempts, frozenset(), False, False, frozenset())
    rendered = retries(policy).get("retry_policy")
    assert (rendered and rendered["num_retries"]) == retried
    assert not rendered or rendered["retry_on"] == RETRY_ON


def test_the_edge_has_routes_to_its_services_only() -> None:
    """Clients reach the orchestrator, reflection and health."""
    mesh = load(ROOT / "deploy/mesh.yaml")
    (table,) = documents(mesh)["rds-edge.yaml"]["resources"]
    routes = [one for one in table["virtual_hosts"][0]["routes"] if "route" in one]
    assert {one["route"]["cluster"] for one in routes} == {"edge-orchestrator"}
    names = {one["match"].get("path", one["match"].get("prefix")).split("/")[1] for one in routes} - {""}
    assert {name.partition(".")[0] for name in names} == {"graphmesh", "grpc"}


def test_plain_grpc_passes_no_filters_of_json_and_grpc_web() -> None:
    """They are disabled, and enabled by routes that plain gRPC does not have."""
    mesh = documents(billing_mesh())
    [edge, _] = mesh["lds.yaml"]["resources"]
    filters = edge["filter_chains"][0]["filters"][-1]["typed_config"]["http_filters"]
    assert [one["name"] for one in filters if one.get("disabled")] == [LUA, TRANSCODER]
    [table] = mesh["rds-edge.yaml"]["resources"]
    [charge] = [one for one in table["virtual_hosts"][0]["routes"] if one["match"].get("path") == CHARGE]
    assert "headers" not in charge["match"]
    assert "typed_per_filter_config" not in charge


def test_the_edge_counts_every_call_that_it_forwards() -> None:
    """For the rate of its tenant; a health check, which has none, for that of its address."""
    (table,) = documents(load(ROOT / "deploy/mesh.yaml"))["rds-edge.yaml"]["resources"]
    forwarded = [one for one in table["virtual_hosts"][0]["routes"] if "route" in one]
    of_health = {one["match"].get("path") == HEALTH_CHECK for one in forwarded}
    assert of_health == {True, False}
    for one in forwarded:
        counted = [action for limit in one["route"].get("rate_limits", ()) for action in limit["actions"]]
        expected = [{ADDRESS_KEY: ADDRESS}] if one["match"].get("path") == HEALTH_CHECK else TENANT_ACTIONS
        assert all(action in counted for action in expected), one["match"]


def test_the_mesh_listener_has_a_route_for_every_method() -> None:
    """All other paths are refused with a message."""
    mesh = load(ROOT / "deploy/mesh.yaml")
    (table,) = documents(mesh)["rds-mesh.yaml"]["resources"]
    *routes, last = table["virtual_hosts"][0]["routes"]
    known = [one for one in routes if "route" in one]
    methods = {
        f"/{method.containing_service.full_name}/{method.name}"
        for service in mesh.services.values()
        for descriptor in service.descriptors
        for method in descriptor.methods
    }
    assert {one["match"]["path"] for one in known} == methods
    assert last["direct_response"]["status"] == 404


def test_the_descriptor_set_is_complete() -> None:
    """Every imported file precedes the file that imports it, and the types of error details are included."""
    files = descriptor_pb2.FileDescriptorSet.FromString(render(billing_mesh())["descriptors.binpb"]).file
    seen: set[str] = set()
    for file in files:
        assert set(file.dependency) <= seen
        seen.add(file.name)
    assert {"google/rpc/error_details.proto", "graphmesh/billing/v1/billing.proto"} <= seen


def test_envoy_accepts_deploy_mesh_yaml() -> None:
    """Validated by the real binary."""
    validate(render(load(ROOT / "deploy/mesh.yaml")))


@pytest.mark.parametrize("name", ["cds.yaml", "lds.yaml", "rds-mesh.yaml"])
def test_validation_includes_the_files_of_xds(name: str) -> None:
    """`--mode validate` alone does not load them."""
    files = render(billing_mesh())
    document = yaml.safe_load(files[name])
    document["resources"][0]["no_such_field"] = 1
    with pytest.raises(EnvoyRefusal, match="no_such_field"):
        validate({**files, name: yaml.safe_dump(document).encode()})


def test_only_changed_files_are_written(tmp_path: Path) -> None:
    """So that Envoy reloads a single file after the edit of one policy."""
    assert set(write(tmp_path, render(billing_mesh()))) == set(render(billing_mesh()))
    assert write(tmp_path, render(billing_mesh(policy={"maxConcurrency": 9}))) == ["cds.yaml"]
    assert write(tmp_path, render(billing_mesh(policy={"maxConcurrency": 9}))) == []
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
