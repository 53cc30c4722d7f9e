"""The specification of a thread accepts the histories that the API allows, and finds the fault in every other."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from graphmesh_chaos.linearizability import linearize
from graphmesh_chaos.operations import Operation, OperationKind, SeenRun
from graphmesh_chaos.thread_model import BUSY, NOT_FOUND, Course, ThreadModel, moments
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Multitask

RUNNING, SUCCESS, CANCELLED, TIMEOUT = RunStatus.RUNNING, RunStatus.SUCCESS, RunStatus.CANCELLED, RunStatus.TIMEOUT
PENDING, INTERRUPTED = RunStatus.PENDING, RunStatus.INTERRUPTED


def course(name: str, end: RunStatus | None = SUCCESS, *, executed: bool = True) -> Course:
    """A run with an event when it begins, two of its nodes, and one when it ends."""
    statuses = [(1, RUNNING)] if end is None else [(1, RUNNING), (4, end)]
    return Course(statuses, executed, [f"{name}.start", f"{name}.charge"])


SUCCEEDING: Mapping[str, Course] = {"a": course("a"), "b": course("b")}
CANCELLED_A = {**SUCCEEDING, "a": course("a", CANCELLED)}
UNEXECUTED_A = {**SUCCEEDING, "a": course("a", CANCELLED, executed=False)}
UNEXECUTED_B = {**SUCCEEDING, "b": course("b", CANCELLED, executed=False)}


def seen(name: str, status: RunStatus, seq: int, epoch: int = 1) -> SeenRun:
    return SeenRun(name, status, epoch, seq)


class Calls:
    """Writes a history: calls follow each other, unless they are declared to overlap."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def add(self, kind: OperationKind, *, since: int = 0, known: bool = True, **fields: Any) -> "Calls":
        """Add a call; it began `since` calls earlier, and has no outcome if it is not `known`."""
        now = float(len(self.operations))
        returned = now + 0.5 if known else math.inf
        self.operations.append(Operation(kind, "thread", now - since, returned, **fields))
        return self

    def create(self, name: str, *status: Any, strategy: Multitask = Multitask.ENQUEUE, **fields: Any) -> "Calls":
        states = (seen(name, *status),) if status else ()
        return self.add(OperationKind.CREATE, request_id=name, seen=states, strategy=strategy, **fields)

    def read(self, name: str, *status: Any, **fields: Any) -> "Calls":
        return self.add(OperationKind.READ, request_id=name, seen=(seen(name, *status),), **fields)

    def event(self, name: str, *status: Any, **fields: Any) -> "Calls":
        return self.add(OperationKind.EVENT, request_id=name, seen=(seen(name, *status),), **fields)

    def cancel(self, name: str, *status: Any, **fields: Any) -> "Calls":
        states = (seen(name, *status),) if status else ()
        return self.add(OperationKind.CANCEL, request_id=name, seen=states, **fields)

    def list(self, *states: SeenRun, **fields: Any) -> "Calls":
        return self.add(OperationKind.LIST, seen=states, **fields)

    def state(self, *log: str, **fields: Any) -> "Calls":
        return self.add(OperationKind.STATE, log=log, **fields)

    def update(self, entry: str, **fields: Any) -> "Calls":
        return self.add(OperationKind.UPDATE, entry=entry, **fields)


def begun() -> Calls:
    """Of a run, of which a node has been executed."""
    return Calls().create("a", RUNNING, 0).state("a.start")


def ended() -> Calls:
    return begun().read("a", SUCCESS, 4)


