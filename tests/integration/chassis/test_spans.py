"""Spans are exported without any call waiting for it, and those of a killed process are exported by another one."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from graphmesh_chassis.errors import RuleViolated
from graphmesh_chassis.telemetry import export, names, spans
from graphmesh_chassis.telemetry.export import MAX_WAITING
from graphmesh_chassis.telemetry.span_table import DIED, SLOTS, SUFFIX
from graphmesh_chassis.telemetry.spans import Finished
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.recorded_spans import RUN, UNSAMPLED, exporting, id_of, parent_of, recorded

LONG = 60.0
"""Seconds within which what a test waits for happens on any machine."""


def exported(work: Callable[[], object]) -> dict[str, ReadableSpan]:
    """The spans of a piece of work, by name."""
    with recorded() as found:
        work()
    return {span.name: span for span in found}


def test_spans_are_below_the_present_one() -> None:
    """Of the trace that the code has joined; ids that are given are kept."""
    own = spans.derived(RUN, "run_1", "1")

    def work() -> None:
        with spans.joined(RUN), spans.span("attempt", own=own), spans.span("node", attributes={names.NODE: "pay"}):
            assert spans.present()[3:35] == RUN[3:35]
        with spans.joined(RUN), spans.span("other", parent=own):
            pass

    found = exported(work)
    assert (parent_of(found["attempt"]), id_of(found["attempt"])) == (RUN[36:52], own[36:52])
    assert parent_of(found["node"]) == parent_of(found["other"]) == own[36:52]
    assert dict(found["node"].attributes or {}) == {names.NODE: "pay"}


def test_nothing_is_recorded_where_nothing_is_traced() -> None:
    """Outside of traced work, after it, and in runs that are not sampled."""

    def work() -> None:
        for untraced in (UNSAMPLED, ""):
            with spans.joined(untraced), spans.span("unsampled"):
                assert spans.present() == ""
        with spans.joined(RUN), spans.span("sampled"):
            pass
        with spans.span("after"):
            pass

    assert exported(work).keys() == {"sampled"}


def test_what_has_ended_elsewhere_is_emitted() -> None:
    """Also in a run that is not sampled: the decision may be late."""
    link = spans.derived(RUN, "other")
    found = exported(
        lambda: spans.emit(Finished("queue", RUN, "b" * 16, 5, 9, attributes={names.EPOCH: 2}, links=[link]))
    )["queue"]
    assert (found.start_time, found.end_time, parent_of(found)) == (5, 9, "b" * 16)
    assert [f"{one.context.span_id:016x}" for one in found.links] == [link[36:52]]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuleViolated("4111 is wrong", rule="length"), "RULE_VIOLATED"),
        (ValueError("4111 is wrong"), "ValueError"),
        (asyncio.CancelledError("4111"), "CANCELLED"),
    ],
)
def test_span_of_an_error_has_its_reason_only(error: BaseException, reason: str) -> None:
    """No message, which may have customers' data."""

    def work() -> None:
        with pytest.raises(type(error)), spans.joined(RUN), spans.span("failing"):
            raise error

    found = exported(work)["failing"]
    assert (found.attributes or {})[names.REASON] == reason
    assert not found.status.is_ok
    assert "4111" not in str(found.to_json())


class Hanging(SpanExporter):
    """A collector that does not respond."""

    def __init__(self) -> None:
        self.called, self.released = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.called.set()
        self.released.wait(LONG)
        return SpanExportResult.FAILURE


def test_collector_that_hangs_costs_spans_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is bounded; what does not fit or is not delivered is counted."""
    lost: dict[str, float] = {}

    class Count:
        def add(self, value: float, attributes: dict[str, str]) -> None:
            lost[attributes[names.REASON]] = lost.get(attributes[names.REASON], 0) + value

    monkeypatch.setattr(export, "DROPPED", Count())
    hanging = Hanging()
    with exporting(hanging):
        spans.emit(Finished("first", RUN, "", 1, 2))
        assert hanging.called.wait(LONG)
        for number in range(MAX_WAITING + 9):
            spans.emit(Finished("later", spans.derived(RUN, str(number)), "", 1, 2))
        assert lost == {"QUEUE_FULL": 10}
        hanging.released.set()
    assert lost["NOT_DELIVERED"] > 0


KILLED = f"""
import sys, time
from pathlib import Path
from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.telemetry import spans
from graphmesh_chassis.telemetry.spans import Finished
from graphmesh_chassis.telemetry.tracing import Tracing
from tests.integration.chassis.test_spans import Hanging
from tests.recorded_spans import RUN

