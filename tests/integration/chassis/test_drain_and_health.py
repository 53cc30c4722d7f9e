"""Draining and health, within one process."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import grpc
import pytest
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_chassis.running import StopSignals
from graphmesh_chassis.serve import Servable
from graphmesh_chassis.testing import Served, running
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.integration.chassis.probe import NAME, Answer, Probe, Question, echo, probing, servable


class Blocking:
    """An implementation that waits for `go`."""

    def __init__(self) -> None:
        self.began, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, question: Any, context: Any) -> Any:
        self.began.set()
        await self.go.wait()
        return Answer(text="done")


async def health(served: Served, service: str) -> str:
    async with grpc.aio.insecure_channel(served.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


async def until_health(served: Served, status: str) -> None:
    async with asyncio.timeout(60):
        while await health(served, NAME) != status:
            await asyncio.sleep(0.02)


async def watch(served: Served, seen: list[int]) -> None:
    async with grpc.aio.insecure_channel(served.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        async for answer in stub.Watch(health_pb2.HealthCheckRequest(service=NAME)):
            seen.append(answer.status)


async def until_seen(seen: list[int], status: int) -> None:
    """Wait until a watcher has received the status."""
    async with asyncio.timeout(60):
        while status not in seen:
            await asyncio.sleep(0.01)


async def test_draining_server_completes_calls_in_progress() -> None:
    """Its health is NOT_SERVING, new calls are refused, and the call in progress succeeds."""
    slow, seen = Blocking(), list[int]()
    async with probing({"Ask": slow}) as served:
        watching = asyncio.create_task(watch(served, seen))
        call = asyncio.create_task(served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60)))
        await slow.began.wait()
        await until_seen(seen, health_pb2.HealthCheckResponse.SERVING)
        draining = asyncio.create_task(served.running.drain(StopSignals(), 60))
        await until_seen(seen, health_pb2.HealthCheckResponse.NOT_SERVING)
        with pytest.raises(GraphmeshError) as refused:
            await served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60))
        assert not refused.value.may_have_happened or refused.value.reason == "CONNECTION_LOST"
        slow.go.set()
        assert (await call).text == "done"
        watching.cancel()
        with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await watching
        await asyncio.wait_for(draining, 60)
    assert seen[-1] == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_lingering_server_accepts_calls() -> None:
    """Its health is NOT_SERVING at once, so that proxies choose another replica.

    It accepts calls until the time is over or the second signal.
    """
    signals = StopSignals()
    async with probing({"Ask": echo}) as served:
        lingering = asyncio.create_task(served.running.linger(signals, 60))
        await until_health(served, "NOT_SERVING")
        assert await served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60))
        signals.second.set()
        await asyncio.wait_for(lingering, 60)


async def test_second_signal_cancels_calls_in_progress() -> None:
    """Long before the time for draining is over."""
    slow, signals = Blocking(), StopSignals()
    async with probing({"Ask": slow}) as served:
        call = asyncio.create_task(served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60)))
        await slow.began.wait()
        draining = asyncio.create_task(served.running.drain(signals, 60))
        await asyncio.sleep(0.1)
        signals.second.set()
        await asyncio.wait_for(draining, 60)
        with pytest.raises(GraphmeshError):
            await call


async def test_health_follows_the_pings_of_resources() -> None:
    """NOT_SERVING while a resource does not respond, then SERVING again."""
    down = False

    async def ping() -> None:
        if down:
            raise OSError("gone")

    probe = servable({"Ask": echo})
    async with running(Servable(probe.services, pings={"database": ping}, ping_seconds=0.02)) as served:
        await until_health(served, "SERVING")
        down = True
        await until_health(served, "NOT_SERVING")
        down = False
        await until_health(served, "SERVING")


async def test_reflection_lists_the_services() -> None:
    """As `grpcurl` and `buf curl` need it."""
    async with probing({"Ask": echo}) as served, grpc.aio.insecure_channel(served.address) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        [answer] = [answer async for answer in stub.ServerReflectionInfo(iter([request]))]
        names = {service.name for service in answer.list_services_response.service}
        assert {NAME, "grpc.health.v1.Health"} <= names
        file = reflection_pb2.ServerReflectionRequest(file_containing_symbol=NAME)
        [answer] = [answer async for answer in stub.ServerReflectionInfo(iter([file]))]
        assert answer.file_descriptor_response.file_descriptor_proto


async def test_task_that_fails_ends_the_others_with_the_server() -> None:
    """Before the resources are closed that they use."""
    begun, ended = asyncio.Event(), list[str]()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def fail() -> None:
        await begun.wait()
        raise RuntimeError("unexpected")

    served = replace(servable({"Ask": echo}), tasks={"waiting": wait, "failing": fail})
    async with running(served) as server:
        with pytest.raises(RuntimeError, match="unexpected"):
            await server.running.tasks
        assert ended == []
    assert ended == ["cancelled"]
