"""The invariants of sessions: the responses that clients got fit one order of what happened on a thread."""

from collections.abc import Iterator, Mapping

from graphmesh_orchestrator.run_status import RunStatus

from graphmesh_chaos.grouping import group_by
from graphmesh_chaos.history import History, ReceivedEvent
from graphmesh_chaos.linearizability import Linearization, linearize
from graphmesh_chaos.operations import Operation, OperationKind
from graphmesh_chaos.sessions import STEPS
from graphmesh_chaos.thread_model import Course, ThreadModel, ThreadState, moments

CANCELLED_WITHIN_SECONDS = 60.0
"""Longest time from the acknowledgement of a cancellation to the end of the run, whatever faults there are."""
EXPLAINED_OPERATIONS = 6
"""Operations that an explanation has, from the last that fit on backwards."""


def threads_are_linearizable(history: History) -> Iterator[str]:
    """The operations on a thread have an order in which its runs held it one at a time, and nothing went back."""
    for thread_id, operations in group_by(history.observed.operations, lambda one: one.thread_id).items():
        result = linearize(moments(operations), ThreadModel(courses_of(history, thread_id)))
        if not result.is_complete:
            yield f"{thread_id} {explanation(result)}"


def courses_of(history: History, thread_id: str) -> Mapping[str, Course]:
    """The courses of the runs on a thread, by request_id."""
    requests = {request.request_id for request in history.requests if request.thread_id == thread_id}
    events = group_by(history.events, lambda event: event.run_id)
    courses: dict[str, Course] = {}
    for run in (run for run in history.runs if run.request_id in requests):
        own = events.get(run.run_id, [])
        courses[run.request_id] = Course(
            statuses=[(event.seq, event.status) for event in own if event.status],
            has_executed=any(event.is_node_start for event in own),
            entries=[f"{run.request_id}.{step}" for step in STEPS],
        )
    return courses


def explanation(result: Linearization[Operation, ThreadState]) -> str:
    """The state in which the operations do not continue, the operations that led to it, and those that do not fit."""
    if not result.is_decided:
        return "has more orders of its operations than can be searched"
    fitting = [f"    {one}" for one in result.order[-EXPLAINED_OPERATIONS:]]
    refused = [f"  ✗ {one}" for one in result.refused[:EXPLAINED_OPERATIONS]]
    return "\n".join(["has no order of its operations:", *fitting, f"  then: {result.state}", *refused])


def streams_are_stored(history: History) -> Iterator[str]:
    """The events that clients received are those that are stored, and each was received once and in order."""
    stored = {(event.run_id, event.seq): event for event in history.events}
    for run_id, received in group_by(history.observed.received, lambda event: event.run_id).items():
        if [event.seq for event in received] != list(range(1, len(received) + 1)):
            yield f"a client received the events {[event.seq for event in received]} of {run_id}"
        for event in received:
            one = stored.get((run_id, event.seq))
            if one is None or ReceivedEvent(run_id, one.seq, one.time, one.node, one.status) != event:
                yield f"a client received {event}, stored is {one}"


def cancellations_hold(history: History) -> Iterator[str]:
    """A run whose cancellation was acknowledged has ended some time later."""
    acknowledged: dict[str, float] = {}
    for one in history.observed.operations:
        if one.kind is OperationKind.CANCEL and one.is_known and not one.reason:
            acknowledged.setdefault(one.request_id, one.returned)
    for one in history.observed.operations:
        if one.kind is OperationKind.EVENT:
            continue  # it may be received late
        for seen in one.seen:
            since = acknowledged.get(seen.request_id, one.invoked)
            if not seen.status.is_final and one.invoked > since + CANCELLED_WITHIN_SECONDS:
                yield f"the cancellation of {seen.request_id} was acknowledged at {since:.3f} s; {one}"


def answers_are_used(history: History) -> Iterator[str]:
    """All acknowledged answers to the question of a run are the same, and the one that the run got."""
    answers = group_by(history.observed.resumptions, lambda one: one.request_id)
    for run in history.runs:
        given = {one.answer for one in answers.get(run.request_id, [])}
        if len(given) > 1 or (run.status is RunStatus.SUCCESS and not given <= {run.answer}):
            yield f"{run.run_id} got the answer {run.answer or 'none'}, acknowledged were {', '.join(sorted(given))}"


def no_defects(history: History) -> Iterator[str]:
    """No call has the error of a defective server."""
    yield from history.observed.defects
