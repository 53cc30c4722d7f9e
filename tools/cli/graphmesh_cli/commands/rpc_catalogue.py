"""A catalogue of all RPCs of the contracts, by tool name, full name or path."""

import difflib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import graphmesh
from graphmesh_contracts import Method

from graphmesh_cli.failures import ExitCode, Failure


class UnknownRpc(Failure):
    """The contracts have no RPC of this name; the message names similar ones."""


def all_rpcs() -> dict[str, Method[Any, Any]]:
    """Return all RPCs by tool name: `billing.Charge`."""
    packages = sorted(
        path.parent.parent.name for root in graphmesh.__path__ for path in Path(root).glob("*/v1/__init__.py")
    )
    return {rpc.tool: rpc for package in packages for rpc in _rpcs(package)}


def find_rpc(name: str) -> Method[Any, Any]:
    """Return an RPC by `crm.CreateCustomer`, `graphmesh.crm.v1.CrmService.CreateCustomer`, or its path.

    Raises:
        UnknownRpc: the contracts have no such RPC.
    """
    known = all_rpcs()
    for rpc in known.values():
        if name in (rpc.tool, rpc.full_name, rpc.path):
            return rpc
    matches = difflib.get_close_matches(name.lower(), [tool.lower() for tool in known], n=3, cutoff=0.5)
    similar = [tool for tool in known if tool.lower() in matches] or sorted(known)
    raise UnknownRpc(f"there is no RPC {name}; there are: {', '.join(similar)}", exit_code=ExitCode.USAGE)


def _rpcs(package: str) -> Iterator[Method[Any, Any]]:
    contracts = importlib.import_module(f"graphmesh.{package}.v1")
    for handles in vars(contracts).values():
        if isinstance(getattr(handles, "NAME", None), str):
            yield from (value for value in vars(handles).values() if isinstance(value, Method))
