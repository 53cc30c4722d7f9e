"""A catalogue of all RPCs of the contracts, by tool name, full name or path."""

import difflib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import graphmesh
from graphmesh_contracts import ContractError, Method, read_descriptor_set
from graphmesh_contracts.descriptor_sets import SUFFIX
from graphmesh_contracts.service_handles import handles, service

from graphmesh_cli.failures import ExitCode, Failure, usage_error


class UnknownRpc(Failure):
    """The contracts have no RPC of this name; the message names similar ones."""


def all_rpcs() -> dict[str, Method[Any, Any]]:
    """Return the RPCs of graphmesh's own contracts by tool name: `billing.Charge`."""
    packages = sorted(
        path.parent.parent.name for root in graphmesh.__path__ for path in Path(root).glob("*/v1/__init__.py")
    )
    return {rpc.tool: rpc for package in packages for rpc in _rpcs(f"graphmesh.{package}.v1")}


def joined_rpcs(contracts: Path) -> dict[str, Method[Any, Any]]:
    """Return the RPCs of the services with a descriptor set, of which a mesh keeps a folder, by tool name.

    Raises:
        Failure: a set cannot be used.
    """
    try:
        found = [
            handles(read_descriptor_set(path).service(path.name.removesuffix(SUFFIX)))
            for path in sorted(contracts.glob(f"*{SUFFIX}"))
        ]
    except ContractError as error:
        raise usage_error(str(error)) from None
    return {rpc.tool: rpc for one in found for rpc in _of_service(one)}


def rpcs_of_file(path: Path) -> dict[str, Method[Any, Any]]:
    """Return the RPCs of all services in a descriptor set, by tool name. Raises Failure where it cannot be used."""
    try:
        contract = read_descriptor_set(path)
        services = [contract.service(name) for name in contract.service_names()]
    except ContractError as error:
        raise usage_error(str(error)) from None
    return {rpc.tool: rpc for service in services for rpc in _of_service(handles(service))}


def find_rpc(name: str, joined: dict[str, Method[Any, Any]]) -> Method[Any, Any]:
    """Return an RPC by `crm.CreateCustomer`, `graphmesh.crm.v1.CrmService.CreateCustomer`, or its path.

    Args:
        joined: the RPCs of other teams' services.

    Raises:
        UnknownRpc: no contract has such an RPC.
    """
    known = {**all_rpcs(), **joined}
    for rpc in known.values():
        if name in (rpc.tool, rpc.full_name, rpc.path):
            return rpc
    if installed := _installed(name):
        return installed
    matches = difflib.get_close_matches(name.lower(), [tool.lower() for tool in known], n=3, cutoff=0.5)
    similar = [tool for tool in known if tool.lower() in matches] or sorted(known)
    raise UnknownRpc(f"there is no RPC {name}; there are: {', '.join(similar)}", exit_code=ExitCode.USAGE)


def _installed(name: str) -> Method[Any, Any] | None:
    """Return an RPC of a team's installed contract by its full name or path."""
    service_name, _, method = name.removeprefix("/").replace("/", ".").rpartition(".")
    try:
        found = vars(service(service_name)).get(method)
    except ContractError:
        return None
    return found if isinstance(found, Method) else None


def _rpcs(package: str) -> Iterator[Method[Any, Any]]:
    for one in vars(importlib.import_module(package)).values():
        if isinstance(getattr(one, "NAME", None), str):
            yield from _of_service(one)


def _of_service(service: type[Any]) -> list[Method[Any, Any]]:
    return [value for value in vars(service).values() if isinstance(value, Method)]
