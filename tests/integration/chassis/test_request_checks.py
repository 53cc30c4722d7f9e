"""The checks of a call before its implementation runs: identity, deadline, contract, idempotency key."""

import asyncio
import time
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import (
    DeadlineExceeded,
    IdempotencyKeyRequired,
    InvalidMetadata,
    InvalidRequest,
    MessageTooLarge,
    ScopeMissing,
    Unauthenticated,
)
from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.validation import check_request
from graphmesh_contracts import Overrides

from tests.integration.chassis.probe import Answer, Probe, Question, echo, probing
from tests.integration.orchestrator.loop_steps import cpu_seconds

IDENTITY = [("x-graphmesh-tenant", "acme"), ("x-graphmesh-subject", "ada"), ("x-graphmesh-scopes", "probe.read")]
MEBIBYTE = 1024 * 1024


def short(method: str, seconds: float) -> ServerSettings:
    """Settings that give `method` a timeout."""
    return ServerSettings(policy=Overrides(methods={method: {"timeout": f"{seconds}s"}}))


async def never(question: Any, context: Any) -> Any:
    await asyncio.Event().wait()


async def test_call_without_identity_gets_the_default_identity() -> None:
    """On one machine no setup is needed: tenant `default`, every scope."""

    async def who(question: Any, context: Any) -> Any:
        caller = current_call().caller
        return Answer(text=f"{caller.tenant} {caller.subject} {caller.scopes}")

    async with probing({"Ask": who}) as served:
        assert (
            await served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60))
        ).text == "default local None"


@pytest.mark.parametrize("missing", [header for header, _ in IDENTITY])
async def test_required_identity_needs_all_headers(missing: str) -> None:
    """With `identity=required`, a call without one of the three headers is refused, and the error names the header."""
    async with probing({"Ask": echo}, ServerSettings(identity="required")) as served:
        await served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60), headers=IDENTITY)
        rest = [(header, value) for header, value in IDENTITY if header != missing]
        with pytest.raises(Unauthenticated, match=missing):
            await served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60), headers=rest)


@pytest.mark.parametrize("scopes", ["", "probe.write", "probe.readx other"])
async def test_call_needs_the_scopes_of_the_policy(scopes: str) -> None:
    """An empty header of scopes means none, not all."""
    async with probing({"Ask": echo}) as served:
        with pytest.raises(ScopeMissing) as refused:
            await served.channel.unary(
                Probe.Ask, Question(), deadline=Deadline.after(60), headers=[("x-graphmesh-scopes", scopes)]
            )
        assert refused.value.data["scopes"] == "probe.read"


@pytest.mark.parametrize("tenant", ["Acme", "a b", "-a", "a" * 64, "../x"])
async def test_malformed_tenant_is_refused(tenant: str) -> None:
    """Only plain names reach a database."""
    async with probing({"Ask": echo}) as served:
        with pytest.raises(InvalidMetadata, match="x-graphmesh-tenant"):
            await served.channel.unary(
                Probe.Ask, Question(), deadline=Deadline.after(60), headers=[("x-graphmesh-tenant", tenant)]
            )


async def test_effect_needs_a_key_of_bounded_length() -> None:
    """Without a key nothing is begun."""
    async with probing({"Change": echo}) as served:
        with pytest.raises(IdempotencyKeyRequired):
            await served.channel.unary(Probe.Change, Question(), deadline=Deadline.after(60))
        with pytest.raises(InvalidMetadata, match="idempotency-key"):
            await served.channel.unary(
                Probe.Change, Question(), deadline=Deadline.after(60), headers=[("idempotency-key", "k" * 256)]
            )


@pytest.mark.parametrize(("policy", "caller"), [(0.2, 60), (60, 0.2), (0.2, None)])
async def test_the_earlier_of_policy_and_caller_ends_a_call(policy: float, caller: float | None) -> None:
    """The policy shortens the caller's deadline and never extends it; a caller without a deadline gets the policy's."""
    ended = asyncio.Event()

    async def slow(question: Any, context: Any) -> Any:
        try:
            await never(question, context)
        finally:
            ended.set()

    async with probing({"Ask": slow}, short("Ask", policy)) as served:
        began = time.monotonic()
        deadline = Deadline.after(caller) if caller else None
        with pytest.raises(DeadlineExceeded):
            await served.channel.unary(Probe.Ask, Question(), deadline=deadline)  # type: ignore[arg-type]
        await asyncio.wait_for(ended.wait(), 60)
        assert 0.15 < time.monotonic() - began < 30


