"""Invalid requests to any RPC of this mesh, over any channel: to a server in this process, or through Envoy."""

import importlib
from collections.abc import Iterator
from typing import Any

import grpc
from graphmesh.orchestrator.v1 import (
    CreateRunRequest,
    CreateScheduleRequest,
    ExecuteRunRequest,
    PutItemRequest,
    RunService,
    ScheduleService,
    ScheduleSpec,
    StoreService,
    ThreadService,
    UpdateScheduleRequest,
    UpdateThreadStateRequest,
)
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_chassis.status import from_rpc_error
from graphmesh_chassis.testing import bad_fields
from graphmesh_chassis.testing.bad_fields import BadRequest, rpcs_of
from graphmesh_contracts import Method
from graphmesh_mesh.service import Service


def rpcs(service: Service) -> list[Method[Any, Any]]:
    """Return all RPCs of a service of mesh.yaml."""
    names = [name.rpartition(".") for name in (service.service, *service.beside)]
    handles = [getattr(importlib.import_module(package), name) for package, _, name in names]
    return [rpc for handle in handles for rpc in rpcs_of(handle)]


def bad_requests(rpc: Method[Any, Any], graph: str = "", thread_id: str = "") -> Iterator[BadRequest]:
    """Generate all invalid requests to an RPC.

    Args:
        graph: an existing graph. A run's input has the rules of its graph, so a request without one would be refused
            for that. So would be the value of an item without a key.
        thread_id: an existing thread, for the same reason.
    """
    spec = ScheduleSpec(run=CreateRunRequest(graph=graph), cron="0 0 * * *")
    valid_fields = {
        RunService.CreateRun.path: CreateRunRequest(graph=graph),
        RunService.ExecuteRun.path: ExecuteRunRequest(run=CreateRunRequest(graph=graph)),
        ScheduleService.CreateSchedule.path: CreateScheduleRequest(spec=spec),
        ScheduleService.UpdateSchedule.path: UpdateScheduleRequest(schedule_id="s", spec=spec),
        ThreadService.UpdateThreadState.path: UpdateThreadStateRequest(thread_id=thread_id),
        StoreService.PutItem.path: PutItemRequest(namespace=["n"], key="k"),
    }
    return bad_fields.bad_requests(rpc, valid_fields.get(rpc.path))


async def send(
    channel: grpc.aio.Channel, rpc: Method[Any, Any], payload: bytes, headers: tuple[tuple[str, str], ...] = ()
) -> GraphmeshError | None:
    """Send the bytes as a request, and return its error; None where it succeeds."""
    streams = rpc.descriptor.server_streaming
    make: Any = channel.unary_stream if streams else channel.unary_unary
    call = make(rpc.path, None, rpc.response.FromString)(payload, timeout=60, metadata=headers)
    try:
        if streams:
            await call.read()
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error, rpc.tool)
    finally:
        call.cancel()
    return None
