"""What of a task's writes is kept, and in which order they are applied."""

from typing import Any

from graphmesh_orchestrator.checkpoints.encoding import Head, merged, numbered, pack, unpack
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

SERDE = JsonPlusSerializer()


def of_task(*rows: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """What is kept of rows that one task wrote one after the other."""
    return [(channel, value) for _, channel, value in merged([("task", "", numbered(row)) for row in rows])]


def test_the_first_write_stays() -> None:
    """A task that runs again does not change what it has answered."""
    assert of_task([("a", 1), ("b", 2)], [("a", 3), ("b", 4)]) == [("a", 1), ("b", 2)]


def test_the_last_interrupt_stays() -> None:
    """Errors, interrupts and resumes are those of the last attempt."""
    assert of_task([(INTERRUPT, 1)], [(INTERRUPT, 2)]) == [(INTERRUPT, 2)]
    assert of_task([(ERROR, "no")], [(ERROR, "never")], [("a", 1)]) == [(ERROR, "never"), ("a", 1)]


def test_special_writes_among_others_are_as_the_others() -> None:
    """LangGraph saves what is in the list already again: it is there."""
    assert of_task([("a", 1), (RESUME, 1)], [("a", 1), (RESUME, 2)]) == [(RESUME, 1), ("a", 1)]


def test_writes_are_in_the_order_in_which_they_are_applied() -> None:
    """By the paths of the tasks, not by when they ended: reducers may depend on it."""
    rows = [("t1", "~2", numbered([("a", 2)])), ("t3", "~1", numbered([("a", 0), ("a", 1)])), ("t2", "", [(0, "a", 9)])]
    assert [value for _, _, value in merged(rows)] == [9, 0, 1, 2]


def test_a_head_is_the_checkpoint_without_its_values() -> None:
    """They are put in again from where they are."""
    given = Checkpoint(
        v=4,
        id="c2",
        ts="now",
        channel_values={"a": 1, "b": b"2"},
        channel_versions={"a": 1, "b": 2},
        versions_seen={"n": {"a": 1}},
        updated_channels=["b"],
    )
    head = Head.of(given, {"step": 1}, {"a": "c1", "b": "c2"}, {"a": 1, "b": 2})
    again = Head.unpacked(SERDE, head.packed(SERDE))
    assert again == head
    assert again.filled({"c1": {"a": 1, "b": b"old"}, "c2": {"b": b"2"}}) == given


def test_bytes_come_back_as_they_were() -> None:
    for value in (None, b"", b"\0\0", "text\0", {"a": [1, b"\0"]}):
        assert unpack(SERDE, pack(SERDE, value)) == value
