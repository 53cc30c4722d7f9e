"""Handles on the RPCs of services whose contracts are not installed, made from descriptor sets.

    ShippingService = service("acme.shipping.v1.ShippingService")
    request = ShippingService.Ship.request(order_id="o_1", to={"city": "Riga"})

The handles are those of generated packages in everything but their static types.
"""

import os
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from graphmesh_contracts.comments import keep_comments
from graphmesh_contracts.descriptor_sets import SUFFIX, ContractError, read_descriptor_set
from graphmesh_contracts.rpc import Method, Rpc, StreamingRpc

FOLDER_SETTING = "GRAPHMESH_DESCRIPTOR_SETS"
"""The environment variable with the folder of the mesh's descriptor sets, one `<full name of the service>.binpb` each.
`graphmesh up` and `graphmesh render contracts` write it."""

_used: dict[str, bytes] = {}
"""The serialized file of each service with handles, by the service's full name."""


class _Handles(type):
    """The type of classes that hold handles. An RPC that the service does not have is an error with those it has."""

    NAME: str

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        known = ", ".join(key for key, value in vars(cls).items() if isinstance(value, Method))
        raise AttributeError(f"{cls.NAME} has no RPC {name}; it has {known}")


def service(name: str) -> type[Any]:
    """Return the class that holds a handle for each RPC of a service, as generated packages have it.

    The contract is the descriptor set in the folder of `GRAPHMESH_DESCRIPTOR_SETS`, or an installed package. All of it
    is checked here, so that what a contract lacks is an error when a graph is imported.

    Args:
        name: the full name: `acme.shipping.v1.ShippingService`.

    Raises:
        ContractError: there is no such contract, or it breaks a rule of the mesh.
    """
    folder = os.environ.get(FOLDER_SETTING, "")
    path = Path(folder, f"{name}{SUFFIX}")
    if folder and path.exists():
        return _handles_of(name, path)
    return _installed(name, f"; {path} does not exist" if folder else f"; {FOLDER_SETTING} is not set")


@cache  # for all graphs of a process: a class of messages exists once
def _handles_of(name: str, path: Path) -> type[Any]:
    contract = read_descriptor_set(path)
    try:
        descriptor = contract.service(name)
    except ContractError as error:
        raise ContractError(f"{path} {error}") from None
    keep_comments(contract.pool, contract.files.file)
    _used[name] = descriptor.file.serialized_pb
    return handles(descriptor)


def used_contracts() -> Mapping[str, bytes]:
    """Return the serialized file of each service that this process has handles on, by the service's full name."""
    return dict(_used)


def handles(descriptor: ServiceDescriptor) -> type[Any]:
    """Return the class that holds a handle for each RPC of a service."""
    rpcs = {method.name: _handle(method) for method in descriptor.methods}
    return _Handles(descriptor.name, (), {"NAME": descriptor.full_name, **rpcs})


def _handle(method: MethodDescriptor) -> Method[Any, Any]:
    kind = StreamingRpc if method.client_streaming or method.server_streaming else Rpc
    path = f"/{method.containing_service.full_name}/{method.name}"
    return kind(path, GetMessageClass(method.input_type), GetMessageClass(method.output_type))


def _installed(name: str, otherwise: str) -> type[Any]:
    package, _, short = name.rpartition(".")
    try:
        found: type[Any] = getattr(import_module(package), short)
    except (ImportError, ValueError, AttributeError):
        raise ContractError(f"no descriptor set and no installed package has the service {name}{otherwise}") from None
    return found
