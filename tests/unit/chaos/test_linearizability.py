"""The search decides histories of a register and of a lock as their specifications do."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations

import pytest
from graphmesh_chaos.linearizability import linearize
from hypothesis import given
from hypothesis import strategies as st


@dataclass(frozen=True)
class Call:
    """A read or a write of a register."""

    is_write: bool
    value: int
    invoked: float
    returned: float


def write(value: int, invoked: float, returned: float) -> Call:
    return Call(True, value, invoked, returned)


def read(value: int, invoked: float, returned: float) -> Call:
    return Call(False, value, invoked, returned)


class Register:
    """A register with the value 0 at first, which takes no step by itself."""

    initial = 0

    def step(self, state: int, operation: Call) -> Iterable[int]:
        if operation.is_write:
            yield operation.value
        elif operation.value == state:
            yield state

    def is_idempotent(self, operation: Call) -> bool:
        return not operation.is_write

    def internal(self, state: int) -> Iterable[int]:
        return ()


class Clock(Register):
    """A register that also counts up to 3 by itself."""

    def internal(self, state: int) -> Iterable[int]:
        return [state + 1] if state < 3 else []


LINEARIZABLE = {
    "no operation": [],
    "a read of the first value": [read(0, 0, 1)],
    "a read after a write": [write(1, 0, 1), read(1, 2, 3)],
    "a read during a write that it sees": [write(1, 0, 3), read(1, 1, 2)],
    "a read during a write that it does not see": [write(1, 0, 3), read(0, 1, 2)],
    "concurrent writes in the order of two readers": [write(1, 0, 9), write(2, 0, 9), read(2, 1, 2), read(1, 3, 4)],
    "an unknown write that happened": [write(1, 0, math.inf), read(1, 5, 6)],
    "an unknown write that happened late": [write(1, 0, math.inf), read(0, 5, 6), read(1, 7, 8)],
    "an unknown write that never happened": [write(1, 0, math.inf), read(0, 5, 6)],
}
NOT_LINEARIZABLE = {
    "a stale read": [write(1, 0, 1), read(0, 2, 3)],
    "a read of a value that was never written": [read(7, 0, 1)],
    "a read before its write": [read(1, 0, 1), write(1, 2, 3)],
    "readers that see an order and its reverse": [
        write(1, 0, 9),
        write(2, 0, 9),
        read(1, 1, 2),
        read(2, 3, 4),
        read(1, 5, 6),
    ],
    "a read that goes back during a write": [write(1, 0, 9), read(1, 1, 2), read(0, 3, 4)],
    "an unknown write that happens twice": [write(1, 0, math.inf), read(1, 1, 2), write(2, 3, 4), read(1, 5, 6)],
}


@pytest.mark.parametrize("history", LINEARIZABLE.values(), ids=LINEARIZABLE)
def test_finds_an_order(history: list[Call]) -> None:
    found = linearize(history, Register())
    assert found.is_complete
    assert {*found.order} >= {one for one in history if one.returned < math.inf}


@pytest.mark.parametrize("history", NOT_LINEARIZABLE.values(), ids=NOT_LINEARIZABLE)
def test_finds_that_there_is_no_order(history: list[Call]) -> None:
    found = linearize(history, Register())
    assert found.is_decided
    assert not found.is_complete


def test_names_the_operation_that_does_not_fit() -> None:
    """The result has the longest order, the state after it, and what could not follow."""
    first, stale, last = write(1, 0, 1), read(0, 2, 3), read(1, 4, 5)
    found = linearize([last, stale, first], Register())
    assert (found.order, found.state, found.refused) == ([first], 1, [stale])


def test_specification_takes_steps_by_itself() -> None:
    assert linearize([read(0, 0, 1), read(2, 2, 3), read(3, 4, 5)], Clock()).is_complete
    assert not linearize([read(2, 0, 1), read(1, 2, 3)], Clock()).is_complete


def test_gives_up_at_its_bound() -> None:
    """A search that was given up has decided nothing."""
    concurrent = [write(number, 0, 9) for number in range(12)]
    found = linearize([*concurrent, read(99, 1, 2)], Register(), max_states=100)
    assert not found.is_decided
    assert not found.is_complete


def test_memoization_bounds_the_search() -> None:
    """12 concurrent writes have 479 million orders, and 12 × 2^12 states."""
    concurrent = [write(number, 0, 9) for number in range(12)]
    assert linearize([*concurrent, read(99, 1, 2)], Register(), max_states=60_000).is_decided


times = st.integers(min_value=0, max_value=6)
calls = st.builds(
    lambda is_write, value, invoked, seconds: Call(is_write, value, invoked, invoked + seconds + 0.5),
    st.booleans(),
    st.integers(min_value=0, max_value=2),
    times,
    times,
)


@given(st.lists(calls, max_size=5))
def test_agrees_with_the_definition(history: list[Call]) -> None:
    """A history is linearizable if one of all its permutations is legal and keeps the order of real time."""
    assert linearize(history, Register()).is_complete == any(is_legal(order) for order in permutations(history))


def is_legal(order: Iterable[Call]) -> bool:
    value, latest_invocation = 0, -math.inf
    for call in order:
        if call.returned < latest_invocation or not (call.is_write or call.value == value):
            return False
        value = call.value if call.is_write else value
        latest_invocation = max(latest_invocation, call.invoked)
    return True