async def test_timeout_of_the_implementation_is_a_defect() -> None:
    """A TimeoutError that the call's deadline did not cause is a defect like any other."""

    async def impatient(question: Any, context: Any) -> Any:
        async with asyncio.timeout(0.01):
            await never(question, context)

    async with probing({"Ask": impatient}) as served:
        with pytest.raises(Exception, match="its log has the cause"):
            await served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60))


async def test_large_field_is_named() -> None:
    """10 MB in a field of 100 characters only violates that field's rule."""
    async with probing({"Ask": echo}) as served:
        with pytest.raises(InvalidRequest) as refused:
            await served.channel.unary(Probe.Ask, Question(text="x" * 10_000_000), deadline=Deadline.after(60))
        assert [violation.field for violation in refused.value.violations] == ["text"]


async def test_message_over_the_limit_is_not_read() -> None:
    """gRPC itself refuses more than 16 MiB; the error reports the limit and is not retryable."""
    async with probing({"Ask": echo}) as served:
        with pytest.raises(MessageTooLarge) as refused:
            await served.channel.unary(Probe.Ask, Question(text="x" * (16 * MEBIBYTE + 1)), deadline=Deadline.after(60))
        assert refused.value.data["limit_bytes"] == str(16 * MEBIBYTE)
        assert not refused.value.retryable


async def test_omitted_violations_are_counted() -> None:
    """gRPC refuses large trailers, so the error lists some violations and the number of the others."""
    bad = [Question(number=-1) for _ in range(1000)]
    async with probing({"Ask": echo}) as served:
        with pytest.raises(InvalidRequest) as refused:
            await served.channel.unary(Probe.Ask, Question(parts=bad), deadline=Deadline.after(60))
    *listed, last = refused.value.violations
    assert last.field == "*"
    assert last.description == f"and {1000 - len(listed)} more violations, too many to send"


async def test_elements_of_an_oversized_list_are_not_validated() -> None:
    """Millions of empty elements fit into 16 MiB; only the length of the list is reported, in little time."""
    flood = Question(parts=[Question(number=1)]).SerializeToString() * 2_000_000
    message = Question.FromString(flood)

    def refused() -> None:
        with pytest.raises(InvalidRequest) as refusal:
            check_request(message, "")
        assert [violation.field for violation in refusal.value.violations] == ["parts"]

    assert cpu_seconds(refused) < 0.5


async def test_oversized_map_is_named() -> None:
    """Also within an element of a list."""
    crowded = Question(counts={f"k{number}": 1 for number in range(11)})
    async with probing({"Ask": echo}) as served:
        with pytest.raises(InvalidRequest) as refused:
            await served.channel.unary(Probe.Ask, Question(parts=[Question(), crowded]), deadline=Deadline.after(60))
        assert [violation.field for violation in refused.value.violations] == ["parts[1].counts"]


@pytest.mark.parametrize("time", [Timestamp(nanos=-1), Timestamp(nanos=10**9), Timestamp(seconds=2**40)])
async def test_invalid_timestamps_are_named(time: Timestamp) -> None:
    """A Timestamp of any two numbers parses; an invalid one is refused at any depth."""
    async with probing({"Ask": echo}) as served:
        with pytest.raises(InvalidRequest) as refused:
            await served.channel.unary(
                Probe.Ask, Question(time=time, parts=[Question(time=time)]), deadline=Deadline.after(60)
            )
        assert [violation.field for violation in refused.value.violations] == ["time", "parts[0].time"]


async def test_error_is_sent_without_initial_metadata() -> None:
    """As trailers only: Envoy's outlier detection reads the status of an error from nothing else."""

    async def fail(question: Any, context: Any) -> Any:
        raise ValueError

    async with probing({"Ask": fail}) as served, grpc.aio.insecure_channel(served.address) as channel:
        call = channel.unary_unary(Probe.Ask.path, Question.SerializeToString, Answer.FromString)(Question())
        with pytest.raises(grpc.aio.AioRpcError):
            await call
        assert list(await call.initial_metadata()) == []
