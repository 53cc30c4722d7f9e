"""The health of services as Envoy checks it: of those that this mesh starts, and of external ones."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager

from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.service import Listener, Service
from graphmesh_mesh.topology import Mesh

from graphmesh_local.probes import NOT_READY_ERRORS, PROBE_PERIOD, http_get

Notify = Callable[[str], None]
"""Displays one sentence to the operator."""

HEALTHY_TIMEOUT = 15.0
"""Seconds until Envoy's health checks must have passed for all replicas of services that this mesh starts."""
EXTERNAL_TIMEOUT = 5.0
"""Seconds that the start waits for external services."""
EXTERNAL_PERIOD = 1.0
"""Seconds between two polls of the health of external services."""


async def wait_for_own_services(mesh: Mesh, admin: str) -> None:
    """Wait until Envoy's health checks have passed for all replicas; calls through it would fail before.

    Args:
        admin: host:port of Envoy's admin interface.

    Raises:
        MeshError: they fail.
    """
    own = [name for name, service in mesh.services.items() if not service.external]
    if unhealthy := await _wait_healthy(admin, own, HEALTHY_TIMEOUT):
        raise MeshError(f"Envoy's health checks fail for: {', '.join(unhealthy)}")


@asynccontextmanager
async def watching_external_services(mesh: Callable[[], Mesh], admin: str, notify: Notify) -> AsyncIterator[None]:
    """Wait some seconds for external services, and notify about their health while the body runs.

    Args:
        mesh: returns the present mesh, whose external services may change.
        admin: host:port of Envoy's admin interface.
    """
    unhealthy: Collection[str] = ()
    if external := _external(mesh()):
        unhealthy = await _unhealthy(admin, external)
        if unhealthy:
            notify(f"waiting {EXTERNAL_TIMEOUT:g} s for {_listed(external, unhealthy)}")
            unhealthy = await _wait_healthy(admin, external, EXTERNAL_TIMEOUT)
        _notify_changes(external, (), unhealthy, notify)
    task = asyncio.create_task(_watch(mesh, admin, frozenset(unhealthy), notify), name="health of external services")
    try:
        yield
    finally:
        task.cancel()


async def _watch(mesh: Callable[[], Mesh], admin: str, before: Collection[str], notify: Notify) -> None:
    while True:
        await asyncio.sleep(EXTERNAL_PERIOD)
        if not (external := _external(mesh())):
            continue
        try:
            unhealthy = await _unhealthy(admin, external)
        except NOT_READY_ERRORS:
            continue  # Envoy is dead, which its supervisor shows.
        _notify_changes(external, before, unhealthy, notify)
        before = unhealthy


def _notify_changes(
    external: Mapping[str, Service], before: Collection[str], after: Collection[str], notify: Notify
) -> None:
    if failing := [name for name in after if name not in before]:
        notify(f"health checks fail for {_listed(external, failing)}: calls to it fail until they pass")
    if recovered := [name for name in before if name not in after and name in external]:
        notify(f"health checks pass for {_listed(external, recovered)}")


def _external(mesh: Mesh) -> dict[str, Service]:
    return {name: service for name, service in mesh.services.items() if service.external}


def _listed(external: Mapping[str, Service], names: Collection[str]) -> str:
    return ", ".join(f"{name} (external, {_targets(external[name].replica_listeners)})" for name in names)


def _targets(listeners: Collection[Listener]) -> str:
    return " and ".join(listener.target for listener in listeners)


async def _wait_healthy(admin: str, names: Collection[str], timeout: float) -> list[str]:
    """Wait until all replicas of the services are healthy, and return the services of which some are not in time."""
    unhealthy = sorted(names)
    try:
        async with asyncio.timeout(timeout):
            while unhealthy := await _unhealthy(admin, names):
                await asyncio.sleep(PROBE_PERIOD)
    except TimeoutError:
        pass
    return unhealthy


async def _unhealthy(admin: str, names: Collection[str]) -> list[str]:
    """Return the services with a cluster that has unhealthy replicas, of which Envoy has lines such as
    `cluster.billing.membership_total: 1`; a service without any cluster is unhealthy."""
    stats = (await http_get(f"http://{admin}/stats?filter=membership_(healthy|total)$")).body
    counts = {key: int(value) for key, _, value in (line.partition(": ") for line in stats.splitlines()) if value}
    return sorted(name for name in names if not all(_is_healthy(counts, one) for one in _clusters(name, counts)))


def _clusters(name: str, counts: Mapping[str, int]) -> list[str]:
    """Return the cluster of a service at the mesh listener, and where it has one that at the edge."""
    edge = f"cluster.edge-{name}"
    return [f"cluster.{name}", *([edge] if f"{edge}.membership_total" in counts else [])]


def _is_healthy(counts: Mapping[str, int], cluster: str) -> bool:
    total = counts.get(f"{cluster}.membership_total", 0)
    return 0 < total <= counts.get(f"{cluster}.membership_healthy", 0)
