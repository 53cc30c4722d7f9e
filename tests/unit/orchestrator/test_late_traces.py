"""Traces that are written after the end: in bounds, and no tenant takes the place of another."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.telemetry import metrics, names
from graphmesh_chassis.telemetry.metrics import Attributes, Instrument, Observe
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.trace import RunTrace
from graphmesh_orchestrator.worker import event_spans
from graphmesh_orchestrator.worker.event_spans import EventSpans
from graphmesh_orchestrator.worker.late_traces import MAX_OF_TENANT, MAX_WAITING, Bounds, LateTraces

from tests.contract.runs import NOW, a_run


class Counted:
    """The traces that were kept or dropped, by the reason."""

    def __init__(self) -> None:
        self.reasons: dict[str, float] = {}

    def add(self, instrument: Instrument, value: float, attributes: Attributes, /) -> None:
        reason = attributes[names.REASON]
        self.reasons[reason] = self.reasons.get(reason, 0) + value

    def record(self, instrument: Instrument, value: float, attributes: Attributes, /) -> None:
        raise AssertionError(instrument)

    def observe(self, instrument: Instrument, observe: Observe, /) -> Callable[[], None]:
        raise AssertionError(instrument)


@contextmanager
def counted() -> Iterator[Mapping[str, float]]:
    recorder = Counted()
    metrics.use(recorder)
    try:
        yield recorder.reasons
    finally:
        metrics.use(None)


def failed(number: int, tenant: str = "acme") -> Run:
    return a_run(f"run_{number}", tenant=tenant).with_state(status=RunStatus.ERROR, epoch=1, ended=NOW)


def keep(late: LateTraces, run: Run) -> None:
    late.keep(run, RunTrace.of(run, 0))


async def test_a_tenant_whose_runs_fail_leaves_room_for_others() -> None:
    late = LateTraces(cast(Any, None), Bounds())
    with counted() as reasons:
        for number in range(MAX_OF_TENANT + 5):
            keep(late, failed(number))
        assert reasons == {"FAILED": MAX_OF_TENANT, "DROPPED": 5}
        keep(late, failed(0, "other"))
        assert reasons["FAILED"] == MAX_OF_TENANT + 1
        for number in range(MAX_WAITING):
            keep(late, failed(0, f"tenant-{number}"))
    assert reasons["FAILED"] == MAX_WAITING


def event(seconds: float, node: str = "", **content: Any) -> pb.RunEvent:
    made = pb.RunEvent(node=node, **content)
    made.time.FromDatetime(NOW + timedelta(seconds=seconds))
    return made


def test_nodes_that_run_side_by_side_and_what_was_cut_off_are_whole() -> None:
    """Of an attempt whose process died, the next event is that of the next attempt."""
    run = failed(1).with_state(ended=NOW + timedelta(seconds=9), epoch=2)
    made = EventSpans(run, RunTrace.of(run, 0))
    running = pb.RunStatus.RUN_STATUS_RUNNING
    for one in (
        event(1, status_changed=pb.StatusChanged(status=running, epoch=1)),
        event(2, "a", node_started=pb.NodeStarted()),
        event(2, "b", node_started=pb.NodeStarted()),
        event(3, "a", node_finished=pb.NodeFinished()),
        event(6, status_changed=pb.StatusChanged(status=running, epoch=2)),
        event(7, "b", node_started=pb.NodeStarted()),
        event(9, status_changed=pb.StatusChanged(status=pb.RunStatus.RUN_STATUS_ERROR)),
    ):
        made.add(one)
    spans = [(span.name, span.start // 10**9, span.end // 10**9, span.reason) for span in made.finish()]
    began = int(NOW.timestamp())
    assert [(name, start - began, end - began, reason) for name, start, end, reason in spans] == [
        ("queue", 0, 1, ""),
        ("node a", 2, 3, ""),
        ("node b", 2, 3, "CUT_OFF"),
        ("attempt", 1, 3, "CUT_OFF"),
        ("takeover", 3, 6, ""),
        ("node b", 7, 9, ""),
        ("attempt", 6, 9, ""),
        ("run pay", 0, 9, ""),
    ]


def test_spans_of_a_run_are_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(event_spans, "MAX_SPANS", 3)
    run = failed(1)
    made = EventSpans(run, RunTrace.of(run, 0))
    for second in range(5):
        made.add(event(second, "a", node_started=pb.NodeStarted()))
        made.add(event(second, "a", node_finished=pb.NodeFinished()))
    *_, root = made.finish()
    assert root.attributes[names.LEFT_OUT] == 2
