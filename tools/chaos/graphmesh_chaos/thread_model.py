"""The sequential specification of a thread: its runs hold it one at a time, and append to its log in order.

The specification takes the course of each run from what is stored at the end of the experiment: the numbers of its
events, its statuses, and its end. What it decides is whether the responses that clients got can be put in one order in
which each sees that course as far as it had come, and never less than an earlier one saw.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from graphmesh_chassis.errors import NotFound
from graphmesh_orchestrator.errors import ThreadBusy
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Multitask

from graphmesh_chaos.operations import Operation, OperationKind, SeenRun

BUSY, NOT_FOUND = ThreadBusy.reason, NotFound.reason
RANK = {RunStatus.RUNNING: 0, RunStatus.INTERRUPTED: 1, RunStatus.PENDING: 2}
"""The order of the statuses of a run between two of its events in one epoch."""


@dataclass(frozen=True)
class Course:
    """The course of a run, as it is stored."""

    statuses: Sequence[tuple[int, RunStatus]]
    """The statuses in its events, each with the number of the event."""
    has_executed: bool
    """Whether a node started. Only then has it certainly held the thread: a run that is cancelled before its turn is
    executed without the thread, to be ended."""
    entries: Sequence[str]
    """What its nodes append to the log, in the order of the graph."""

    @property
    def end(self) -> RunStatus | None:
        """The final status; None where the run has not ended."""
        return self.statuses[-1][1] if self.statuses and self.statuses[-1][1].is_final else None

    def allows(self, seen: SeenRun) -> bool:
        """Whether a run of this course can have a status together with a number of events."""
        latest = next((status for seq, status in reversed(self.statuses) if seq <= seen.last_seq), None)
        if seen.status.is_final or (latest and latest.is_final):
            return seen.status is latest
        if latest is RunStatus.INTERRUPTED:
            return True
        if latest is RunStatus.RUNNING:
            return seen.status is RunStatus.RUNNING
        return seen.status is not RunStatus.INTERRUPTED


class RunModel(NamedTuple):
    """A run of the thread."""

    number: int
    """The position among the runs of the thread in the order of their creation."""
    has_begun: bool = False
    """Whether it has, or had, the thread, and has executed a node."""
    has_ended: bool = False
    is_cancelled: bool = False
    """Whether its cancellation was requested before it ended."""
    is_doomed: bool = False
    """Whether its entries are to be deleted before the next run begins."""
    progress: tuple[int, int, int] = (0, 0, 0)
    """The greatest that a response had: number of events, epoch, and rank of the status."""


class Block(NamedTuple):
    """Consecutive entries of one run or one update in the log; their number is between `low` and `high`."""

    owner: str
    low: int
    high: int
    is_finished: bool = False
    """Whether a later run has had the thread, so that the writes of an unfinished superstep are discarded."""


class ThreadState(NamedTuple):
    """The state of a thread, as far as it is known."""

    runs: tuple[tuple[str, RunModel], ...] = ()
    """By request_id, in the order of their creation."""
    blocks: tuple[Block, ...] = ()

    def run(self, request_id: str) -> RunModel | None:
        return dict(self.runs).get(request_id)

    @property
    def is_free(self) -> bool:
        """Whether no run has the thread or waits for it."""
        return all(run.has_ended for _, run in self.runs)

    @property
    def may_be_free(self) -> bool:
        """As `is_free`, but a run that was cancelled before its turn no longer waits when a worker has claimed it.

        That worker only ends it, which may take long where workers die.
        """
        return all(run.has_ended or (run.is_cancelled and not run.has_begun) for _, run in self.runs)

    @property
    def holder(self) -> str:
        """The run that has begun and not ended; empty if there is none."""
        return next((request_id for request_id, run in self.runs if run.has_begun and not run.has_ended), "")

    def with_run(self, request_id: str, run: RunModel) -> "ThreadState":
        return self._replace(runs=tuple((other, run if other == request_id else one) for other, one in self.runs))

    def __str__(self) -> str:
        runs = [f"{request_id} {_description(run)}" for request_id, run in self.runs]
        return f"{', '.join(runs) or 'no run'}; log of {', '.join(block.owner for block in self.blocks) or 'nothing'}"


def _description(run: RunModel) -> str:
    stage = "ended" if run.has_ended else "begun" if run.has_begun else "not begun"
    return f"{stage}{' and cancelled' if run.is_cancelled else ''} (seq {run.progress[0]} of epoch {run.progress[1]})"


def moments(operations: Iterable[Operation]) -> Iterator[Operation]:
    """The operations as they take effect: CancelRun cancels a run in one transaction, and reads it in a later one."""
    for operation in operations:
        if operation.kind is OperationKind.CANCEL and operation.seen:
            yield replace(operation, seen=())
        yield operation


class ThreadModel:
    """The specification of one thread, given the courses of its runs by request_id."""

    initial = ThreadState()

    def __init__(self, courses: Mapping[str, Course]) -> None:
        self._courses = courses

    def step(self, state: ThreadState, operation: Operation) -> Iterator[ThreadState]:
        match operation.kind, operation.reason:
            case OperationKind.CREATE, "":
                yield from self._create(state, operation)
            case OperationKind.CREATE | OperationKind.UPDATE, reason if reason == BUSY:
                if not state.is_free:
                    yield state
            case OperationKind.UPDATE, "":
                if state.runs and state.may_be_free:
                    yield state._replace(blocks=(*state.blocks, Block(operation.entry, 1, 1)))
            case OperationKind.CANCEL, "":
                yield from self._cancel(state, operation)
            case OperationKind.STATE, "":
                yield from self._read_log(state, operation.log)
            case OperationKind.LIST, "":
                if {seen.request_id for seen in operation.seen} == {request_id for request_id, _ in state.runs}:
                    yield from self._observe_all(state, operation.seen)
            case OperationKind.EVENT, "":
                yield from self._receive(state, operation.seen[0])
            case _, "":
                yield from self._observe_all(state, operation.seen)
            case _, reason if reason == NOT_FOUND:
                if not (state.run(operation.request_id) if operation.request_id else state.runs):
                    yield state
            case _:
                yield state

    def is_idempotent(self, operation: Operation) -> bool:
        """Runs are created and cancelled once, and whatever is read never goes back; each update appends an entry."""
        return operation.kind is not OperationKind.UPDATE or bool(operation.reason)

    def internal(self, state: ThreadState) -> Iterator[ThreadState]:
        for request_id, run in state.runs:
            if not run.has_ended:
                yield from self._begin(state, request_id, run)
                yield from self._end(state, request_id, run)
        yield from self._take_over(state)

    def _create(self, state: ThreadState, operation: Operation) -> Iterator[ThreadState]:
        """Create a run; a repeat reads the run that exists. A run may begin in the same moment."""
        request_id = operation.request_id
        if state.run(request_id) or request_id not in self._courses:
            yield from self._observe_all(state, operation.seen)
            return
        if operation.strategy is Multitask.REJECT and not state.may_be_free:
            return
        runs = state.runs
        if operation.strategy.preempts:
            is_rollback = operation.strategy is Multitask.ROLLBACK
            runs = tuple((other, _preempted(run, is_rollback)) for other, run in runs)
        run = RunModel(len(runs))
        created = ThreadState((*runs, (request_id, run)), state.blocks)
        yield from self._observe_all(created, operation.seen)
        for begun in self._begin(created, request_id, run):
            yield from self._observe_all(begun, operation.seen)

    def _cancel(self, state: ThreadState, operation: Operation) -> Iterator[ThreadState]:
        """Without what was seen, this is the cancellation, and with it the response, which is read after it."""
        run = state.run(operation.request_id)
        if run is None:
            return
        if not operation.seen:
            yield state if run.has_ended else state.with_run(operation.request_id, run._replace(is_cancelled=True))
        elif run.is_cancelled or run.has_ended:
            yield from self._observe_all(state, operation.seen)

    def _begin(self, state: ThreadState, request_id: str, run: RunModel) -> Iterator[ThreadState]:
        """Runs begin in the order of their creation, when no other has the thread, and not after a cancellation."""
        if run.has_begun or run.is_cancelled or not self._courses[request_id].has_executed or state.holder:
            return
        for other, earlier in state.runs[: run.number]:
            if not (earlier.has_ended or earlier.is_cancelled) and self._courses[other].has_executed:
                return
        begun = state.with_run(request_id, run._replace(has_begun=True))
        block = Block(request_id, 0, len(self._courses[request_id].entries))
        yield begun._replace(blocks=(*self._finished(state.blocks), block))

    def _finished(self, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        """The blocks as a new run finds them: LangGraph discards what a superstep wrote that was not finished.

        Until then it is read as part of the state.
        """
        if not blocks or blocks[-1].owner not in self._courses or blocks[-1].is_finished:
            return blocks
        owner, low, high, _ = blocks[-1]
        is_complete = self._courses[owner].end is RunStatus.SUCCESS
        return (*blocks[:-1], Block(owner, low if is_complete else max(0, low - 1), high, is_finished=True))

    def _take_over(self, state: ThreadState) -> Iterator[ThreadState]:
        """The run that has the thread deletes the entries of those that were rolled back before it.

        It may be one that is cancelled then, before it executes a node.
        """
        if doomed := _doomed_before(state, state.holder):
            yield state._replace(blocks=_without(state.blocks, doomed))
        is_unseen = any(not run.has_ended and not self._courses[name].has_executed for name, run in state.runs)
        if is_unseen and not state.holder:
            doomed = {request_id for request_id, run in state.runs if run.is_doomed}
            blocks = self._finished(_without(state.blocks, doomed))
            if blocks != state.blocks:
                yield state._replace(blocks=blocks)

    def _end(self, state: ThreadState, request_id: str, run: RunModel) -> Iterator[ThreadState]:
        """A run ends as it is stored: cancelled only on request, and after its nodes if any was executed."""
        course = self._courses[request_id]
        is_unrequested = course.end is RunStatus.CANCELLED and not run.is_cancelled
        if course.end is None or is_unrequested or course.has_executed is not run.has_begun:
            return
        ended = state.with_run(request_id, run._replace(has_ended=True))
        if course.end is RunStatus.SUCCESS:
            if _doomed_before(state, request_id):
                return
            complete = Block(request_id, len(course.entries), len(course.entries))
            ended = ended._replace(blocks=tuple(complete if one.owner == request_id else one for one in state.blocks))
        yield ended

    def _observe_all(self, state: ThreadState, seen: Sequence[SeenRun]) -> Iterator[ThreadState]:
        for one in seen:
            run = state.run(one.request_id)
            observed = run and self._observe(run, one)
            if observed is None:
                return
            state = state.with_run(one.request_id, observed)
        yield state

    def _observe(self, run: RunModel, seen: SeenRun) -> RunModel | None:
        """The run with the progress that was seen; None if it is not in that state."""
        course, (seq, epoch, _) = self._courses[seen.request_id], run.progress
        progress = (seen.last_seq, seen.epoch, RANK.get(seen.status, len(RANK)))
        has_gone_back = progress < run.progress or seen.last_seq < seq or seen.epoch < epoch
        has_begun = run.has_begun or not course.has_executed
        needs_begin = seen.status is not RunStatus.PENDING or seen.epoch > 0
        if has_gone_back or seen.status.is_final is not run.has_ended or needs_begin > has_begun:
            return None
        if seen.status is RunStatus.PENDING and seen.epoch == 0 and run.has_begun:
            return None
        return run._replace(progress=progress) if course.allows(seen) else None

    def _receive(self, state: ThreadState, event: SeenRun) -> Iterator[ThreadState]:
        """A received event is stored: what is read later has at least its number."""
        run = state.run(event.request_id)
        if run is None or event.status.is_final > run.has_ended:
            return
        received = (event.last_seq, max(event.epoch, run.progress[1]), 0)
        yield state.with_run(event.request_id, run._replace(progress=max(run.progress, received)))

    def _read_log(self, state: ThreadState, log: Sequence[str]) -> Iterator[ThreadState]:
        """The log has the entries of each block in turn, the first ones of the run's, and no others."""
        blocks, rest = [], list(log)
        for block in state.blocks:
            count = _common(self._entries(block.owner), rest)
            run = state.run(block.owner)
            if not block.low <= count <= block.high:
                return
            if count and block.owner == state.holder and _doomed_before(state, block.owner):
                return
            is_growing = run is not None and not run.has_ended
            blocks.append(block._replace(low=count, high=block.high if is_growing else count))
            rest = rest[count:]
        if not rest:
            yield state._replace(blocks=tuple(blocks))

    def _entries(self, owner: str) -> Sequence[str]:
        return self._courses[owner].entries if owner in self._courses else [owner]


def _preempted(run: RunModel, is_rollback: bool) -> RunModel:
    if run.has_ended:
        return run
    return run._replace(is_cancelled=True, is_doomed=run.is_doomed or (is_rollback and run.has_begun))


def _without(blocks: tuple[Block, ...], owners: set[str]) -> tuple[Block, ...]:
    return tuple(block for block in blocks if block.owner not in owners)


def _doomed_before(state: ThreadState, holder: str) -> set[str]:
    """The runs whose entries `holder` has to delete before it appends its own; none without a holder."""
    doomed = {request_id for request_id, run in state.runs if run.is_doomed and request_id != holder}
    return doomed & {block.owner for block in state.blocks} if holder else set()


def _common(entries: Sequence[str], log: Sequence[str]) -> int:
    """The length of the longest beginning that both have."""
    count = 0
    while count < min(len(entries), len(log)) and entries[count] == log[count]:
        count += 1
    return count
