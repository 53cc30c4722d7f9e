"""Calls of the orchestrator: retries, pages and streams."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import timedelta
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel, Headers
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DependencyError
from graphmesh_contracts import Rpc, StreamingRpc, declared_timeout

from graphmesh_client.endpoint import Endpoint
from graphmesh_client.token import Token, TokenSource

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
ItemT = TypeVar("ItemT")

RETRY_SECONDS = 0.5
"""Seconds between two attempts to reach the orchestrator."""
MAX_PAGE_SIZE = 500
NO_LIMIT = sys.maxsize


OnRetry = Callable[[DependencyError], None]
"""Called before each retry with the error of the attempt."""


class Calls:
    """Calls of one tenant over one connection, which belongs to the event loop of the first call.

    Timeouts are those of the contracts. Failed attempts are retried for `retry_timeout` seconds.
    """

    def __init__(
        self,
        address: str,
        tenant: str,
        retry_timeout: float,
        on_retry: OnRetry = lambda error: None,
        token: TokenSource | None = None,
    ) -> None:
        self._endpoint = Endpoint.parse(address)
        self._opened: tuple[Channel, asyncio.AbstractEventLoop] | None = None
        self._tenant, self._token = tenant, Token(token, self._endpoint.target, tenant)
        self.retry_timeout, self.on_retry = retry_timeout, on_retry

    async def close(self) -> None:
        if self._opened:
            await self._channel().__aexit__()

    def _channel(self) -> Channel:
        """Return the connection, and open it in the first call: a program may make its client before its event loop.

        Raises:
            RuntimeError: the first call was made in another event loop.
        """
        loop = asyncio.get_running_loop()
        if self._opened is None:
            self._opened = Channel(self._endpoint.target, tls=self._endpoint.tls), loop
        channel, its_loop = self._opened
        if its_loop is not loop:
            raise RuntimeError("a client belongs to one event loop: use one asyncio.run, or an asyncio.Runner")
        return channel

    async def call(
        self,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT,
        timeout: float | None = None,
        headers: Headers = (),
    ) -> ResponseT:
        """Make an idempotent call, with retries, which all have these headers."""
        return await self._with_retries(rpc, request, timeout, lambda error: error.retryable, headers)

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
        own_headers: Headers = (),
    ) -> ResponseT:
        channel, seconds = self._channel(), timeout or declared_timeout(rpc.descriptor)
        deadline = Deadline.after(self.retry_timeout)
        while True:
            try:
                headers = [*await self._headers(), *own_headers]
                return await channel.unary(rpc, request, deadline=Deadline.after(seconds), headers=headers)
            except DependencyError as error:
                backoff = error.retry_after or RETRY_SECONDS
                if not is_retryable(error) or backoff > deadline.remaining:
                    raise
                self.on_retry(error)
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
        deadline = Deadline.after(declared_timeout(rpc.descriptor))
        headers = await self._headers()
        async for response in self._channel().stream(rpc, request, deadline=deadline, headers=headers):
            yield response

    async def _headers(self) -> list[tuple[str, str]]:
        return [(metadata.TENANT, self._tenant), *await self._token.headers()]


def duration_of(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration
