"""Serves the hostile model on loopback over OpenAI's protocol, streaming and not."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from graphmesh_eval.hostile.answers import HostileAnswer, hostile_answer

MODEL = "hostile-1"
MAX_BODY = 32 * 1024 * 1024
PART = 40
"""Characters of a part of a stream."""
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


class HostileServer:
    """The running server: `url` is what a client takes as `base_url`."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.url = ""
        self.answered = 0
        self._connections: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._connections[task] = writer
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                while (request := await _read(reader)) is not None:
                    await self._answer(request, writer)
        finally:
            del self._connections[task]
            writer.close()

    async def _answer(self, request: Mapping[str, Any], writer: asyncio.StreamWriter) -> None:
        answer = hostile_answer(request, self._seed)
        self.answered += 1
        if request.get("stream"):
            body, kind = _stream(answer), "text/event-stream"
        else:
            body, kind = json.dumps(_completion(answer)).encode(), "application/json"
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    async def close(self) -> None:
        for writer in self._connections.values():
            writer.transport.abort()
        await asyncio.gather(*(task for task in self._connections if task), return_exceptions=True)


@asynccontextmanager
async def hostile_server(seed: int = 0) -> AsyncIterator[HostileServer]:
    """Serve the hostile model while the body runs."""
    hostile = HostileServer(seed)
    server = await asyncio.start_server(hostile.connection, "127.0.0.1", 0, limit=1024 * 1024)
    hostile.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield hostile
    finally:
        server.close()
        await hostile.close()
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Mapping[str, Any] | None:
    """Return the body of the next request; None at the end of the connection."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n"))}
    length = int(headers.get("content-length", 0))
    if length > MAX_BODY:
        return None
    body = json.loads(await reader.readexactly(length) or b"{}")
    return body if isinstance(body, dict) else {}


def _completion(answer: HostileAnswer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.calls:
        message["tool_calls"] = _tool_calls(answer)
    choice = {"index": 0, "message": message, "finish_reason": _finish(answer)}
    return {**_head("chat.completion"), "choices": [choice], "usage": USAGE}


def _stream(answer: HostileAnswer) -> bytes:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": answer.text[at : at + PART]} for at in range(0, len(answer.text), PART)]
    deltas += [{"tool_calls": [{"index": index, **call}]} for index, call in enumerate(_tool_calls(answer))]
    events: list[dict[str, Any]] = [_chunk(delta) for delta in deltas]
    events.append(_chunk({}, _finish(answer)))
    events.append({**_head("chat.completion.chunk"), "choices": [], "usage": USAGE})
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode() + b"data: [DONE]\n\n"


def _chunk(delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**_head("chat.completion.chunk"), "choices": [choice]}


def _tool_calls(answer: HostileAnswer) -> list[dict[str, Any]]:
    return [
        {"id": key, "type": "function", "function": {"name": name, "arguments": arguments}}
        for key, name, arguments in answer.calls
    ]


def _finish(answer: HostileAnswer) -> str:
    return "tool_calls" if answer.calls else "stop"


def _head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-hostile", "object": kind, "created": 1, "model": MODEL}
