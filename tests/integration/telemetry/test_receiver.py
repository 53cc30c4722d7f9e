"""Spans arrive by OTLP, are kept within bounds, and are shown to the tenant of their run."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from graphmesh.telemetry.v1 import GetTraceRequest, GetTraceResponse, TelemetryService
from graphmesh_chassis import metadata
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.testing import Served, running
from graphmesh_local.child_process import reserve_port
from graphmesh_telemetry import receiving
from graphmesh_telemetry.__main__ import build
from graphmesh_telemetry.domain import MAX_ATTRIBUTES, MAX_NAME, MAX_TRACE, MAX_VALUE
from graphmesh_telemetry.settings import Settings
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from pydantic import SecretStr

KEY = "of-the-mesh"
NOW = time.time_ns()
TRACE, OTHER_TRACE = b"\1" * 16, b"\2" * 16
LONG = 60.0
"""Seconds within which what a test waits for happens on any machine."""


def values(**attributes: str) -> list[KeyValue]:
    """Attributes of texts; two underscores are a dot."""
    return [
        KeyValue(key=name.replace("__", "."), value=AnyValue(string_value=value)) for name, value in attributes.items()
    ]


def span(number: int, parent: int = 0, tenant: str = "", run: str = "", trace: bytes = TRACE, **fields: Any) -> Span:
    identity = {f"graphmesh__{name}": value for name, value in (("tenant", tenant), ("run", run)) if value}
    return Span(
        **{
            "trace_id": trace,
            "span_id": number.to_bytes(8, "big"),
            "parent_span_id": parent.to_bytes(8, "big") if parent else b"",
            "name": f"span {number}",
            "start_time_unix_nano": NOW + number * 1000,
            "end_time_unix_nano": NOW + number * 1000 + 500,
            "attributes": values(**identity),
            **fields,
        }
    )


class Receiver:
    def __init__(self, served: Served, otlp: grpc.aio.Channel) -> None:
        self._served = served
        self._otlp: Any = trace_service_pb2_grpc.TraceServiceStub(otlp)  # type: ignore[no-untyped-call]

    async def export(self, spans: Iterable[Span], key: str = KEY, service: str = "orchestrator") -> None:
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.extend(values(service__name=service))
        resource.scope_spans.add().spans.extend(spans)
        await self._otlp.Export(request, timeout=LONG, metadata=((receiving.KEY, key),))

    async def trace(self, run: str, tenant: str = "acme") -> GetTraceResponse:
        headers = [(metadata.TENANT, tenant), (metadata.SCOPES, "telemetry.read")]
        request, deadline = GetTraceRequest(run=run), Deadline.after(LONG)
        return await self._served.channel.unary(TelemetryService.GetTrace, request, deadline=deadline, headers=headers)

    async def wait_for(self, run: str, count: int, tenant: str = "acme") -> GetTraceResponse:
        """Return the trace when it has so many spans."""
        async with asyncio.timeout(LONG):
            while True:
                try:
                    found = await self.trace(run, tenant)
                except NotFound:
                    found = GetTraceResponse()
                if len(found.spans) >= count:
                    return found
                await asyncio.sleep(0.01)


@asynccontextmanager
async def receiver(folder: Path, **fields: Any) -> AsyncIterator[Receiver]:
    listen = f"127.0.0.1:{reserve_port()}"
    url = SecretUrl(f"sqlite+aiosqlite:///{folder}/telemetry.db")
    settings = Settings(database_url=url, otlp_listen=listen, otlp_key=SecretStr(KEY), **fields)
    async with (
        build(settings) as servable,
        running(servable, settings) as served,
        grpc.aio.insecure_channel(listen) as otlp,
    ):
        yield Receiver(served, otlp)


async def test_trace_of_a_run(tmp_path: Path) -> None:
    """With the spans of other services, in the order in which they began, and no others."""
    failed = Status(code=Status.STATUS_CODE_ERROR)
    async with receiver(tmp_path) as mesh:
        await mesh.export([span(2, 1, status=failed, attributes=values(error__type="RATE_LIMITED"))], service="billing")
        await mesh.export([span(1, tenant="acme", run="run_1"), span(9, trace=OTHER_TRACE)])
        found = await mesh.wait_for("run_1", 2)
        first, second = found.spans
        assert (first.name, first.service, first.parent_span_id, first.failed) == ("span 1", "orchestrator", "", False)
        assert (second.service, second.parent_span_id, second.error_type) == ("billing", first.span_id, "RATE_LIMITED")
        assert first.start_time.ToNanoseconds() // 1000 == (NOW + 1000) // 1000
        assert first.attributes["graphmesh.run"] == "run_1"


async def test_span_that_arrives_twice_is_shown_once(tmp_path: Path) -> None:
    """Another process exports again what a killed one may not have exported."""
    async with receiver(tmp_path) as mesh:
        await mesh.export([span(1, tenant="acme", run="run_1"), span(2, 1)])
        await mesh.export([span(1, tenant="acme", run="run_1"), span(3, 1)])
        found = await mesh.wait_for("run_1", 3)
        assert [one.name for one in found.spans] == ["span 1", "span 2", "span 3"]


async def test_other_tenants_see_nothing(tmp_path: Path) -> None:
    """Neither by the id of the run, nor by joining its trace; nor does its tenant see what another one has added."""
    async with receiver(tmp_path) as mesh:
        own = [span(1, tenant="acme", run="run_1"), span(2, 1)]
        foreign = [span(3, 1, tenant="evil", run="run_2"), span(4, 3)]
        await mesh.export([*own, *foreign])
        assert [one.name for one in (await mesh.wait_for("run_1", 2)).spans] == ["span 1", "span 2"]
        assert [one.name for one in (await mesh.trace("run_2", "evil")).spans] == ["span 3", "span 4"]
        with pytest.raises(NotFound):
            await mesh.trace("run_1", "evil")


@pytest.mark.parametrize("key", ["", "wrong", "of-the-mesh-"])
async def test_exports_need_the_key(tmp_path: Path, key: str) -> None:
    async with receiver(tmp_path) as mesh:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await mesh.export([span(1, tenant="acme", run="run_1")], key=key)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_hostile_spans_are_bounded_or_left_out(tmp_path: Path) -> None:
    """Ids, times, names and attributes that no exporter sends; the spans around them are kept."""
    many = values(**{f"a{number}": "x" * 5000 for number in range(200)})
    hostile = [
        span(2, trace=b"short"),
        span(3, span_id=b""),
        span(4, parent_span_id=b"\1" * 9),
        span(5, start_time_unix_nano=0),
        span(6, end_time_unix_nano=1),
        span(7, end_time_unix_nano=2**64 - 1),
        span(8, 1, name="n" * 100_000, attributes=many),
    ]
    async with receiver(tmp_path) as mesh:
        await mesh.export([*hostile, span(1, tenant="acme", run="run_1")])
        found = (await mesh.wait_for("run_1", 2)).spans
        assert [one.name[:6] for one in found] == ["span 1", "nnnnnn"]
        assert len(found[1].name) == MAX_NAME
        assert len(found[1].attributes) == MAX_ATTRIBUTES
        assert {len(str(value)) for value in dict(found[1].attributes).values()} == {MAX_VALUE}


async def test_long_traces_are_cut(tmp_path: Path) -> None:
    async with receiver(tmp_path) as mesh:
        spans = [span(number, 1 if number > 1 else 0, "acme", "run_1") for number in range(1, MAX_TRACE + 10)]
        for at in range(0, len(spans), 2000):
            await mesh.export(spans[at : at + 2000])
        await mesh.export([span(1, tenant="acme", run="run_end", trace=OTHER_TRACE)])
        await mesh.wait_for("run_end", 1)
        found = await mesh.trace("run_1")
        assert found.truncated
        assert len(found.spans) == MAX_TRACE


async def test_only_the_latest_spans_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a number, and of some days."""
    monkeypatch.setattr(receiving, "PRUNE_SECONDS", 0.0)
    day = 86_400 * 10**9
    old: dict[str, Any] = {"start_time_unix_nano": NOW - 2 * day, "end_time_unix_nano": NOW - 2 * day}
    async with receiver(tmp_path, max_spans=1000, keep_days=1) as mesh:
        await mesh.export([span(1, tenant="acme", run="run_old", **old)])
        await mesh.export([span(2, tenant="acme", run="run_first", trace=OTHER_TRACE)])
        await mesh.wait_for("run_first", 1)
        await mesh.export([span(number, tenant="acme", run="run_last") for number in range(3, 1103)])
        await mesh.export([span(2000, tenant="acme", run="run_end")])
        await mesh.wait_for("run_end", 1)
        for run in ("run_old", "run_first"):
            with pytest.raises(NotFound):
                await mesh.trace(run)


async def test_exports_above_the_bound_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While what has arrived is not stored. The exporter drops them and counts it."""
    monkeypatch.setattr(receiving, "MAX_WAITING", 2)
    writable = asyncio.Event()

    async def add(self: object, spans: object) -> None:
        await writable.wait()

    monkeypatch.setattr("graphmesh_telemetry.spans_sql.SqlSpans.add", add)
    async with receiver(tmp_path) as mesh:
        await mesh.export([span(number) for number in range(1, 9)])
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await mesh.export([span(9)])
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        writable.set()
        async with asyncio.timeout(LONG):
            while True:
                try:
                    await mesh.export([span(10)])
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.01)
