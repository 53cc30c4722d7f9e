"""Bounds the bodies that vendors send: a client that reads a whole answer would take all memory for an endless one."""

from collections.abc import AsyncIterator
from functools import cache
from importlib import import_module
from typing import Any

MAX_BYTES = 64 * 1024 * 1024
"""Of an answer; images in it are the largest part."""
MAX_COMPRESSED_BYTES = 256 * 1024
"""Of an answer that is compressed although that was not accepted: it may be a thousand times as large."""


class ResponseTooLarge(Exception):
    """The vendor sends more than any answer has."""


def bound_responses(client: Any) -> None:
    """Bound all responses that an HTTP client in the form of httpx gets. A second call changes nothing."""
    hooks = client.event_hooks
    if _bound_response not in hooks["response"]:
        hooks["request"].append(_request_identity)
        hooks["response"].append(_bound_response)
        client.event_hooks = hooks


async def _request_identity(request: Any) -> None:
    request.headers["accept-encoding"] = "identity"


async def _bound_response(response: Any) -> None:
    encoding = response.headers.get("content-encoding", "identity")
    limit = MAX_BYTES if encoding == "identity" else MAX_COMPRESSED_BYTES
    library = type(response).__module__.partition(".")[0]
    response.stream = _stream_class(library)(response.stream, limit)


class _Bounded:
    def __init__(self, inner: Any, limit: int) -> None:
        self._inner, self._limit = inner, limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > self._limit:
                raise ResponseTooLarge(f"more than {self._limit} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


@cache
def _stream_class(library: str) -> Any:
    """Return the bounded stream as a stream of a library, which checks the class."""
    return type("BoundedStream", (_Bounded, import_module(library).AsyncByteStream), {})
