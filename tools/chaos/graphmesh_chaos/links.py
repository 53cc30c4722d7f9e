"""The links between the processes of a mesh and its servers, each through a proxy that can have faults.

A link has the name `client/server`: `orchestrator-2/postgres`, `envoy/billing`. The product knows nothing of the
proxies: clients get their ports as addresses, in the settings of a process or in the endpoints of Envoy.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import sqlalchemy as sa
from graphmesh_local.databases import DatabaseUrls, SharedServers
from graphmesh_local.server_programs import replica_names
from graphmesh_mesh.service import Service
from graphmesh_mesh.topology import Mesh

from graphmesh_chaos.tcp_proxy import LOOPBACK, TcpProxy, tcp_proxy

POSTGRES, REDIS, ENVOY = "postgres", "redis", "envoy"


class Links:
    """The proxies of some links, by name."""

    def __init__(self, proxies: Mapping[str, TcpProxy]) -> None:
        self._proxies = proxies

    def __getitem__(self, name: str) -> TcpProxy:
        return self._proxies[name]

    def settings(self, databases: DatabaseUrls, shared: SharedServers | None) -> dict[str, dict[str, str]]:
        """Return the environment variables that lead processes to their proxies, by process."""
        settings: dict[str, dict[str, str]] = {}
        for name, proxy in self._proxies.items():
            client, server = name.split("/")
            if client != ENVOY:
                settings.setdefault(client, {}).update(_setting(client, server, proxy.port, databases, shared))
        return settings

    def reroute(self, mesh: Mesh) -> Mesh:
        """Return the mesh as Envoy connects to it."""
        services = {name: self._rerouted(name, service) for name, service in mesh.services.items()}
        return mesh.model_copy(update={"services": services})

    def _rerouted(self, name: str, service: Service) -> Service:
        ports = _replica_ports(name, service)
        rerouted = [proxy.port if (proxy := self._proxies.get(f"{ENVOY}/{one}")) else ports[one] for one in ports]
        return service.model_copy(update={"ports": tuple(rerouted)})

    def server_side_ports(self, process: str) -> Collection[int]:
        """Return the local ports of a proxy's connections to PostgreSQL; none where the process connects itself."""
        proxy = self._proxies.get(f"{process}/{POSTGRES}")
        return proxy.server_side_ports if proxy else ()


@asynccontextmanager
async def open_links(names: Collection[str], mesh: Mesh, shared: SharedServers | None) -> AsyncIterator[Links]:
    """Open proxies for links of a mesh, whose servers need not run yet."""
    ports = _server_ports(mesh, shared)
    async with AsyncExitStack() as stack:
        servers = {name: ports[name.partition("/")[2]] for name in names}
        yield Links({name: await stack.enter_async_context(tcp_proxy(LOOPBACK, servers[name])) for name in servers})


def _server_ports(mesh: Mesh, shared: SharedServers | None) -> dict[str, int]:
    """Return the port of each server that a link can lead to, by its name."""
    ports = {ENVOY: mesh.mesh.port}
    if shared:
        ports |= {POSTGRES: shared.postgres.port, REDIS: urlsplit(shared.redis.url).port or 0}
    for name, service in mesh.services.items():
        ports |= _replica_ports(name, service)
    return ports


def _replica_ports(name: str, service: Service) -> dict[str, int]:
    """Return the port of each replica of a service, by the replica's name."""
    listeners = zip(replica_names(name, service), service.replica_listeners, strict=True)
    return {process: listener.port for process, listener in listeners}


def _setting(
    client: str, server: str, port: int, databases: DatabaseUrls, shared: SharedServers | None
) -> dict[str, str]:
    """Return the environment variable with the address of a server, as a process reaches it through a proxy."""
    service = client.partition("-")[0]
    prefix = f"GRAPHMESH_{service.upper()}_"
    if server == POSTGRES:
        url = sa.make_url(databases[service]).set(port=port)
        return {f"{prefix}DATABASE_URL": url.render_as_string(hide_password=False)}
    if server == REDIS:
        assert shared, "a link to servers that this mesh does not have"
        url = sa.make_url(shared.redis.url).set(port=port)
        return {f"{prefix}REDIS_URL": url.render_as_string(hide_password=False)}
    return {f"{prefix}MESH": f"{LOOPBACK}:{port}"}