ROLLBACK, INTERRUPT, REJECT = Multitask.ROLLBACK, Multitask.INTERRUPT, Multitask.REJECT
ALLOWED: dict[str, tuple[Mapping[str, Course], Calls]] = {
    "a run from its beginning to its end": (SUCCEEDING, ended().state("a.start", "a.charge")),
    "a run that is claimed, parked, answered and claimed again": (
        {"a": Course([(1, RUNNING), (2, INTERRUPTED), (3, RUNNING), (4, SUCCESS)], True, [])},
        Calls()
        .create("a", PENDING, 0, 0)
        .read("a", RUNNING, 0)
        .read("a", INTERRUPTED, 2)
        .read("a", PENDING, 2)
        .read("a", RUNNING, 2, 2)
        .read("a", SUCCESS, 4, 2),
    ),
    "a repeat of a request": (SUCCEEDING, begun().create("a", RUNNING, 1).create("a", SUCCESS, 4)),
    "a run that waits for its turn": (
        SUCCEEDING,
        begun().create("b", PENDING, 0, 0).read("a", SUCCESS, 4).read("b", RUNNING, 1).state("a.start", "a.charge"),
    ),
    "a refusal while a run has the thread": (SUCCEEDING, begun().create("b", strategy=REJECT, reason=BUSY)),
    "a request without a response that created a run": (
        SUCCEEDING,
        Calls().create("a", known=False).read("a", SUCCESS, 4),
    ),
    "a request without a response that created none": ({}, Calls().create("a", known=False).state(reason=NOT_FOUND)),
    "a list of all runs": (SUCCEEDING, ended().list(seen("a", SUCCESS, 4)).create("b", RUNNING, 0)),
    "a cancellation": (CANCELLED_A, begun().cancel("a", RUNNING, 2).read("a", CANCELLED, 4).state("a.start")),
    "a cancellation whose response is read after the end": (
        CANCELLED_A,
        begun().cancel("a", CANCELLED, 4).state("a.start"),
    ),
    "a run that begins between a cancellation and its response": (
        {**UNEXECUTED_B, "c": course("c")},
        ended().create("b", PENDING, 0, 0).create("c", RUNNING, 0).cancel("b", PENDING, 0, 0, since=2),
    ),
    "a cancellation that came too late": (SUCCEEDING, begun().cancel("a", RUNNING, 2).read("a", SUCCESS, 4)),
    "a cancellation without a response": (CANCELLED_A, begun().cancel("a", known=False).read("a", CANCELLED, 4)),
    "a run that is cancelled before its turn": (
        UNEXECUTED_B,
        begun().create("b", PENDING, 0, 0).cancel("b", PENDING, 0, 0).read("b", RUNNING, 0).read("a", RUNNING, 1),
    ),
    "a run that is preempted": (
        CANCELLED_A,
        begun()
        .create("b", PENDING, 0, 0, strategy=INTERRUPT)
        .read("b", SUCCESS, 4)
        .state("a.start", "b.start", "b.charge"),
    ),
    "a run that is rolled back": (
        CANCELLED_A,
        begun().create("b", PENDING, 0, 0, strategy=ROLLBACK).state("a.start").state().state("b.start"),
    ),
    "a run that is rolled back, and then preempted once more": (
        {**CANCELLED_A, "b": course("b", CANCELLED, executed=False), "c": course("c")},
        begun()
        .create("b", PENDING, 0, 0, strategy=ROLLBACK)
        .create("c", PENDING, 0, 0, strategy=INTERRUPT)
        .state("c.start"),
    ),
    "a run that begins without the last superstep of a cancelled one": (
        CANCELLED_A,
        begun()
        .state("a.start", "a.charge")
        .cancel("a", CANCELLED, 4)
        .create("b", RUNNING, 0)
        .state("a.start", "b.start"),
    ),
    "a run that is rolled back by one that is cancelled then": (
        {**CANCELLED_A, "b": course("b", CANCELLED, executed=False)},
        begun().create("b", PENDING, 0, 0, strategy=ROLLBACK).cancel("b", RUNNING, 0).state().read("b", CANCELLED, 4),
    ),
    "an update of a free thread": (SUCCEEDING, ended().update("x").state("a.start", "a.charge", "x")),
    "an update while a run is ended that was cancelled before its turn": (
        UNEXECUTED_B,
        begun()
        .create("b", PENDING, 0, 0)
        .cancel("b", PENDING, 0, 0)
        .read("a", SUCCESS, 4)
        .update("x")
        .read("b", RUNNING, 0)
        .state("a.start", "a.charge", "x"),
    ),
    "a run on a thread on which another is ended that was cancelled before its turn": (
        {**UNEXECUTED_B, "c": course("c")},
        begun()
        .create("b", PENDING, 0, 0)
        .cancel("b", PENDING, 0, 0)
        .read("a", SUCCESS, 4)
        .create("c", RUNNING, 0, strategy=REJECT)
        .read("b", RUNNING, 0)
        .state("a.start", "a.charge", "c.start"),
    ),
    "an update without a response": (SUCCEEDING, ended().update("x", known=False).state("a.start", "a.charge")),
    "an update of a busy thread": (SUCCEEDING, begun().update("x", reason=BUSY)),
    "an event that is received late": (SUCCEEDING, ended().event("a", RUNNING, 1)),
}
NOT_ALLOWED: dict[str, tuple[Mapping[str, Course], Calls]] = {
    "a stale read of a status": (SUCCEEDING, ended().read("a", RUNNING, 3)),
    "a stale read of progress": (SUCCEEDING, begun().read("a", RUNNING, 3).read("a", RUNNING, 2)),
    "a stale read of an epoch": (SUCCEEDING, begun().read("a", RUNNING, 1, 2).read("a", RUNNING, 1, 1)),
    "a stale list": (SUCCEEDING, ended().list()),
    "a read without an acknowledged run": (SUCCEEDING, begun().read("a", RUNNING, 1, reason=NOT_FOUND)),
    "a read behind a received event": (SUCCEEDING, begun().event("a", RUNNING, 3).read("a", RUNNING, 2)),
    "an end that is received before it is read": (SUCCEEDING, begun().event("a", SUCCESS, 4).read("a", RUNNING, 3)),
    "another end than the stored one": (SUCCEEDING, begun().read("a", TIMEOUT, 4)),
    "a second end": (
        {"a": Course([(1, RUNNING), (2, SUCCESS), (3, CANCELLED)], True, [])},
        Calls().create("a", RUNNING, 0).read("a", SUCCESS, 2).cancel("a", SUCCESS, 2).read("a", CANCELLED, 3),
    ),
    "an end before the last event": (SUCCEEDING, begun().read("a", SUCCESS, 3)),
    "a cancellation that no client requested": (CANCELLED_A, begun().read("a", CANCELLED, 4)),
    "a lost cancellation of a run that was not executed": (
        SUCCEEDING,
        Calls().create("a", PENDING, 0, 0).cancel("a", PENDING, 0, 0).read("a", SUCCESS, 4),
    ),
    "two runs at once": (SUCCEEDING, begun().create("b", RUNNING, 0).read("a", RUNNING, 1)),
    "two runs in turns": (
        SUCCEEDING,
        begun().create("b", PENDING, 0, 0).state("a.start", "b.start").state("a.start", "b.start", "a.charge"),
    ),
    "a run before its turn": (
        {**SUCCEEDING, "c": course("c")},
        begun().create("b", PENDING, 0, 0).create("c", PENDING, 0, 0).read("c", RUNNING, 1).read("b", RUNNING, 1),
    ),
    "a refusal of a free thread": (SUCCEEDING, ended().create("b", strategy=REJECT, reason=BUSY)),
    "a run beside another although it was to be rejected": (
        SUCCEEDING,
        begun().create("b", PENDING, 0, 0, strategy=REJECT).read("a", RUNNING, 1),
    ),
    "a lost entry": (SUCCEEDING, ended().state("a.start")),
    "a lost update": (SUCCEEDING, ended().update("x").state("a.start", "a.charge")),
    "an entry that goes": (SUCCEEDING, begun().state("a.start", "a.charge").state("a.start")),
    "an entry of no run": (SUCCEEDING, begun().state("a.start", "x")),
    "an entry of a run that is rolled back": (
        CANCELLED_A,
        begun().create("b", PENDING, 0, 0, strategy=ROLLBACK).state("a.start", "b.start"),
    ),
    "an update of a busy thread": (SUCCEEDING, begun().update("x").read("a", RUNNING, 1)),
    "a run that begins without two supersteps of a cancelled one": (
        CANCELLED_A,
        begun().state("a.start", "a.charge").cancel("a", CANCELLED, 4).create("b", RUNNING, 0).state("b.start"),
    ),
    "a run that begins without the last superstep of a finished one": (
        SUCCEEDING,
        ended().create("b", RUNNING, 0).state("a.start", "b.start"),
    ),
}


def decide(courses: Mapping[str, Course], operations: Sequence[Operation]) -> bool:
    found = linearize(moments(operations), ThreadModel(courses))
    assert found.is_decided
    return found.is_complete


@pytest.mark.parametrize(("courses", "calls"), ALLOWED.values(), ids=ALLOWED)
def test_accepts_what_the_api_allows(courses: Mapping[str, Course], calls: Calls) -> None:
    assert decide(courses, calls.operations)


@pytest.mark.parametrize(("courses", "calls"), NOT_ALLOWED.values(), ids=NOT_ALLOWED)
def test_finds_what_the_api_does_not_allow(courses: Mapping[str, Course], calls: Calls) -> None:
    assert not decide(courses, calls.operations)


def test_overlapping_reads_may_see_either_state() -> None:
    """A read that began before another returned may see less; one that began after it may not."""
    assert decide(SUCCEEDING, ended().read("a", RUNNING, 3, since=1).operations)
    assert not decide(SUCCEEDING, ended().read("a", RUNNING, 3).operations)
