"""The protos list exactly the reasons that the code can raise."""

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from graphmesh.common.v1 import ErrorReason
from graphmesh_chassis.adapter import HookInterceptor
from graphmesh_chassis.admission import Admission
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import Cancelled, MessageTooLarge, UnknownMethod
from graphmesh_chassis.hooks import effects, hooks_of
from graphmesh_chassis.rates import Rates
from graphmesh_chassis.status import FLAGS, from_rpc_error
from graphmesh_chassis.store import SqlStore
from graphmesh_chassis.workload import Workload
from graphmesh_contracts import Method, reasons, shared_reasons
from langgraph.checkpoint.base import BaseCheckpointSaver

from tests.contract.contracts.error_analysis.analysis import Analysis

ROOT = Path(__file__).parents[3]
CONTRACTS = [f"graphmesh.{path.parent.name}.v1" for path in sorted(ROOT.glob("protos/gen/graphmesh/*/v1"))]
SERVERS = [
    path.name
    for pattern in ("services/*/graphmesh_*", "orchestrator/graphmesh_*", "orchestrator/nodes/graphmesh_*")
    for path in sorted(ROOT.glob(pattern))
    if path.name != "graphmesh_chassis"
]
CHASSIS = {f"graphmesh_chassis.{path.stem}" for path in ROOT.glob("services/chassis/graphmesh_chassis/*.py")}
OWN = {f"graphmesh_chassis.{name}" for name in ("errors", "identity", "pages")}
"""The modules of the chassis whose errors are reasons of the RPC itself: a broken business rule, a scope that a use
case requires, an invalid page token. The errors of the others are those of every RPC, or of every effect."""
READING = ("aget_tuple", "aget_delta_channel_history")
CALLS_BACK: Mapping[str, tuple[type, tuple[str, ...]]] = {
    "aget_state": (BaseCheckpointSaver, READING),
    "aget_state_history": (BaseCheckpointSaver, (*READING, "alist")),
    "aupdate_state": (BaseCheckpointSaver, (*READING, "aput", "aput_writes")),
}
"""LangGraph's methods that call the checkpointer of their graph."""
NEVER_RAISED = {
    ("orchestrator.CreateThread", "RESOURCE_NOT_FOUND"): "it reads the thread in the transaction that has inserted it",
    ("orchestrator.ListThreadStates", "VERSION_UNAVAILABLE"): "it lists the state without its values",
    ("orchestrator.ListThreadStates", "MIGRATION_FAILED"): "it lists the state without its values",
    ("orchestrator.ListThreadStates", "STATE_UNREADABLE"): "it lists the state without its values",
    ("orchestrator.PutItem", "FENCED"): "it writes under no epoch",
    ("orchestrator.DeleteItem", "FENCED"): "it writes under no epoch",
    (
        "orchestrator.UpdateThreadState",
        "SHUTTING_DOWN",
    ): "its checkpointer has no group commit, it collects the writes",
}
"""The overestimates of the analysis, with the facts that it does not see."""


def services(contract: str) -> Iterator[tuple[type, list[Method[Any, Any]]]]:
    """The generated servicer class of each service of a proto package, and its RPCs."""
    package = importlib.import_module(contract)
    for name, handle in vars(package).items():
        if isinstance(handle, type) and "NAME" in vars(handle):
            rpcs = [value for value in vars(handle).values() if isinstance(value, Method)]
            yield getattr(package, f"{name}Servicer"), rpcs


SERVED = [(servicer, rpc) for contract in CONTRACTS for servicer, rpcs in services(contract) for rpc in rpcs]


@pytest.fixture(scope="module")
def servers() -> Analysis:
    return Analysis(SERVERS, CHASSIS - OWN, CALLS_BACK)


@pytest.fixture(scope="module")
def chassis() -> Analysis:
    return Analysis([])


@pytest.fixture(scope="module")
def shared() -> Mapping[str, frozenset[str]]:
    return shared_reasons()


def raised(servers: Analysis, servicer: type, rpc: Method[Any, Any]) -> frozenset[str]:
    """The reasons that the implementation of an RPC can raise, without those that all RPCs share."""
    _, implementation = servers.implementations(servicer)
    return servers.reasons(getattr(implementation, rpc.method), implementation)


def test_every_service_has_one_implementation(servers: Analysis) -> None:
    for servicer in {servicer for servicer, _ in SERVED}:
        assert len(servers.implementations(servicer)) == 2, servicer


@pytest.mark.parametrize(("servicer", "rpc"), SERVED, ids=[rpc.tool for _, rpc in SERVED])
def test_an_rpc_lists_the_reasons_that_its_code_raises(
    servers: Analysis, servicer: type, rpc: Method[Any, Any]
) -> None:
    overestimated = {reason for tool, reason in NEVER_RAISED if tool == rpc.tool}
    assert reasons(rpc) == raised(servers, servicer, rpc) - overestimated


def test_every_overestimate_is_still_one(servers: Analysis) -> None:
    """An entry of NEVER_RAISED that the analysis does not find any more has to be deleted."""
    found = {(rpc.tool, reason) for servicer, rpc in SERVED for reason in raised(servers, servicer, rpc)}
    assert found >= NEVER_RAISED.keys()


def test_hooks_and_databases_raise_the_reasons_of_every_rpc(
    chassis: Analysis, shared: Mapping[str, frozenset[str]]
) -> None:
    hooks = [hook for hook in hooks_of("open", Admission(1, 1)) if hook is not effects]
    found = [chassis.reasons(hook) for hook in hooks]
    found += [chassis.reasons(Rates.admit, Rates), chassis.reasons(Workload.require_caller, Workload)]
    found += [chassis.reasons(method, Database) for method in (Database.read, Database.transaction, Database.rows)]
    assert frozenset().union(*found) == shared["every RPC"]


def test_the_store_and_the_effects_hook_raise_the_reasons_of_effects(
    chassis: Analysis, shared: Mapping[str, frozenset[str]]
) -> None:
    found = chassis.reasons(effects).union(
        *(chassis.reasons(one, SqlStore) for one in (SqlStore.effect, SqlStore.foreign))
    )
    assert found - shared["every RPC"] == shared["effects"]


def test_clients_and_the_interceptor_raise_the_reasons_of_the_transport(
    chassis: Analysis, shared: Mapping[str, frozenset[str]]
) -> None:
    """Envoy's flags and gRPC's codes are tables, which the analysis of the functions does not see."""
    tables = {kind.reason for _, kind, _ in FLAGS} | {kind.reason for kind in (Cancelled, MessageTooLarge)}
    unknown = chassis.reasons(HookInterceptor.intercept_service, HookInterceptor) - shared["every RPC"]
    assert unknown == {UnknownMethod.reason}
    assert chassis.reasons(from_rpc_error) | tables | unknown == shared["the transport"]


def test_every_reason_of_the_catalogue_is_listed(shared: Mapping[str, frozenset[str]]) -> None:
    listed = frozenset().union(*shared.values(), *(reasons(rpc) for _, rpc in SERVED))
    assert listed == {name.removeprefix("ERROR_REASON_") for name in dict(ErrorReason.items())} - {"UNSPECIFIED"}