tracing = Tracing("victim", ServerSettings(traces="console", span_folder=Path(sys.argv[1])), Hanging())
spans.use(tracing.spans)
spans.emit(Finished("ended", spans.derived(RUN, "ended"), RUN, 5, 9))
with spans.joined(RUN), spans.span("attempt", attributes={{"text": "x" * 5000}}), spans.span("node"):
    print("ready", flush=True)
    time.sleep({LONG})
"""


def killed(folder: Path) -> None:
    """Kill a process inside of a span."""
    victim = subprocess.Popen([sys.executable, "-c", KILLED, folder], stdout=subprocess.PIPE, text=True)
    assert victim.stdout
    with victim.stdout:
        assert victim.stdout.readline() == "ready\n"
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait(LONG)


def wait_for(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_spans_of_a_killed_process_are_exported_by_another(tmp_path: Path) -> None:
    """Open ones end as PROCESS_DIED within a second of its death, so that whatever they called has its parent."""
    began = time.time_ns()
    killed(tmp_path)
    (tmp_path / f"empty{SUFFIX}").touch()
    (tmp_path / f"garbage{SUFFIX}").write_bytes(os.urandom(100_000))
    exporter = InMemorySpanExporter()
    with exporting(exporter, tmp_path):
        wait_for(lambda: len(list(tmp_path.glob(f"*{SUFFIX}"))) == 1)
    found = {span.name: span for span in exporter.get_finished_spans()}
    assert {span.resource.attributes[names.SERVICE] for span in found.values()} == {"victim"}
    assert (found["ended"].start_time, found["ended"].end_time, found["ended"].status.is_ok) == (5, 9, True)
    for name in ("attempt", "node"):
        assert (found[name].attributes or {})[names.REASON] == DIED
        assert began < (found[name].start_time or 0) < (found[name].end_time or 0) <= time.time_ns()
    assert parent_of(found["node"]) == id_of(found["attempt"])
    assert found["node"].end_time == found["attempt"].end_time
    assert not list(tmp_path.iterdir())


def test_living_processes_keep_their_spans(tmp_path: Path) -> None:
    """A second process of the folder adopts nothing of one that lives."""
    first, second = InMemorySpanExporter(), InMemorySpanExporter()
    with exporting(first, tmp_path), spans.joined(RUN), spans.span("open"):
        with exporting(second, tmp_path):
            assert len(list(tmp_path.glob(f"*{SUFFIX}"))) == 2
        spans.use(None)
        assert not second.get_finished_spans()
    assert [span.name for span in first.get_finished_spans()] == ["open"]


def test_more_spans_than_the_file_has_room_for_are_exported(tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    with exporting(exporter, tmp_path):
        for number in range(SLOTS + 10):
            spans.emit(Finished("ended", spans.derived(RUN, str(number)), "", 1, 2))
    assert len(exporter.get_finished_spans()) == SLOTS + 10


def test_what_is_not_delivered_at_the_end_is_left_to_another_process(tmp_path: Path) -> None:
    """A process ends in time, whatever the collector does."""
    hanging, other = Hanging(), InMemorySpanExporter()
    with exporting(hanging, tmp_path):
        spans.emit(Finished("late", RUN, "", 5, 9))
        assert hanging.called.wait(LONG)
    with exporting(other, tmp_path):
        wait_for(lambda: bool(other.get_finished_spans()))
    hanging.released.set()
    assert [(span.name, span.end_time) for span in other.get_finished_spans()] == [("late", 9)]
