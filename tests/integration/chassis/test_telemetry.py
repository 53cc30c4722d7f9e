"""Traces and logs: their contents, and customers' data that they never contain."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace
from io import StringIO
from typing import Any, TextIO

import pytest
import structlog
from graphmesh_chassis.calls import fingerprint
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError, RuleViolated
from graphmesh_chassis.logs import configure_logs
from graphmesh_chassis.settings import SecretUrl, ServerSettings
from graphmesh_chassis.telemetry.sampling import decide
from graphmesh_chassis.telemetry.tracing import Tracing
from graphmesh_chassis.testing import running
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.integration.chassis.probe import Answer, Bodies, Probe, Question, echo, servable

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED, NOT_SAMPLED = (f"00-{TRACE}-b7ad6b7169203331-{flags}" for flags in ("01", "00"))
SECRET = "hunter2"
NEVER = ServerSettings(traces="console", trace_ratio=0)
ALWAYS = ServerSettings(traces="console", trace_ratio=1)


async def make_call(bodies: Bodies, settings: ServerSettings, **headers: str) -> Sequence[ReadableSpan]:
    """Make one call, ignore its failure, and return the spans of its server."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    spans = InMemorySpanExporter()
    traced = replace(servable(bodies), tracing=Tracing("probe", settings, spans))
    async with running(traced, settings) as served:
        with suppress(GraphmeshError):
            await served.channel.unary(Probe.Ask, Question(text=SECRET), deadline=Deadline.after(60), headers=named)
    return spans.get_finished_spans()


@pytest.mark.parametrize(
    ("parent", "ratio", "traced"),
    [
        (SAMPLED, 0.0, True),
        (NOT_SAMPLED, 1.0, False),
        (f"00-{TRACE}-b7ad6b7169203331-03", 0.0, True),
        (f"00-{TRACE}-b7ad6b7169203331-02", 1.0, False),
        ("", 1.0, True),
        ("", 0.0, False),
        ("nonsense", 1.0, False),
    ],
)
def test_traceparent_decides_before_the_ratio(parent: str, ratio: float, traced: bool) -> None:
    """Only bit 0 of the flags counts, not further flags such as the random one."""
    context = copy_context()
    assert context.run(decide, {"traceparent": parent} if parent else {}, ratio) is traced


async def test_span_has_the_identity_of_the_call() -> None:
    """It joins the caller's trace, and has tenant, run, thread and node."""
    identity = {"x_graphmesh_tenant": "acme", "x_graphmesh_run": "run_1"}
    [span] = await make_call({"Ask": echo}, NEVER, traceparent=SAMPLED, **identity, x_graphmesh_node="draft")
    assert span.context
    assert f"{span.context.trace_id:032x}" == TRACE
    attributes = dict(span.attributes or {})
    assert (attributes["graphmesh.tenant"], attributes["graphmesh.run"]) == ("acme", "run_1")
    assert (attributes["graphmesh.node"], attributes["rpc.method"]) == ("draft", "Ask")


async def test_unsampled_call_has_no_span() -> None:
    """Whatever the ratio of this server is."""
    assert not await make_call({"Ask": echo}, ALWAYS, traceparent=NOT_SAMPLED)


@pytest.mark.parametrize(("parent", "flags"), [(SAMPLED, "01"), (NOT_SAMPLED, "00")])
async def test_sampling_decision_is_propagated(parent: str, flags: str) -> None:
    """A call made by a traced call joins its trace; one made by an untraced call carries the decision not to trace."""
    seen: list[str] = []

    async def last(question: Any, context: Any) -> Any:
        seen.append(dict(context.invocation_metadata()).get("traceparent", ""))
        return Answer()

    async with running(servable({"Ask": last})) as behind, Channel(behind.address) as onward:

        async def forward(question: Any, context: Any) -> Any:
            return await onward.unary(Probe.Ask, question, deadline=Deadline.after(60))

        await make_call({"Ask": forward}, ALWAYS, traceparent=parent)
    [header] = seen
    assert header.endswith(f"-{flags}")
    assert (TRACE in header) is (flags == "01")


async def raise_defect(question: Any, context: Any) -> Any:
    raise ValueError(f"{question.text} is wrong")


