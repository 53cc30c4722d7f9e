"""Calls of the orchestrator: what they are repeated for, and page after page."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import timedelta
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DependencyError
from graphmesh_contracts import Rpc, method_policy

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
ItemT = TypeVar("ItemT")

RETRY_SECONDS = 0.5
"""Between two tries to reach the orchestrator."""
LARGEST_PAGE = 500
NO_LIMIT = sys.maxsize


class Calls:
    """Calls of one tenant over one connection.

    Timeouts are those of the contracts. A call is repeated for `patience` seconds while the orchestrator is not there.
    """

    def __init__(self, address: str, tenant: str, patience: float) -> None:
        self._channel = Channel(address)
        self._headers = [(metadata.TENANT, tenant)]
        self.patience = patience

    async def close(self) -> None:
        await self._channel.__aexit__()

    async def call(self, rpc: Rpc[RequestT, ResponseT], request: RequestT, timeout: float | None = None) -> ResponseT:
        """One call that may be made again: a second one changes nothing, or it reads."""
        return await self._repeated(rpc, request, timeout, lambda error: error.retryable)

    async def once(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """One call that is made again only where it was not begun.

        Where the answer is lost, the error says that it `may_have_happened`.
        """
        return await self._repeated(rpc, request, None, lambda error: error.retryable and not error.may_have_happened)

    async def _repeated(
        self,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT,
        timeout: float | None,
        again: Callable[[DependencyError], bool],
    ) -> ResponseT:
        seconds = timeout or method_policy(rpc.descriptor).timeout
        patience = Deadline.after(self.patience)
        while True:
            try:
                return await self._channel.unary(rpc, request, deadline=Deadline.after(seconds), headers=self._headers)
            except DependencyError as error:
                if not again(error) or patience.remaining == 0:
                    raise
                wait = error.retry_after or RETRY_SECONDS
            await asyncio.sleep(wait)

    async def each(
        self,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT,
        items: Callable[[ResponseT], Iterable[ItemT]],
        limit: int = NO_LIMIT,
    ) -> AsyncGenerator[ItemT, None]:
        """What a List RPC has, page after page. `items` are those of one page."""
        asked: Any = request
        while limit > 0:
            asked.page_size = min(limit, LARGEST_PAGE)
            page: Any = await self.call(rpc, asked)
            for item in items(page):
                limit -= 1
                yield item
            asked.page_token = page.next_page_token
            if not asked.page_token:
                return

    async def listed(
        self,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT,
        items: Callable[[ResponseT], Iterable[ItemT]],
        limit: int,
    ) -> list[ItemT]:
        """The first `limit` of them."""
        return [item async for item in self.each(rpc, request, items, limit)]

    async def stream(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> AsyncGenerator[ResponseT, None]:
        """One call whose responses are streamed. Where it breaks it is not made again."""
        timeout = method_policy(rpc.descriptor).timeout
        async for response in self._channel.stream(
            rpc, request, deadline=Deadline.after(timeout), headers=self._headers
        ):
            yield response


def seconds_of(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration
