"""The spans of a run that has ended, from its events: for a trace that is kept although it was not sampled."""

from dataclasses import dataclass, field
from itertools import count

from google.rpc import error_details_pb2, status_pb2
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.telemetry import names, spans
from graphmesh_chassis.telemetry.spans import Attributes, Finished, Kind
from graphmesh_nodes.decisions import RouteTaken

from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.trace import RunTrace
from graphmesh_orchestrator.worker.run_spans import (
    attempt_id,
    first_gaps,
    gap,
    identity,
    reason_of,
    run_span,
    waited_for,
)

MAX_SPANS = 2_000
"""The most spans of nodes, routes and calls of a run; further ones are left out, and counted in the run's span."""
LEFT = "CUT_OFF"
"""The error of what was open when its attempt ended, whose process may have died."""
Place = tuple[tuple[str, ...], str]
"""A subgraph and a node."""


@dataclass
class _Open:
    """A span that has begun."""

    name: str
    own: str
    parent: str
    start: int
    attributes: dict[str, str | int | float | bool]

    def finished(self, end: int, reason: str = "", kind: Kind = "internal", **_: object) -> Finished:
        return Finished(
            self.name, self.own, self.parent, self.start, max(self.start, end), kind, self.attributes, reason
        )


@dataclass
class EventSpans:
    """Makes spans of the events of one run, which are added in order."""

    run: Run
    trace: RunTrace
    spans: list[Finished] = field(default_factory=list)
    left_out: int = 0

    def __post_init__(self) -> None:
        self._numbers = count(1)
        self._attempt: _Open | None = None
        self._nodes: dict[Place, list[_Open]] = {}
        self._last = self.trace.begun
        self._parked: pb.StatusChanged | None = None

    def add(self, event: pb.RunEvent) -> None:
        time = max(self._last, event.time.ToNanoseconds())
        place = (tuple(event.namespace), event.node)
        match event.WhichOneof("event"):
            case "status_changed":
                self._change_status(event.status_changed, time)
            case "node_started":
                node = self._open(f"node {event.node}", self._around(place), time, {names.NODE: event.node})
                self._nodes.setdefault(place, []).append(node)
            case "node_finished":
                self._end_node(place, event.node_finished, time)
            case "tool_called":
                self._add_call(place, event.tool_called, time)
            case "route_taken":
                self._add_route(place, event.route_taken, time)
        self._last = time

    def finish(self) -> list[Finished]:
        """Return all spans, with that of the run as the last one."""
        ended = round(self.run.state.ended.timestamp() * 1e9) if self.run.state.ended else 0
        end = max(self._last, ended)
        self._end_attempt(end, reason_of(self.run))
        root = run_span(self.run, RunTrace(self.trace.traceparent, "", self.trace.begun), self.trace.sampled, end)
        attributes = {**root.attributes, names.LEFT_OUT: self.left_out} if self.left_out else root.attributes
        return [
            *self.spans,
            Finished(root.name, root.traceparent, "", root.start, end, "internal", attributes, root.reason),
        ]

    def _change_status(self, changed: pb.StatusChanged, time: int) -> None:
        if changed.status != pb.RunStatus.RUN_STATUS_RUNNING:
            is_parked = changed.status == pb.RunStatus.RUN_STATUS_INTERRUPTED
            if self._attempt is not None:
                self._attempt.attributes[names.END] = RunStatus.INTERRUPTED if is_parked else self.run.status
            self._end_attempt(time, "" if is_parked else reason_of(self.run))
            self._parked = changed if is_parked else None
            return
        left = self._last
        self._end_attempt(left, LEFT)
        traceparent = self.trace.sampled
        if changed.epoch <= 1:
            self.spans += first_gaps(self.run, self.trace, traceparent, time)
        elif self._parked is not None:
            self.spans.append(gap(self.run, traceparent, "parked", waited_for(self._parked), left, time, changed.epoch))
        else:
            waited = "a worker, since another one has stopped or died"
            self.spans.append(gap(self.run, traceparent, "takeover", waited, left, time, changed.epoch))
        own, attributes = attempt_id(traceparent, self.run, changed.epoch), {**identity(self.run)}
        self._attempt = _Open("attempt", own, traceparent, time, {**attributes, names.EPOCH: changed.epoch})
        self._parked = None

    def _end_attempt(self, end: int, reason: str) -> None:
        for node in [node for nodes in self._nodes.values() for node in nodes]:
            self._add(node.finished(end, "" if self._attempt is None else reason))
        self._nodes.clear()
        if self._attempt is not None:
            self.spans.append(self._attempt.finished(end, reason))
            self._attempt = None

    def _end_node(self, place: Place, finished: pb.NodeFinished, time: int) -> None:
        reason = _reason(finished.error) if finished.HasField("error") else ""
        if begun := self._nodes.get(place):
            self._add(begun.pop(0).finished(time, reason))

    def _add_call(self, place: Place, called: pb.ToolCalled, time: int) -> None:
        attributes: dict[str, str | int | float | bool] = {names.TOOL: called.tool, names.ATTEMPTS: called.attempts}
        if called.effect_key:
            attributes[names.EFFECT_KEY] = names.shortened(called.effect_key)
        node = self._node(place)
        start = max(time - called.duration.ToNanoseconds(), node.start if node else 0)
        call = self._open(f"tool {called.tool}", node.own if node else self._around(place), start, attributes)
        self._add(call.finished(time, _reason(called.status) if called.status.code else "", "client"))

    def _add_route(self, place: Place, taken: pb.RouteTaken, time: int) -> None:
        trigger = RouteTaken(place[1], place[0], taken.condition, taken.destinations, taken.looked_at).trigger
        attributes: Attributes = {names.ROUTE: ", ".join(taken.destinations), names.TRIGGER: trigger}
        node = self._node(place)
        self._add(self._open("route", node.own if node else self._around(place), time, {**attributes}).finished(time))

    def _node(self, place: Place) -> _Open | None:
        nodes = self._nodes.get(place)
        return nodes[-1] if nodes else None

    def _around(self, place: Place) -> str:
        """Return what the spans of a subgraph are below: its node, or the attempt."""
        namespace, _ = place
        outer = self._node((namespace[:-1], namespace[-1].partition(":")[0])) if namespace else None
        above = outer or self._attempt
        return above.own if above else self.trace.sampled

    def _open(self, name: str, parent: str, start: int, attributes: dict[str, str | int | float | bool]) -> _Open:
        own = spans.derived(self.trace.sampled, self.run.run_id, "event", str(next(self._numbers)))
        return _Open(name, own, parent, start, {names.RUN: self.run.run_id, **attributes})

    def _add(self, span: Finished) -> None:
        if len(self.spans) < MAX_SPANS:
            self.spans.append(span)
        else:
            self.left_out += 1


def _reason(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    return next((info.reason for detail in status.details if detail.Unpack(info)), "ERROR")
