"""`deploy/mesh.yaml` as values: listeners, services, replicas, policy overrides and environments."""

import importlib
import ipaddress
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from graphmesh_contracts import MethodPolicy, Overrides, ServicePolicy, method_policy, service_policies
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Port = Annotated[int, Field(ge=1, le=65535)]
FullName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\.[A-Z][A-Za-z0-9]*$")]
ShortName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class MeshError(ValueError):
    """mesh.yaml breaks a rule; the message names the file, the field and the rule."""


class Model(BaseModel):
    """Base of the models: frozen, and unknown fields are errors, so that a misspelt field is not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Listener(Model):
    """An address and a port."""

    address: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Port

    @property
    def target(self) -> str:
        """host:port."""
        return f"{self.address}:{self.port}"


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
    identity: Literal["removed", "forwarded"] = "removed"
    """Whether the headers with the caller's subject and scopes reach the services. `forwarded` is for an edge that only
    an authenticating proxy can reach, which sets them and the tenant's."""
    tenant_rate: TenantRate | None = None
    """The rate of calls of each tenant; calls above it end at Envoy. None: unlimited."""


class Service(Listener):
    """One deployable: its RPC services, its address and its replicas."""

    service: FullName
    """The full name of its RPC service; its prefix is the Python package of the contract."""
    beside: tuple[FullName, ...] = ()
    """Further RPC services of the same process."""
    module: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """The Python module that `python -m` starts."""
    replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    ports: tuple[Port, ...] = ()
    """The port of each replica, where they are not consecutive from `port` on."""
    policy: Mapping[str, Any] = {}
    """Overrides of the service's policy: the JSON form of `graphmesh.policy.v1.ServicePolicy`."""
    methods: Mapping[str, Mapping[str, Any]] = {}
    """Overrides by method: the JSON form of `graphmesh.policy.v1.MethodPolicy`."""

    @model_validator(mode="after")
    def _one_port_a_replica(self) -> Self:
        if self.ports and len(self.ports) != self.replicas:
            raise ValueError(f"{len(self.ports)} ports for {self.replicas} replicas")
        return self

    @model_validator(mode="after")
    def _policies_hold(self) -> Self:
        _ = (self.service_policies, self.method_policies)
        return self

    @property
    def is_dns_name(self) -> bool:
        """Whether the address is a DNS name, which resolves to all replicas."""
        try:
            ipaddress.ip_address(self.address)
        except ValueError:
            return True
        return False

    @property
    def replica_listeners(self) -> tuple[Listener, ...]:
        """The listener of each replica; a single one where the address is a DNS name."""
        ports = self.ports or tuple(range(self.port, self.port + (1 if self.is_dns_name else self.replicas)))
        return tuple(Listener(address=self.address, port=port) for port in ports)

    @property
    def overrides(self) -> Overrides:
        """The overrides that a replica is started with, so that it admits by the same numbers as Envoy."""
        return Overrides(service=self.policy, methods=self.methods)

    @cached_property
    def descriptors(self) -> tuple[ServiceDescriptor, ...]:
        return tuple(_descriptor(name) for name in (self.service, *self.beside))

    @cached_property
    def service_policies(self) -> Mapping[str, ServicePolicy]:
        """The policy of each gRPC service of the process, by its full name."""
        return service_policies(self.descriptors, self.overrides)

    @property
    def service_policy(self) -> ServicePolicy:
        return self.service_policies[self.service]

    @cached_property
    def method_policies(self) -> Mapping[MethodDescriptor, MethodPolicy]:
        """The policy of each method, in the order of the protos."""
        methods = [method for descriptor in self.descriptors for method in descriptor.methods]
        return {method: method_policy(method, self.overrides) for method in methods}


def _descriptor(name: str) -> ServiceDescriptor:
    try:
        importlib.import_module(name.rpartition(".")[0])
        return descriptor_pool.Default().FindServiceByName(name)
    except (ImportError, KeyError) as error:
        raise ValueError(f"the contracts have no {name}") from error


class Mesh(Model):
    """One environment's mesh."""

    edge: Edge
    """For clients: gRPC, JSON and gRPC-Web."""
    mesh: Listener
    """For the orchestrator and the services: gRPC to every service."""
    admin: Listener
    """Envoy's admin interface: statistics, readiness."""
    services: Mapping[ShortName, Service]

    @model_validator(mode="after")
    def _edge_services_exist(self) -> Self:
        if unknown := set(self.edge.services) - set(self.services):
            raise ValueError(f"edge.services: no service is called {', '.join(sorted(unknown))}")
        return self

    @model_validator(mode="after")
    def _targets_are_unique(self) -> Self:
        listeners = [self.edge, self.mesh, self.admin]
        listeners += [listener for service in self.services.values() for listener in service.replica_listeners]
        targets = [listener.target for listener in listeners]
        if repeated := sorted({target for target in targets if targets.count(target) > 1}):
            raise ValueError(f"used twice: {', '.join(repeated)}")
        return self

    def on_loopback(self, free_port: Callable[[], int]) -> "Mesh":
        """Return the same mesh on loopback, with a port from `free_port` for every listener and replica."""

        def listener(one: Listener) -> dict[str, Any]:
            return {**one.model_dump(), "address": "127.0.0.1", "port": free_port()}

        def replicas(service: Service) -> dict[str, Any]:
            first = listener(service)
            return {**first, "ports": (first["port"], *(free_port() for _ in range(service.replicas - 1)))}

        return Mesh.model_validate(
            {
                **{name: listener(getattr(self, name)) for name in ("edge", "mesh", "admin")},
                "services": {name: replicas(service) for name, service in self.services.items()},
            }
        )


def load(path: Path, environment: str = "") -> Mesh:
    """Read `path`, merged with the overrides of `environment`.

    Raises:
        MeshError: the file cannot be read, is not YAML, breaks a rule, or has no such environment.
    """
    try:
        return parse(_read(path), environment)
    except MeshError as error:
        raise MeshError(f"{path}: {error}") from error


def parse(raw: Mapping[str, Any], environment: str = "") -> Mesh:
    """Validate the content of a mesh.yaml, merged with the overrides of `environment`.

    Raises:
        MeshError: it breaks a rule, or has no such environment.
    """
    environments = raw.get("environments") or {}
    if environment and environment not in environments:
        raise MeshError(f"no environment {environment!r}; there are: {', '.join(environments) or 'none'}")
    base = {key: value for key, value in raw.items() if key != "environments"}
    overrides = environments[environment] if environment else None
    try:
        return Mesh.model_validate(_merged(base, overrides or {}))
    except ValidationError as error:
        raise MeshError(_description(error)) from error


def environments(path: Path) -> tuple[str, ...]:
    """Return the names of the environments in `path`."""
    return tuple(_read(path).get("environments") or {})


def _read(path: Path) -> Mapping[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise MeshError(str(error)) from error
    if not isinstance(raw, Mapping):
        raise MeshError("not a mapping of edge, mesh, admin and services")
    return raw


def _merged(base: Any, overrides: Any) -> Any:
    """Return `base` with `overrides`, mapping by mapping; any other value is replaced."""
    if not (isinstance(base, Mapping) and isinstance(overrides, Mapping)):
        return overrides
    return {**base, **{key: _merged(base.get(key), value) for key, value in overrides.items()}}


def _description(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'mesh'}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors()
    )
