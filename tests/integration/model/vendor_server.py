"""A server on this machine that speaks the HTTP protocols of model vendors, and breaks them on request."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

Json = dict[str, Any]
KEY_ECHO = "Incorrect API key provided: {key}"


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: Json

    @property
    def key(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ") or self.headers.get("x-api-key", "")


@dataclass(frozen=True)
class Reply:
    """An HTTP response."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    then: str = "end"
    """After the body: `end`; `cut` the connection with the response unfinished; `stall`; `repeat` the body."""


Answer = Callable[[Request], Reply]


class VendorServer:
    """Answers requests in the order of `replies`; the last one answers all further requests.

    Each has an address of its own, also where a port is used again: clients of vendors share connections by address,
    and would use those of a loop that is closed.
    """

    _numbers = itertools.count(1)

    def __init__(self, *replies: Answer) -> None:
        self.replies = list(replies)
        self.requests: list[Request] = []
        self._prefix = f"/{next(self._numbers)}"
        self.closed_by_client = asyncio.Event()
        self._connections: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    @property
    def bodies(self) -> list[Json]:
        return [request.body for request in self.requests]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self._prefix}/v1"

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["VendorServer"]:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._connections.values():
                writer.transport.abort()
            await asyncio.gather(*(task for task in self._connections if task))
            await server.wait_closed()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[asyncio.current_task()] = writer
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while request := await _read(reader):
                request = replace(request, path=request.path.removeprefix(self._prefix))
                self.requests.append(request)
                reply = (self.replies.pop(0) if len(self.replies) > 1 else self.replies[0])(request)
                await self._send(reply, reader, writer)
                if reply.then != "end":
                    break
        writer.close()

    async def _send(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        headers = {"content-type": reply.content_type, "transfer-encoding": "chunked", **reply.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {reply.status} reply\r\n{lines}\r\n".encode())
        _write_chunk(writer, reply.body)
        match reply.then:
            case "end":
                writer.write(b"0\r\n\r\n")
            case "repeat":
                with contextlib.suppress(ConnectionError):
                    while True:
                        _write_chunk(writer, reply.body)
                        await writer.drain()
                self.closed_by_client.set()
            case "stall":
                await reader.read()
                self.closed_by_client.set()
        await writer.drain()


def _write_chunk(writer: asyncio.StreamWriter, body: bytes) -> None:
    if body:
        writer.write(b"%x\r\n%s\r\n" % (len(body), body))


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(first.split(" ")[1], headers, json.loads(body or b"{}"))


# The protocol of OpenAI


def openai(
    text: str = "", *, calls: Sequence[tuple[str, str, str]] = (), finish: str = "", usage: Json | None = None
) -> Answer:
    """Answer with a text and with tool calls (id, name, arguments as JSON), as one body or as a stream."""

    def answer(request: Request) -> Reply:
        reason = finish or ("tool_calls" if calls else "stop")
        used = usage or {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
        if not request.body.get("stream"):
            message = {"role": "assistant", "content": text or None, "tool_calls": _openai_calls(calls) or None}
            return openai_body([{"index": 0, "message": message, "finish_reason": reason}], usage=used)
        deltas: list[Json] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": letter} for letter in text]
        for index, call in enumerate(_openai_calls(calls)):
            function = call["function"]
            deltas.append({"tool_calls": [{"index": index, **call, "function": {**function, "arguments": ""}}]})
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": function["arguments"]}}]})
        chunks = [openai_chunk(delta) for delta in deltas]
        chunks.append(openai_chunk({}, finish_reason=reason))
        chunks.append({**openai_chunk({}), "choices": [], "usage": used})
        return sse(*chunks, "[DONE]")

    return answer


def _openai_calls(calls: Sequence[tuple[str, str, str]]) -> list[Json]:
    return [
        {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for id, name, arguments in calls
    ]


def openai_body(choices: Any, **others: Any) -> Reply:
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-test-1", "choices": choices}
    return Reply(json.dumps({**body, **others}).encode())


def openai_chunk(delta: Json, **others: Any) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": None, **others}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-test-1",
        "choices": [choice],
    }


def sse(*events: Json | str, then: str = "end") -> Reply:
    lines = "".join(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n" for event in events)
    return Reply(lines.encode(), content_type="text/event-stream", then=then)


def failing(status: int, code: str = "broken", **headers: str) -> Answer:
    """Answer with an error of the protocol, which quotes the key and the prompt."""

    def answer(request: Request) -> Reply:
        message = f"{KEY_ECHO.format(key=request.key)}; you sent {json.dumps(request.body)}"
        body = {"error": {"message": message, "type": "error", "code": code, "param": None}}
        return Reply(json.dumps(body).encode(), status, headers=headers)

    return answer


def openai_embeddings(dimensions: int = 3, missing: int = 0) -> Answer:
    """Answer with a vector for each input, but for the last `missing` ones: its first number is the input's length."""

    def answer(request: Request) -> Reply:
        texts = request.body["input"][: len(request.body["input"]) - missing]
        vectors = [[float(len(text))] + [0.0] * (dimensions - 1) for text in texts]
        data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        body = {"object": "list", "data": data, "model": "embed-1", "usage": {"prompt_tokens": 9, "total_tokens": 9}}
        return Reply(json.dumps(body).encode())

    return answer


def always(reply: Reply) -> Answer:
    return lambda request: reply


# The protocol of Anthropic


def anthropic(*blocks: Json) -> Answer:
    """Answer with content blocks, as one body or as a stream, as requested."""

    def answer(request: Request) -> Reply:
        used = {"input_tokens": 9, "output_tokens": 4, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test-1", "usage": used}
        if not request.body.get("stream"):
            body = {**message, "content": list(blocks), "stop_reason": "end_turn", "stop_sequence": None}
            return Reply(json.dumps(body).encode())
        start = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
        events: list[Json] = [{"type": "message_start", "message": start}]
        for index, block in enumerate(blocks):
            begin, deltas = _anthropic_deltas(block)
            events.append({"type": "content_block_start", "index": index, "content_block": begin})
            events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
            events.append({"type": "content_block_stop", "index": index})
        end = {"stop_reason": "end_turn", "stop_sequence": None}
        events += [{"type": "message_delta", "delta": end, "usage": used}, {"type": "message_stop"}]
        lines = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        return Reply(lines.encode(), content_type="text/event-stream")

    return answer


def _anthropic_deltas(block: Json) -> tuple[Json, list[Json]]:
    match block["type"]:
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": letter} for letter in block["thinking"]]
            return {**block, "thinking": "", "signature": ""}, [
                *deltas,
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        case "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": letter} for letter in block["text"]]
        case "tool_use":
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
    return block, []
