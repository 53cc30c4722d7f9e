"""`deploy/mesh.yaml` as values: listeners, services, replicas, policy overrides and environments."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from graphmesh_contracts import parse_rate
from graphmesh_contracts.workloads import ENVOY, WORKLOADS
from pydantic import AfterValidator, Field, ValidationError, model_validator

from graphmesh_mesh.egress import AllowedHosts, Egress
from graphmesh_mesh.errors import MeshError
from graphmesh_mesh.identity import Identity
from graphmesh_mesh.mesh_files import ENVIRONMENTS, INCLUDE, SERVICES, MeshFiles, has_key, line_of, merged
from graphmesh_mesh.mutual_tls import MutualTls
from graphmesh_mesh.roles import ALL, APPROVALS, Contracts, RolesFile
from graphmesh_mesh.service import Listener, Model, Service, ShortName
from graphmesh_mesh.telemetry import Telemetry

PRODUCTION = "production"
"""The environment in which nothing is without protection unless it states that itself."""
RUN_SERVICE = "graphmesh.orchestrator.v1.RunService"
"""The RPC service of orchestrators, which call the tools of graphs."""


class TenantRate(Model):
    """A token bucket for the calls of each tenant, in each Envoy."""

    calls: Annotated[int, Field(ge=1, le=1_000_000)]
    """The calls that a tenant may make at once; so many are added in a period."""
    period: Annotated[float, Field(ge=0.05, le=3600)] = 1.0
    """Seconds."""


class Edge(Listener):
    """The listener for clients."""

    services: tuple[ShortName, ...] = ("orchestrator",)
    """The services that clients may call. Every other service is reached through the mesh listener only."""
    origins: tuple[str, ...] = ()
    """The web origins that CORS allows, each exactly as browsers send it."""
    identity: Literal["tokens", "forwarded", "open"] = "tokens"
    """The origin of the caller's tenant, subject and scopes: with `tokens` they are claims of a token that Envoy
    verifies, by the section `identity`; `forwarded` is for an edge that only an authenticating proxy can reach, which
    sets all of them; `open` passes the header of the tenant alone, and is for test kits."""
    tenant_rate: TenantRate | None = None
    """The rate of calls of each tenant; calls above it end at Envoy. None: unlimited."""
    wait: Annotated[float, Field(ge=0, le=60)] = 0.0
    """Seconds that calls wait for a service of which no replica is healthy; 0: they are refused at once."""


class MeshListener(Listener):
    """The listener for the orchestrator and the services."""

    identity: Literal["headers", "tokens"] = "headers"
    """The origin of the tenant, subject, scopes and approval that services act on: the headers of a call, or with
    `tokens` the token that the orchestrator has signed for it."""
    tls: MutualTls | None = None
    """Mutual TLS of all connections inside of the mesh; None: they are plain."""


def _is_rate(value: Mapping[str, Any]) -> Mapping[str, Any]:
    parse_rate(value, "rate")
    return value


class GraphLimits(Model):
    """The limits of one graph."""

    tenant_rate: Annotated[Mapping[str, Any], AfterValidator(_is_rate)]
    """The rate of runs that each tenant may create of it: the JSON form of `graphmesh.policy.v1.Rate`."""


class Mesh(Model):
    """One environment's mesh."""

    edge: Edge
    """For clients: gRPC, JSON and gRPC-Web."""
    mesh: MeshListener
    """For the orchestrator and the services: gRPC to every service."""
    admin: Listener
    """Envoy's admin interface: statistics, readiness."""
    services: Mapping[ShortName, Service]
    graphs: Mapping[Annotated[str, Field(min_length=1)], GraphLimits] = {}
    """The limits of graphs by their names, which the orchestrator checks."""
    identity: Identity | None = None
    """The issuers of tokens. None: the edge refuses all calls, unless `graphmesh up` adds an issuer of its own."""
    egress: Egress | None = None
    """The hosts outside of the mesh that workloads may call. None: they call them without Envoy, all of them."""
    telemetry: Telemetry | None = None
    """Where spans go. None: nothing is traced, unless `graphmesh up` adds its receiver."""
    roles: RolesFile | None = None
    """The rights of the roles of callers. None: `graphmesh up` has one, `admin`, which may do all of it."""

    @model_validator(mode="after")
    def _tokens_have_issuers(self) -> Self:
        if self.edge.identity != "tokens" and self.identity is not None:
            raise ValueError("identity: edge.identity must be tokens")
        if self.identity and self.roles is None:
            raise ValueError("roles: is required where edge.identity is tokens")
        return self

    @model_validator(mode="after")
    def _roles_exist(self) -> Self:
        if self.roles:
            self.roles.check(self.contracts)
        return self

    @model_validator(mode="after")
    def _calls_exist(self) -> Self:
        for name, service in self.services.items():
            if service.calls and service.service == RUN_SERVICE:
                raise ValueError(f"services.{name}.calls: an orchestrator calls the tools of its callers' roles")
            if unknown := sorted(set(service.calls) - self.contracts.tools - {ALL}):
                raise ValueError(f"services.{name}.calls: no tool is called {unknown[0]}")
        return self

    @property
    def calls(self) -> dict[str, frozenset[str]]:
        """The tools that each service may call. Those of an orchestrator are all that a role may call."""
        roles = None if self.identity_is_open or self.roles is None else self.roles.roles.values()
        of_roles = {ALL} if roles is None else frozenset[str]().union(*(role.tools for role in roles))
        return {
            name: frozenset(of_roles if one.service == RUN_SERVICE else one.calls)
            for name, one in self.services.items()
        }

    @property
    def identity_is_open(self) -> bool:
        """Whether a call of a client is the local developer's."""
        return self.edge.identity == "open"

    @cached_property
    def contracts(self) -> Contracts:
        """The scopes and the tools of all services."""
        policies = [pair for service in self.services.values() for pair in service.method_policies.items()]
        prefixes = {method: tool_prefix(method.containing_service.full_name) for method, _ in policies}
        return Contracts(
            scopes=frozenset().union(*(policy.scopes for _, policy in policies)),
            approvals=frozenset().union(
                *(policy.approvers or {f"{APPROVALS}{prefixes[method]}"} for method, policy in policies)
            ),
            tools=frozenset({*prefixes.values(), *(f"{prefix}.{method.name}" for method, prefix in prefixes.items())}),
        )

    @model_validator(mode="after")
    def _admin_is_local(self) -> Self:
        if self.admin.is_dns_name or not ip_address(self.admin.address).is_loopback:
            raise ValueError("admin.address: must be of loopback, since its pages stop and change Envoy")
        return self

    @model_validator(mode="after")
    def _edge_services_exist(self) -> Self:
        if unknown := set(self.edge.services) - set(self.services):
            raise ValueError(f"edge.services: no service is called {', '.join(sorted(unknown))}")
        for name in self.edge.services:
            if self.services[name].descriptor_set:
                raise ValueError(f"edge.services: {name} has a descriptor_set; the edge has installed contracts only")
            if self.services[name].plaintext:
                raise ValueError(f"edge.services: {name} is plaintext: it cannot know that a call comes from Envoy")
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        if reserved := [name for name in WORKLOADS if name in self.services]:
            raise ValueError(f"services.{reserved[0]}: the name is reserved")
        owners, packages = dict[str, str](), dict[str, tuple[str, str]]()
        for name, full_name in self._rpc_services():
            if (owner := owners.setdefault(full_name, name)) != name:
                raise ValueError(f"services.{name}: {full_name} belongs to services.{owner}")
            package = full_name.rpartition(".")[0].rpartition(".")[0]
            other = packages.setdefault(tool_prefix(full_name), (package, name))
            if other[0] != package:
                raise ValueError(
                    f"services.{name}: its tools are called {tool_prefix(full_name)}.*, as those of services.{other[1]}"
                )
        return self

    def _rpc_services(self) -> Iterator[tuple[str, str]]:
        """Yield each service's name with the full name of each of its RPC services."""
        for name, service in self.services.items():
            for full_name in (service.service, *service.beside):
                yield name, full_name

    @property
    def egress_listeners(self) -> dict[str, Listener]:
        """The listener of each workload that may call hosts outside of the mesh, which is its HTTP proxy."""
        if self.egress is None:
            return {}
        return {name: Listener(address=self.egress.address, port=port) for name, _, port in self.egress.listening}

    @model_validator(mode="after")
    def _workloads_exist(self) -> Self:
        for name in self.egress.workloads if self.egress else ():
            if name != ENVOY and (name not in self.services or self.services[name].external):
                raise ValueError(f"egress.workloads.{name}: the mesh starts no service with this name")
        return self

    @model_validator(mode="after")
    def _keys_are_within_reach(self) -> Self:
        if self.egress is None or self.identity is None:
            return self
        envoy = self.egress.workloads.get(ENVOY, AllowedHosts())
        for number, issuer in enumerate(self.identity.issuers):
            if issuer.jwks_target and not envoy.allows(*issuer.jwks_target):
                host, port = issuer.jwks_target
                raise ValueError(
                    f"identity.issuers.{number}.jwks_url: egress.workloads.{ENVOY}.hosts does not have {host}:{port}"
                )
        return self

    @model_validator(mode="after")
    def _targets_are_unique(self) -> Self:
        listeners = [self.edge, self.mesh, self.admin, *self.egress_listeners.values()]
        listeners += [listener for service in self.services.values() for listener in service.replica_listeners]
        targets = [listener.target for listener in listeners]
        if repeated := sorted({target for target in targets if targets.count(target) > 1}):
            raise ValueError(f"addresses used twice: {', '.join(repeated)}")
        return self

    def on_loopback(self, free_port: Callable[[], int]) -> "Mesh":
        """Return the same mesh on loopback, with a port from `free_port` for every listener and replica.

        External services keep their addresses.
        """

        def listener(one: Listener | Service) -> dict[str, Any]:
            return {**one.model_dump(), "address": "127.0.0.1", "port": free_port()}

        def replicas(service: Service) -> dict[str, Any] | Service:
            if service.external:
                return service
            first = listener(service)
            return {**first, "ports": (first["port"], *(free_port() for _ in range(service.replicas - 1)))}

        return Mesh.model_validate(
            {
                **{name: listener(getattr(self, name)) for name in ("edge", "mesh", "admin")},
                "services": {name: replicas(service) for name, service in self.services.items()},
                "graphs": self.graphs,
                "identity": self.identity,
                "roles": self.roles,
                "egress": self.egress and self.egress.on_loopback(free_port),
                "telemetry": self.telemetry,
            }
        )


