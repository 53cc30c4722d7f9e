"""Typed handles on the RPCs of the contracts."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar, cast

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

_VERSION = re.compile(r"v\d\w*")

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(frozen=True)
class Method(Generic[RequestT, ResponseT]):
    """An RPC of any kind: its path and the types of its messages.

    The generated packages hold a handle for each, for example `graphmesh.billing.v1.BillingService.Charge`.
    """

    path: str
    """The path of the HTTP/2 request: `/package.Service/Method`."""
    request: type[RequestT]
    response: type[ResponseT]

    @property
    def service(self) -> str:
        """The service's full name: `graphmesh.billing.v1.BillingService`."""
        return self.path[1:].partition("/")[0]

    @property
    def method(self) -> str:
        """The method's own name: `Charge`."""
        return self.path.rpartition("/")[2]

    @property
    def full_name(self) -> str:
        """The method's full name, as descriptors spell it: `graphmesh.billing.v1.BillingService.Charge`."""
        return self.path[1:].replace("/", ".")

    @property
    def tool(self) -> str:
        """The name shown to people and models, by the package without its version: `billing.Charge`."""
        *package, service = self.service.split(".")
        named = [part for part in package if not _VERSION.fullmatch(part)]
        return f"{named[-1] if named else service}.{self.method}"

    @cached_property
    def descriptor(self) -> MethodDescriptor:
        """The types in the pool of its messages: a descriptor set has one of its own."""
        return cast(MethodDescriptor, self.request.DESCRIPTOR.file.pool.FindMethodByName(self.full_name))


@dataclass(frozen=True)
class Rpc(Method[RequestT, ResponseT]):
    """An RPC with one request and one response."""


@dataclass(frozen=True)
class StreamingRpc(Method[RequestT, ResponseT]):
    """An RPC with a stream of requests, of responses, or of both."""
