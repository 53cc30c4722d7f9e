"""The section `egress` of mesh.yaml: the hosts outside of the mesh that each workload may call."""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Self

from graphmesh_contracts.workloads import ENVOY
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

HTTPS, HTTP = 443, 80
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""The last label of what resolvers read as an IPv4 address, as in 0x7f.1."""
PORT = re.compile(r"[1-9][0-9]{0,4}")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Host:
    """An entry of a list of hosts."""

    name: str
    """Lower-case; of a wildcard, what follows the asterisk; of an address, its one spelling."""
    port: int
    is_wildcard: bool = False

    @property
    def address(self) -> Address | None:
        """The address that the entry is; None for a name."""
        return _ip_address(self.name)

    @property
    def authority(self) -> str:
        """The entry as a client requests it, with its port."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{'*' if self.is_wildcard else ''}{name}:{self.port}"

    @property
    def authorities(self) -> Sequence[str]:
        """All forms of it: clients leave out the port of plain HTTP."""
        return (self.authority, self.authority.removesuffix(f":{HTTP}")) if self.port == HTTP else (self.authority,)


def parse_host(text: str) -> Host:
    """Return a host of a list: `name`, `*.name` or an IP address, each with `:port` or without. Raises ValueError."""
    name, port = _parts(text)
    is_wildcard = name.startswith("*.")
    host = Host(name[1:] if is_wildcard else name, port, is_wildcard)
    if host.address is None and not _is_dns_name(host.name.removeprefix(".") if is_wildcard else host.name):
        raise ValueError(f"{text} is not host, host:port or *.host: a DNS name without a dot at its end, or an address")
    if host.address and str(host.address) != host.name:
        raise ValueError(f"{text} is spelled {host.address}")
    return host


def _parts(text: str) -> tuple[str, int]:
    name, colon, port = text.lower().rpartition(":")
    if text.endswith("]") or not colon or ("[" not in text and ":" in name):
        name, port = text.lower(), str(HTTPS)
    if not PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError(f"{text} has no port from 1 to 65535")
    if name.startswith("[") != name.endswith("]") or (name.startswith("[") and ":" not in name):
        raise ValueError(f"{text} is no IPv6 address in brackets")
    return name.strip("[]"), int(port)


def _is_dns_name(name: str) -> bool:
    labels = name.split(".")
    return len(name) <= 253 and all(map(LABEL.fullmatch, labels)) and not NUMERIC.fullmatch(labels[-1])


def _ip_address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _checked_host(text: str) -> str:
    parse_host(text)
    return text


def _checked_network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"is no IP address or network: {error}") from None
    return text


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AllowedHosts(Model):
    """The hosts that one workload may call, and its own listener for calls to them."""

    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """The port of its listener, which is its HTTP proxy. Envoy itself has none."""
    hosts: Annotated[tuple[Annotated[str, AfterValidator(_checked_host)], ...], Field(max_length=500)] = ()
    """`name` and `name:port`; the default port is 443. `*.name` is all names below a name, at every depth."""
    private: Annotated[tuple[Annotated[str, AfterValidator(_checked_network)], ...], Field(max_length=100)] = ()
    """Private addresses and networks that the names of `hosts` may resolve to. An address in `hosts` itself needs no
    entry here, and names of a wildcard never resolve to one."""

    @model_validator(mode="after")
    def _entries_count(self) -> Self:
        authorities = [host.authority for host in self.parsed]
        if repeated := sorted({one for one in authorities if authorities.count(one) > 1}):
            raise ValueError(f"hosts: {repeated[0]} is there twice")
        if self.private and not any(host.address is None and not host.is_wildcard for host in self.parsed):
            raise ValueError("private: only names of hosts without a wildcard resolve to private addresses")
        return self

    @property
    def parsed(self) -> Sequence[Host]:
        return [parse_host(text) for text in self.hosts]

    @property
    def networks(self) -> Sequence[Network]:
        """The private networks that its names may resolve to."""
        return [ipaddress.ip_network(text) for text in self.private]

    def allows(self, host: str, port: int) -> bool:
        """Report whether a list entry is a host in lower case."""
        return any(
            one.port == port and (host.endswith(one.name) if one.is_wildcard else host == one.name)
            for one in self.parsed
        )


class Egress(Model):
    """The way out of the mesh: Envoy, which each workload calls the hosts of its list through."""

    address: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """The address of the listeners."""
    resolvers: Annotated[tuple[str, ...], Field(max_length=10)] = ()
    """The `host:port` of DNS servers, each an IP address; by default those of the system."""
    workloads: Annotated[Mapping[str, AllowedHosts], Field(min_length=1)]
    """By the names of services; `envoy` reads the keys of issuers (`jwks_url`)."""

    @model_validator(mode="after")
    def _listeners_have_ports(self) -> Self:
        for name, workload in self.workloads.items():
            if (workload.port is None) != (name == ENVOY):
                raise ValueError(f"workloads.{name}.port: {'Envoy needs none' if name == ENVOY else 'is required'}")
        return self

    @model_validator(mode="after")
    def _resolvers_are_addresses(self) -> Self:
        for text in self.resolvers:
            host, _, port = text.rpartition(":")
            if _ip_address(host.strip("[]")) is None or not PORT.fullmatch(port) or int(port) > 65535:
                raise ValueError(f"resolvers: {text} is not an IP address with a port")
        return self

    def on_loopback(self, free_port: Callable[[], int]) -> "Egress":
        """Return the same on loopback, with a port from `free_port` for every listener."""
        ports = {name: free_port() for name, *_ in self.listening}
        workloads = {
            name: one.model_copy(update={"port": ports[name]}) if name in ports else one
            for name, one in self.workloads.items()
        }
        return self.model_copy(update={"address": "127.0.0.1", "workloads": workloads})

    @property
    def listening(self) -> Iterator[tuple[str, AllowedHosts, int]]:
        """Yield each workload with a listener, and its port."""
        return ((name, one, one.port) for name, one in self.workloads.items() if one.port is not None)