def tool_prefix(service: str) -> str:
    """Return the first part of the names of a service's tools: `billing` of `graphmesh.billing.v1.BillingService`."""
    return service.split(".")[-3]


def load(path: Path, environment: str = "", read: list[Path] | None = None) -> Mesh:
    """Read `path` and the files that it includes, merged with the overrides of `environment`.

    Args:
        read: gets all files and folders that are read, also where an error is raised.

    Raises:
        MeshError: a file cannot be read, is not YAML, breaks a rule, or has no such environment.
    """
    files = MeshFiles(paths=[] if read is None else read)
    try:
        files.read(path)
        return _parsed(files, environment)
    except MeshError as error:
        raise MeshError(f"{path}: {error}") from error


def parse(raw: Mapping[str, Any], environment: str = "") -> Mesh:
    """Validate the content of a mesh.yaml that includes nothing, merged with the overrides of `environment`.

    Raises:
        MeshError: it breaks a rule, or has no such environment.
    """
    content = {key: value for key, value in raw.items() if key != ENVIRONMENTS}
    return _parsed(MeshFiles(content=content, environments=raw.get(ENVIRONMENTS) or {}), environment)


def environments(path: Path) -> tuple[str, ...]:
    """Return the names of the environments in `path` and the files that it includes."""
    files = MeshFiles()
    files.read(path)
    return tuple(files.environments)


