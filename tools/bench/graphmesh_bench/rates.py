"""A tenant's rate under many callers at once, over two orchestrators behind two Envoys."""

import asyncio
import math
import tempfile
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import yaml
from graphmesh.orchestrator.v1 import ListRunsRequest, RunService
from graphmesh_chassis.channel import Channel, Headers
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError, RateLimited
from graphmesh_local.child_process import reserve_port
from graphmesh_local.cluster_health import wait_for_own_services
from graphmesh_local.databases import shared_servers
from graphmesh_local.development_issuer import TOKEN_SECONDS, developer_token, with_development_issuer
from graphmesh_local.running_mesh import running_mesh
from graphmesh_local.server_programs import local_address
from graphmesh_local.state_folder import StateFolder
from graphmesh_mesh.topology import Mesh
from redis.asyncio import Redis
from rich.console import Console

from graphmesh_bench.mesh import envoy_program

TENANT = "bench"
CHANNELS = 8
"""Connections of the callers, to both Envoys in turn, which accept 128 calls at once on each."""
ORCHESTRATOR = {
    "service": "graphmesh.orchestrator.v1.RunService",
    "module": "graphmesh_orchestrator",
    "port": 20050,
    "replicas": 2,
}


@dataclass(frozen=True)
class Plan:
    callers: int
    calls: int
    """Of the rate."""
    period: int
    """Seconds."""
    periods: int
    """The load lasts so many and a half."""


def main(plan: Plan) -> None:
    asyncio.run(_measure(plan))


async def _measure(plan: Plan) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mesh_file, state = folder / "mesh.yaml", folder / "state"
        mesh_file.write_text(yaml.safe_dump(_mesh(plan)))
        async with shared_servers() as shared, shared.postgres.database() as database:
            settings = {
                "GRAPHMESH_ORCHESTRATOR_DATABASE_URL": database,
                "GRAPHMESH_ORCHESTRATOR_REDIS_URL": shared.redis.url,
            }
            async with running_mesh(mesh_file, state, free_ports=True, settings=settings) as running:
                second = with_development_issuer(_on_other_ports(running.mesh), running.folder)
                await running.supervisor.start([envoy_program(second, folder / "envoy-2")])
                await wait_for_own_services(second, local_address(second.admin))
                edges = [local_address(mesh.edge) for mesh in (running.mesh, second)]
                admitted, outcomes = await _load(edges, running.folder, shared.redis.url, plan)
    _report(admitted, outcomes, plan)


def _mesh(plan: Plan) -> dict[str, object]:
    rate = {"calls": plan.calls, "period": f"{plan.period}s"}
    return {
        "edge": {"port": 8080},
        "mesh": {"port": 8081},
        "admin": {"port": 8082},
        "services": {"orchestrator": {**ORCHESTRATOR, "policy": {"tenantRate": rate}}},
    }


def _on_other_ports(mesh: Mesh) -> Mesh:
    """The mesh for one more Envoy."""
    listeners = {name: getattr(mesh, name) for name in ("edge", "mesh", "admin")}
    return mesh.model_copy(
        update={name: one.model_copy(update={"port": reserve_port()}) for name, one in listeners.items()}
    )


async def _load(
    edges: Sequence[str], folder: StateFolder, redis_url: str, plan: Plan
) -> tuple[list[float], Counter[str]]:
    """Call for the time of the plan. Return the times of admitted calls, by the clock of Redis, and all outcomes."""
    seconds = (plan.periods + 0.5) * plan.period
    outcomes, admitted, ends = Counter[str](), list[float](), time.monotonic() + seconds
    token = developer_token(folder, TENANT, seconds=seconds + TOKEN_SECONDS)
    headers = [("authorization", f"Bearer {token}")]
    async with AsyncExitStack() as stack:
        addresses = (edges[number % len(edges)] for number in range(CHANNELS))
        channels = [await stack.enter_async_context(Channel(address)) for address in addresses]
        watching = asyncio.create_task(_watch(redis_url, admitted, plan))
        callers = (_call_until(ends, channels[number % CHANNELS], headers, outcomes) for number in range(plan.callers))
        await asyncio.gather(*callers)
        await asyncio.sleep(plan.period / 2)
        watching.cancel()
    return admitted, outcomes


async def _call_until(ends: float, channel: Channel, headers: Headers, outcomes: Counter[str]) -> None:
    while (now := time.monotonic()) < ends:
        try:
            await channel.unary(RunService.ListRuns, ListRunsRequest(), deadline=Deadline.after(30), headers=headers)
            outcomes[""] += 1
        except RateLimited as error:
            outcomes[error.reason] += 1
            await asyncio.sleep(min(error.retry_after or 0.05, max(0, ends - now)))
        except GraphmeshError as error:
            outcomes[error.reason] += 1


async def _watch(redis_url: str, admitted: list[float], plan: Plan) -> None:
    """Note the calls of the window several times in each period, so that none leaves it unseen."""
    async with Redis.from_url(redis_url) as redis:
        while True:
            async for key in redis.scan_iter(f"graphmesh:*{TENANT}*"):
                newest = admitted[-1] if admitted else 0.0
                found = sorted(float(one) for one in await redis.lrange(key, 0, -1))
                admitted += [one for one in found if one > newest]
            await asyncio.sleep(plan.period / 10)


def most_in_a_window(times: Sequence[float], period: float) -> int:
    """Return the most of the sorted `times` in any window that is shorter than a period."""
    return max((bisect_left(times, first + period) - index for index, first in enumerate(times)), default=0)


def share_used(times: Sequence[float], calls: int, period: float) -> float:
    """Return how much of a rate the sorted `times` use, in the whole periods from the first of them on."""
    periods = math.floor((times[-1] - times[0]) / period)
    return bisect_left(times, times[0] + periods * period) / (periods * calls) if periods else 0.0


def _report(admitted: Sequence[float], outcomes: Counter[str], plan: Plan) -> None:
    refused = ", ".join(f"{count} {reason}" for reason, count in outcomes.items() if reason)
    console = Console(highlight=False)
    console.print(
        f"{plan.callers} callers of 2 Envoys and 2 orchestrators; a rate of {plan.calls} calls in {plan.period} s"
    )
    console.print(f"answered: {outcomes['']}, counted in Redis: {len(admitted)}; refused: {refused or 'none'}")
    offered = sum(outcomes.values()) / (plan.periods + 0.5)
    console.print(f"offered: {offered:.0f} calls in {plan.period} s")
    console.print(f"most in any window: {most_in_a_window(admitted, plan.period)}")
    console.print(f"used: {share_used(admitted, plan.calls, plan.period):.1%}")
