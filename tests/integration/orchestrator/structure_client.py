"""A client that sends large structures as fast as they are answered: `python structure_client.py ADDRESS ELEMENTS`."""

import asyncio
import contextlib
import sys
from typing import Any

import grpc
from graphmesh.orchestrator import v1 as pb
from graphmesh_contracts import to_struct

CALLERS = 3
TENANT = (("x-graphmesh-tenant", "hostile"),)
OPTIONS = (("grpc.max_receive_message_length", -1),)


async def main(address: str, elements: int) -> None:
    create = pb.CreateRunRequest(graph="counting", input=to_struct({"items": [None] * elements})).SerializeToString()
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        sys.stdout.write("sending\n")
        sys.stdout.flush()
        await asyncio.gather(*(send(channel, create) for _ in range(CALLERS)))


async def send(channel: grpc.aio.Channel, create: bytes) -> None:
    listing = pb.ListRunsRequest(page_size=5).SerializeToString()
    while True:
        await answered(channel, pb.RunService.CreateRun.path, create)
        if created := await answered(channel, pb.RunService.ListRuns.path, listing):
            run_id = pb.ListRunsResponse.FromString(created).runs[0].run_id
            await answered(channel, pb.RunService.GetRun.path, pb.GetRunRequest(run_id=run_id).SerializeToString())


async def answered(channel: grpc.aio.Channel, path: str, request: bytes) -> bytes:
    with contextlib.suppress(grpc.aio.AioRpcError, IndexError):
        call: Any = channel.unary_unary(path)
        response: bytes = await call(request, metadata=TENANT, timeout=60)
        return response
    return b""


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