def _parsed(files: MeshFiles, environment: str) -> Mesh:
    known = files.environments
    if environment and environment not in known:
        raise MeshError(f"no environment {environment!r}; there are: {', '.join(known) or 'none'}")
    overrides = (known[environment] if environment else None) or {}
    if isinstance(overrides, Mapping) and INCLUDE in overrides:
        raise MeshError(f"{ENVIRONMENTS}.{environment}.{INCLUDE}: an environment includes no files")
    try:
        mesh = Mesh.model_validate(merged(files.content, overrides))
    except ValidationError as error:
        raise MeshError(_description(error, files, environment)) from error
    if environment == PRODUCTION:
        _check_plaintext(mesh, overrides)
    return mesh


def _check_plaintext(mesh: Mesh, production: Mapping[str, Any]) -> None:
    """Raises MeshError where production would inherit a service without TLS, which it has to state itself."""
    stated = production.get(SERVICES) or {}
    for name, service in mesh.services.items():
        if service.plaintext and not (stated.get(name) or {}).get("plaintext"):
            key = f"{ENVIRONMENTS}.{PRODUCTION}.{SERVICES}.{name}.plaintext"
            raise MeshError(f"services.{name}.plaintext: {PRODUCTION} has to state it too, as {key}")


def _description(error: ValidationError, files: MeshFiles, environment: str) -> str:
    """Return each problem with its key and line, and the file where that is an included one."""
    return "; ".join(
        _problem(one["loc"], one["msg"].removeprefix("Value error, "), files, environment) for one in error.errors()
    )


def _problem(loc: tuple[int | str, ...], rule: str, files: MeshFiles, environment: str) -> str:
    """Return one problem. Rules of the whole mesh have no location, and begin with the key themselves."""
    text = f"{'.'.join(map(str, loc))}: {rule}" if loc else rule
    section, _, rest = text.partition(".")
    origin = files.origins.get(re.split(r"[.:]", rest)[0]) if section == SERVICES else None
    line = _line(origin or next(iter(files.paths), None), loc or tuple(text.partition(": ")[0].split(".")), environment)
    return f"{f'{origin}: ' if origin else ''}{f'line {line}: ' if line else ''}{text}"


def _line(path: Path | None, loc: tuple[int | str, ...], environment: str) -> int:
    """Return the line of a location, in the environment where that overrides it; 0 where it is not known."""
    if path is None:
        return 0
    overridden = (ENVIRONMENTS, environment, *loc)
    return line_of(path, overridden) if environment and has_key(path, overridden) else line_of(path, loc)
