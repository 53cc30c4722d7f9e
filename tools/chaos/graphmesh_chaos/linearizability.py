"""A search for a sequential order of concurrent operations that a specification allows.

The algorithm is that of Wing and Gong ("Testing and Verifying Concurrent Objects", JPDC 17, 1993) with the memoization
of Lowe ("Testing for Linearizability", Concurrency and Computation 29(4), 2017), as in Knossos and Porcupine. An
operation takes effect at one moment between its invocation and its return. One without a known outcome takes effect at
any moment after its invocation, or never. Steps that the specification takes by itself, without an operation, may
happen at any time. Independent objects are searched one by one, since a history is linearizable if that of each object
is (Herlihy and Wing, "Linearizability", TOPLAS 12(3), 1990).
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

MAX_STATES = 300_000
"""States that a search visits before it gives up: some seconds."""

StateT = TypeVar("StateT", bound=Hashable)


class Timed(Protocol):
    """An operation; times are of one monotonic clock."""

    @property
    def invoked(self) -> float: ...

    @property
    def returned(self) -> float:
        """Infinite where the outcome is not known."""


TimedT = TypeVar("TimedT", bound=Timed)
TimedT_contra = TypeVar("TimedT_contra", bound=Timed, contravariant=True)


class Specification(Protocol[TimedT_contra, StateT]):
    """A sequential specification, which need not be deterministic."""

    @property
    def initial(self) -> StateT: ...

    def step(self, state: StateT, operation: TimedT_contra) -> Iterable[StateT]:
        """The states after an operation with the outcome that it had; none where it could not have had that outcome."""

    def is_idempotent(self, operation: TimedT_contra) -> bool:
        """Whether an operation that changes nothing in a state changes nothing later, except that it may be refused."""

    def internal(self, state: StateT) -> Iterable[StateT]:
        """The states after one step that needs no operation. No sequence of such steps leads back to a state."""


@dataclass(frozen=True)
class Linearization(Generic[TimedT, StateT]):
    """The result of a search: the longest order of operations that was found."""

    is_complete: bool
    """Whether the order has all operations with a known outcome, so that the history is linearizable."""
    is_decided: bool
    """Whether the search has ended within its bound; the history is not linearizable if it has without an order."""
    order: Sequence[TimedT]
    state: StateT
    """The state after `order`."""
    refused: Sequence[TimedT]
    """The operations of which one had to be the next in the order."""


@dataclass(frozen=True)
class _Node(Generic[StateT]):
    """A state of the search. Operations are numbered by their invocation."""

    done: int
    """The operations in the order so far, as a bit mask."""
    state: StateT


def linearize(
    operations: Iterable[TimedT], specification: Specification[TimedT, StateT], max_states: int = MAX_STATES
) -> Linearization[TimedT, StateT]:
    """Search for an order of all operations with a known outcome, and of any of the others."""
    search = _Search(sorted(operations, key=lambda one: one.invoked), specification)
    return search.run(max_states)


class _Search(Generic[TimedT, StateT]):
    def __init__(self, operations: Sequence[TimedT], specification: Specification[TimedT, StateT]) -> None:
        self._operations, self._specification = operations, specification
        self._known = sum(1 << number for number, one in enumerate(operations) if one.returned < math.inf)
        self._came_from: dict[_Node[StateT], tuple[_Node[StateT] | None, int | None]] = {}
        """The visited nodes, each with the one before it and the operation between them."""

    def run(self, max_states: int) -> Linearization[TimedT, StateT]:
        first = _Node(0, self._specification.initial)
        self._came_from[first] = (None, None)
        path, deepest = [(first, iter(self._successors(first)))], first
        while path and len(self._came_from) < max_states:
            node, successors = path[-1]
            if self._count(node) > self._count(deepest):
                deepest = node
            if node.done & self._known == self._known:
                return self._result(node, is_decided=True)
            for number, successor in successors:
                if successor not in self._came_from:
                    self._came_from[successor] = (node, number)
                    path.append((successor, iter(self._successors(successor))))
                    break
            else:
                path.pop()
        return self._result(deepest, is_decided=not path)

    def _successors(self, node: _Node[StateT]) -> list[tuple[int | None, _Node[StateT]]]:
        """The nodes one step further, of which those of operations that may never have happened are the last.

        An idempotent operation that changes nothing is next if it is known, and left out if it is not: whatever order
        there is of the others, it is one with this operation here, or without it. One that is not known is never done,
        so that repeats of a call lead to the same node.
        """
        known: list[tuple[int | None, _Node[StateT]]] = []
        unknown: list[tuple[int | None, _Node[StateT]]] = []
        for number in self._following(node):
            operation, is_known = self._operations[number], bool(self._known >> number & 1)
            states = list(self._specification.step(node.state, operation))
            is_idempotent = self._specification.is_idempotent(operation)
            done = node.done if is_idempotent and not is_known else node.done | 1 << number
            if is_idempotent and node.state in states:
                if is_known:
                    return [(number, _Node(done, node.state))]
                continue
            successors = known if is_known else unknown
            successors += [(number, _Node(done, state)) for state in states]
        internal = [(None, _Node(node.done, state)) for state in self._specification.internal(node.state)]
        return [*known, *internal, *unknown]

    def _following(self, node: _Node[StateT]) -> list[int]:
        """The operations that may be next: those that were invoked before any other of the rest has returned."""
        following: list[int] = []
        first_return = math.inf
        for number, operation in enumerate(self._operations):
            if node.done >> number & 1:
                continue
            if operation.invoked > first_return:
                break
            following.append(number)
            first_return = min(first_return, operation.returned)
        return following

    def _count(self, node: _Node[StateT]) -> int:
        return (node.done & self._known).bit_count()

    def _result(self, node: _Node[StateT], *, is_decided: bool) -> Linearization[TimedT, StateT]:
        order: list[TimedT] = []
        before, number = self._came_from[node]
        while before is not None:
            if number is not None:
                order.append(self._operations[number])
            before, number = self._came_from[before]
        refused = [self._operations[number] for number in self._following(node) if self._known >> number & 1]
        is_complete = node.done & self._known == self._known
        return Linearization(is_complete, is_decided, order[::-1], node.state, refused)