async def refuse(question: Any, context: Any) -> Any:
    raise RuleViolated(f"{question.text} is too short", rule="length")


@pytest.mark.parametrize(("body", "reason"), [(raise_defect, "INTERNAL"), (refuse, "RULE_VIOLATED")])
async def test_span_of_a_failed_call_has_no_message(body: Any, reason: str) -> None:
    """It has the reason, but neither message nor stack, which may contain customers' data."""
    [span] = await make_call({"Ask": body}, ALWAYS)
    assert (dict(span.attributes or {})["error.type"], span.status.is_ok) == (reason, False)
    assert SECRET not in text_of(span)


def text_of(span: ReadableSpan) -> str:
    return str(span.to_json())


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    """The log as a process writes it."""
    out = StringIO()
    log_to(out, monkeypatch)
    yield out
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def log_to(stream: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure logs with `stream` as standard output. Loggers do not keep this configuration after the test."""
    monkeypatch.setattr(sys, "stdout", stream)
    configure_logs("probe", "info")
    structlog.configure(cache_logger_on_first_use=False)


async def test_each_call_is_one_log_line(logged: StringIO) -> None:
    """As JSON, with identity, method, duration and outcome, without the contents of messages."""
    identity = {"x_graphmesh_run": "run_1", "x_graphmesh_tenant": "acme", "x_graphmesh_approval": "apr_1"}
    digest = fingerprint(Probe.Ask.path, Question(text=SECRET)).hex()
    await make_call({"Ask": echo}, NEVER, **identity, x_graphmesh_approval_digest=digest)
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    [call] = [line for line in lines if line["event"] == "call"]
    assert (call["rpc.method"], call["rpc.response.status_code"]) == (Probe.Ask.path, "OK")
    assert (call["graphmesh.tenant"], call["graphmesh.run"], call["service"]) == ("acme", "run_1", "probe")
    assert call["graphmesh.approval"] == "apr_1"
    assert SECRET not in json.dumps(lines)


@pytest.mark.parametrize("parent", [SAMPLED, NOT_SAMPLED, f"00-{SECRET}-x-01", ""])
async def test_lines_have_the_trace_of_the_call(logged: StringIO, parent: str) -> None:
    """That of the call, and those that it writes, which have its span too; of traced calls only."""

    async def write(question: Any, context: Any) -> Any:
        structlog.get_logger("probe").info("within")
        return Answer()

    await make_call({"Ask": write}, NEVER, **({"traceparent": parent} if parent else {}))
    lines = {line["event"]: line for line in map(json.loads, logged.getvalue().splitlines())}
    stated = TRACE if parent == SAMPLED else None
    assert lines["call"].get("trace_id") == stated
    assert (lines["within"].get("trace_id") == stated) is not parent.endswith("x-01")
    assert SECRET not in logged.getvalue()


async def test_unwritable_log_fails_no_call(logged: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk or a closed pipe must not turn a completed call into an error."""
    full = open("/dev/full", "w")  # noqa: ASYNC230, SIM115, PTH123  # closed below, which fails too
    log_to(full, monkeypatch)
    async with running(servable({"Ask": echo})) as served:
        await served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(60))
    with suppress(OSError):
        full.close()


async def test_defect_is_logged_with_its_stack_without_variables(logged: StringIO) -> None:
    """The stack shows the location, but not the values of variables, such as the request."""

    async def fail(question: Any, context: Any) -> Any:
        password = question.text
        raise KeyError(len(password))

    await make_call({"Ask": fail}, NEVER)
    out = logged.getvalue()
    assert '"KeyError"' in out
    assert "test_telemetry.py" in out
    assert SECRET not in out


def test_database_url_is_not_shown() -> None:
    """Neither in printed settings nor in the error about an invalid URL."""
    from graphmesh_billing.settings import Settings

    url = f"postgresql+psycopg://billing:{SECRET}@db/billing"
    assert SECRET not in repr(Settings(database_url=SecretUrl(url)))
    with pytest.raises(ValueError, match="database_url") as bad:
        Settings(database_url=SecretUrl(f"mysql://billing:{SECRET}@db/billing"))
    assert SECRET not in str(bad.value)
