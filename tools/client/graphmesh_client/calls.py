"""Calls of the orchestrator: retries, pages and streams."""

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
from graphmesh_contracts import Rpc, StreamingRpc, method_policy

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
ItemT = TypeVar("ItemT")

RETRY_SECONDS = 0.5
"""Seconds between two attempts to reach the orchestrator."""
MAX_PAGE_SIZE = 500
NO_LIMIT = sys.maxsize


class Calls:
    """Calls of one tenant over one connection.

    Timeouts are those of the contracts. Failed attempts are retried for `retry_timeout` seconds.
    """

    def __init__(self, address: str, tenant: str, retry_timeout: float) -> None:
        self._channel = Channel(address)
        self._headers = [(metadata.TENANT, tenant)]
        self.retry_timeout = retry_timeout

    async def close(self) -> None:
        await self._channel.__aexit__()

    async def call(self, rpc: Rpc[RequestT, ResponseT], request: RequestT, timeout: float | None = None) -> ResponseT:
        """Make an idempotent call, with retries."""
        return await self._with_retries(rpc, request, timeout, lambda error: error.retryable)

    async def call_once(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Make a call that is not idempotent: it is retried only where it was never sent.

        Where the response is lost, the error has `may_have_happened`.
        """
        return await self._with_retries(
            rpc, request, None, lambda error: error.retryable and not error.may_have_happened
        )

    async def _with_retries(
        self,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT,
        timeout: float | None,
        is_retryable: Callable[[DependencyError], bool],
    ) -> ResponseT:
        seconds = timeout or method_policy(rpc.descriptor).timeout
        deadline = Deadline.after(self.retry_timeout)
        while True:
            try:
                return await self._channel.unary(rpc, request, deadline=Deadline.after(seconds), headers=self._headers)
            except DependencyError as error:
                if not is_retryable(error) or deadline.remaining == 0:
                    raise
                backoff = error.retry_after or RETRY_SECONDS
            await asyncio.sleep(backoff)

    async def iterate(
        self,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT,
        items: Callable[[ResponseT], Iterable[ItemT]],
        limit: int = NO_LIMIT,
    ) -> AsyncGenerator[ItemT, None]:
        """Yield the items of a List RPC, page by page. `items` returns those of a page."""
        page_request: Any = request
        while limit > 0:
            page_request.page_size = min(limit, MAX_PAGE_SIZE)
            page: Any = await self.call(rpc, page_request)
            for item in items(page):
                limit -= 1
                yield item
            page_request.page_token = page.next_page_token
            if not page_request.page_token:
                return

    async def collect(
        self,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT,
        items: Callable[[ResponseT], Iterable[ItemT]],
        limit: int,
    ) -> list[ItemT]:
        """Return the first `limit` items of a List RPC."""
        return [item async for item in self.iterate(rpc, request, items, limit)]

    async def stream(
        self, rpc: StreamingRpc[RequestT, ResponseT], request: RequestT
    ) -> AsyncGenerator[ResponseT, None]:
        """Yield the responses of a streaming call, without retries."""
        timeout = method_policy(rpc.descriptor).timeout
        async for response in self._channel.stream(
            rpc, request, deadline=Deadline.after(timeout), headers=self._headers
        ):
            yield response


def duration_of(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration
