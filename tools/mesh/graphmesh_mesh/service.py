"""A service of a mesh as a value: what it serves, where it listens, and how it is started."""

import importlib
from collections.abc import Mapping
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Self

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from graphmesh_contracts import (
    ContractError,
    DescriptorSet,
    MethodPolicy,
    Overrides,
    ServicePolicy,
    method_policy,
    read_descriptor_set,
    service_policies,
)
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from graphmesh_mesh.roles import ToolOrAll
from graphmesh_mesh.tls import Tls, is_ip_address

Port = Annotated[int, Field(ge=1, le=65535)]
FullName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\.[A-Z][A-Za-z0-9]*$")]
ShortName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
ModuleName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$")]
OWN_PACKAGE = "graphmesh."
LISTEN = "{listen}"
"""In `command`: the address that the process has to listen on."""


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
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def is_dns_name(self) -> bool:
        """Whether the address is a DNS name."""
        return not is_ip_address(self.address)


def _is_target(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host.strip("[]") or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError("is not host:port")
    return text


class Service(Model):
    """One deployable: its RPC services, its addresses, and the program of its processes."""

    service: FullName
    """The full name of its RPC service; its prefix is the Python package of the contract."""
    beside: tuple[FullName, ...] = ()
    """Further RPC services of the same process."""
    descriptor_set: Path | None = None
    """The file with its contract, where that is not installed as a package."""
    external: bool = False
    """Whether others run it. `graphmesh up` does not start it."""
    address: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Port | None = None
    addresses: tuple[Annotated[str, AfterValidator(_is_target)], ...] = ()
    """`host:port` of each replica of an external service, in place of `address` and `port`."""
    tls: Tls | None = None
    """TLS of the connections to an external service; by default they are plain."""
    health_check: bool = True
    """Whether Envoy checks the health of an external service, by the standard gRPC service for it."""
    replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    ports: tuple[Port, ...] = ()
    """The port of each replica, where they are not consecutive from `port` on."""
    module: ModuleName | None = None
    """The Python module that `python -m` starts."""
    python: Path | None = None
    """The interpreter of `module`; the default is the one that `graphmesh` runs in."""
    command: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """The program to start, in place of `module`. `{listen}` in it is the address to listen on."""
    folder: Path | None = None
    """The working folder of its processes; the default is that of `graphmesh`."""
    env: Mapping[Annotated[str, Field(pattern=r"^[^=\x00]+$")], str] = {}
    """Environment variables of its processes, over those that `graphmesh` gives to them."""
    plaintext: bool = False
    """Whether it has no certificate, and its port no TLS, also where the mesh has mutual TLS: for a foreign program."""
    calls: tuple[ToolOrAll, ...] = ()
    """The tools of other services that it calls through the mesh listener: `model.Generate`, or `model`."""
    policy: Mapping[str, Any] = {}
    """Overrides of the service's policy: the JSON form of `graphmesh.policy.v1.ServicePolicy`."""
    methods: Mapping[str, Mapping[str, Any]] = {}
    """Overrides by method: the JSON form of `graphmesh.policy.v1.MethodPolicy`."""

    @model_validator(mode="after")
    def _has_addresses(self) -> Self:
        if self.addresses and not self.external:
            raise ValueError("addresses: only of an external service; others have a port for each replica")
        if self.addresses and ({"port", "ports", "address", "replicas"} & self.model_fields_set):
            raise ValueError("addresses: they replace address, port, ports and replicas")
        if not self.addresses and self.port is None:
            raise ValueError(f"{'port or addresses' if self.external else 'port'}: is required")
        if self.ports and len(self.ports) != self.replicas:
            raise ValueError(f"{len(self.ports)} ports for {self.replicas} replicas")
        return self

    @model_validator(mode="after")
    def _has_a_program(self) -> Self:
        program = [name for name in ("module", "python", "command", "folder", "env") if getattr(self, name)]
        if self.external and program:
            raise ValueError(f"{program[0]}: others start an external service")
        if not self.external and bool(self.module) == bool(self.command):
            raise ValueError("it needs either a module or a command; or external: true, where others run it")
        if self.command and self.python:
            raise ValueError("python: it is the interpreter of a module, and this service has a command")
        if self.plaintext and not self.command:
            raise ValueError("plaintext: only of a service with a command; a module of the chassis has mutual TLS")
        if self.plaintext and self.calls:
            raise ValueError("calls: only of a service with a certificate, and a plaintext one has none")
        return self

    @model_validator(mode="after")
    def _is_reached_as_others_run_it(self) -> Self:
        if not self.external and (self.tls or not self.health_check):
            raise ValueError(f"{'tls' if self.tls else 'health_check'}: only of an external service")
        if self.tls:
            _ = self.server_name
        return self

    @model_validator(mode="after")
    def _contract_holds(self) -> Self:
        _ = (self.service_policies, self.method_policies)
        return self

    @property
    def has_mutual_tls(self) -> bool:
        """Whether its port has mutual TLS where the mesh has it. Others run external services."""
        return not self.external and not self.plaintext

    @property
    def is_dns_name(self) -> bool:
        """Whether an address is a DNS name, which resolves to all replicas."""
        return any(listener.is_dns_name for listener in self.replica_listeners)

    @property
    def replica_count(self) -> int:
        return len(self.addresses) or self.replicas

    @property
    def replica_listeners(self) -> tuple[Listener, ...]:
        """The listener of each replica; a single one where the address is a DNS name."""
        if self.addresses:
            pairs = [target.rpartition(":")[::2] for target in self.addresses]
            return tuple(Listener(address=host.strip("[]"), port=int(port)) for host, port in pairs)
        first = Listener(address=self.address, port=self.port or 0)
        ports = self.ports or range(first.port, first.port + (1 if first.is_dns_name else self.replicas))
        return tuple(Listener(address=self.address, port=port) for port in ports)

    @property
    def server_name(self) -> str:
        """The name in the certificate of a service with TLS. Raises ValueError where its addresses have several."""
        hosts = {listener.address for listener in self.replica_listeners}
        if self.tls and self.tls.server_name:
            return self.tls.server_name
        if len(hosts) > 1:
            raise ValueError(f"tls.server_name: is required, since the addresses have {len(hosts)} hosts")
        return hosts.pop()

    @property
    def overrides(self) -> Overrides:
        """The overrides that a replica is started with, so that it admits by the same numbers as Envoy."""
        return Overrides(service=self.policy, methods=self.methods)

    @cached_property
    def contract(self) -> DescriptorSet | None:
        """Its descriptor set; None where its contract is installed. Raises ValueError."""
        try:
            return _descriptor_set(self.descriptor_set) if self.descriptor_set else None
        except ContractError as error:
            raise ValueError(f"descriptor_set: {error}") from None

    @cached_property
    def descriptors(self) -> tuple[ServiceDescriptor, ...]:
        return tuple(self._descriptor(name) for name in (self.service, *self.beside))

    def _descriptor(self, name: str) -> ServiceDescriptor:
        if self.contract is None:
            return _installed(name)
        if name.startswith(OWN_PACKAGE) and _is_installed(name):
            raise ValueError(f"descriptor_set: the contract of {name} is installed")
        try:
            return self.contract.service(name)
        except ContractError as error:
            raise ValueError(f"descriptor_set: {self.descriptor_set} {error}") from None

    @cached_property
    def service_policies(self) -> Mapping[str, ServicePolicy]:
        """The policy of each gRPC service of the process, by its full name."""
        return service_policies(self.descriptors, self.overrides)

    @property
    def service_policy(self) -> ServicePolicy:
        return self.service_policies[self.service]

    @property
    def has_rates(self) -> bool:
        """Whether a policy declares a rate that all replicas count together."""
        policies = self.service_policies.values()
        of_methods = (policy.tenant_rate for policy in self.method_policies.values())
        return any(of_methods) or any(one.tenant_rate or one.client_rate for one in policies)

    @cached_property
    def method_policies(self) -> Mapping[MethodDescriptor, MethodPolicy]:
        """The policy of each method, in the order of the protos."""
        methods = [method for descriptor in self.descriptors for method in descriptor.methods]
        return {method: method_policy(method, self.overrides) for method in methods}


def _descriptor_set(path: Path) -> DescriptorSet:
    try:
        stat = path.stat()
    except OSError:
        return read_descriptor_set(path)
    return _read(path, (stat.st_ino, stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=16)
def _read(path: Path, version: tuple[int, ...]) -> DescriptorSet:
    """Read a file once: a mesh is validated several times when it starts, and at each edit."""
    return read_descriptor_set(path)


def _installed(name: str) -> ServiceDescriptor:
    try:
        importlib.import_module(name.rpartition(".")[0])
        return descriptor_pool.Default().FindServiceByName(name)
    except (ImportError, KeyError) as error:
        raise ValueError(f"no installed package has the contract {name}: give its descriptor_set") from error


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name.rpartition(".")[0]) is not None
    except ImportError:
        return False
