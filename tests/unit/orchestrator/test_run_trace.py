"""The place of a run in its trace: from the headers of the call that creates it, or derived."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from graphmesh_chassis import metadata
from graphmesh_chassis.telemetry import names, sampling, spans
from graphmesh_chassis.telemetry.sampling import TRACEPARENT
from graphmesh_chassis.telemetry.spans import Attributes, Finished, Kind, Span
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.trace import RunTrace, new_trace
from graphmesh_orchestrator.worker.late_traces import Bounds
from graphmesh_orchestrator.worker.run_spans import first_gaps

from tests.contract.runs import NOW, a_run

TRACE, SPAN, OWN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "a3ce929d0e0e4736"
SENT = f"00-{TRACE}-{SPAN}-01"


class Present:
    """Records nothing; within a call that is traced, its span is the present one."""

    def span(
        self, name: str, kind: Kind, attributes: Attributes, own: str, parent: str
    ) -> AbstractContextManager[Span]:
        raise AssertionError(name)

    def joined(self, traceparent: str) -> AbstractContextManager[None]:
        return nullcontext()

    def present(self) -> str:
        return f"00-{TRACE}-{'c' * 16}-01"

    def begun(self) -> int:
        return 7_000_000_000

    def emit(self, finished: Finished) -> None:
        raise AssertionError(finished)


@pytest.fixture(params=[True, False], ids=["sampled", "unsampled"])
def sampled(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether the present call is traced, in a process that records spans."""
    spans.use(Present())
    decided = sampling.set_traced(request.param)
    yield request.param
    sampling.reset_traced(decided)
    spans.use(None)


def trace_of(**headers: str) -> RunTrace:
    """Return the trace of a run that a call with these headers creates."""
    run = a_run()
    return RunTrace.of(replace(run, request=replace(run.request, trace=new_trace(headers))), 0)


def test_run_is_the_root_where_the_client_has_no_spans(sampled: bool) -> None:
    """From when the edge has received the call."""
    headers = {TRACEPARENT: SENT, metadata.RUN_SPAN: OWN, metadata.EDGE_START: "6.5"}
    trace = trace_of(**headers)
    assert (trace.traceparent, trace.parent) == (f"00-{TRACE}-{OWN}-0{int(sampled)}", "")
    assert trace.begun == 6_500_000_000
    assert trace.is_sampled is sampled


def test_run_is_below_the_clients_own_span(sampled: bool) -> None:
    """And not below that of the edge, which begins later and ends before."""
    trace = trace_of(**{TRACEPARENT: f"00-{TRACE}-{'e' * 16}-01", metadata.CLIENT_TRACE: SENT})
    assert (trace.traceparent[3:35], trace.parent) == (TRACE, SPAN)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {TRACEPARENT: "garbage", metadata.RUN_SPAN: OWN},
        {TRACEPARENT: SENT, metadata.RUN_SPAN: "0" * 16},
        {metadata.CLIENT_TRACE: f"{SENT}-more"},
        {TRACEPARENT: f"00-{'f' * 32}-{'f' * 16}-00", metadata.RUN_SPAN: OWN},
    ],
)
def test_without_a_valid_one_it_is_below_the_call(sampled: bool, headers: dict[str, str]) -> None:
    """Of a call that is not traced, it is the root of a trace of its own."""
    trace = trace_of(**headers)
    assert trace.parent == ("c" * 16 if sampled else "")
    assert trace.traceparent[3:35] not in ("f" * 32, "0" * 32)


def test_nothing_is_stored_where_no_spans_are_recorded() -> None:
    assert not new_trace({TRACEPARENT: SENT, metadata.RUN_SPAN: OWN})


def test_every_process_derives_the_same_trace_where_none_is_stored() -> None:
    """As of a schedule; from when it was due, and by its id sampled everywhere or nowhere."""
    runs = [a_run(f"run_{number}", due=NOW.timestamp() + 5) for number in range(200)]
    traces = [RunTrace.of(run, 0.5) for run in runs]
    assert traces == [RunTrace.of(run, 0.5) for run in runs]
    assert 50 < sum(trace.is_sampled for trace in traces) < 150
    assert {trace.begun for trace in traces} == {round((NOW.timestamp() + 5) * 1e9)}
    assert all(RunTrace.of(run, 1).is_sampled for run in runs)
    assert not any(RunTrace.of(run, 0).is_sampled for run in runs)


def test_a_delayed_run_has_waited_for_its_time_and_then_for_a_worker() -> None:
    begun, due = round(NOW.timestamp() * 1e9), NOW.timestamp() + 5
    trace, claimed = RunTrace(SENT, "", begun), begun + 6 * 10**9
    delayed, at_once = (first_gaps(a_run(due=when), trace, SENT, claimed) for when in (due, 0))
    assert [(gap.name, gap.start - begun, gap.end - begun) for gap in delayed] == [
        ("parked", 0, 5 * 10**9),
        ("queue", 5 * 10**9, 6 * 10**9),
    ]
    assert [gap.attributes[names.WAITED_FOR] for gap in delayed] == ["its time", "its turn or a worker"]
    assert [(gap.name, gap.start) for gap in at_once] == [("queue", begun)]
    assert all(gap.parent == SENT for gap in (*delayed, *at_once))


def ended(status: RunStatus = RunStatus.SUCCESS, seconds: float = 1, **state: object) -> Run:
    run = a_run(created=datetime(2026, 1, 1, tzinfo=UTC))
    return run.with_state(status=status, ended=run.request.created + timedelta(seconds=seconds), epoch=1, **state)


def test_traces_are_kept_of_runs_that_failed_resumed_were_slow_or_cost_much() -> None:
    bounds, run = Bounds(slow_seconds=30, cost_usd=1), ended()
    costly = replace(run, accounting=replace(run.accounting, usage=replace(run.accounting.usage, cost=1_000_001)))
    assert bounds.reason_to_keep(run) == ""
    assert bounds.reason_to_keep(ended(RunStatus.CANCELLED)) == ""
    assert bounds.reason_to_keep(ended(RunStatus.TIMEOUT)) == "FAILED"
    assert bounds.reason_to_keep(run.with_state(epoch=2)) == "RESUMED"
    assert bounds.reason_to_keep(ended(seconds=31)) == "SLOW"
    assert bounds.reason_to_keep(costly) == "COST"
    assert Bounds(0, 0).reason_to_keep(replace(costly, state=ended(seconds=99999).state)) == ""
