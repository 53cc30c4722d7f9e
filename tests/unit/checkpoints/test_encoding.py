"""The encoding of heads and values, and the merging of task writes."""

from typing import Any

from graphmesh_orchestrator.checkpoints.bodies import Body, Part
from graphmesh_orchestrator.checkpoints.encoding import Head, merge_writes, number_writes, pack, unpack
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

SERDE = JsonPlusSerializer()


def of_task(*rows: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Merge rows that one task has written one after the other."""
    return [(channel, value) for _, channel, value in merge_writes([("task", "", number_writes(row)) for row in rows])]


def test_the_first_write_is_kept() -> None:
    """A task that is executed again does not change its result."""
    assert of_task([("a", 1), ("b", 2)], [("a", 3), ("b", 4)]) == [("a", 1), ("b", 2)]


def test_the_last_interrupt_is_kept() -> None:
    """Errors, interrupts and resumes are those of the last attempt."""
    assert of_task([(INTERRUPT, 1)], [(INTERRUPT, 2)]) == [(INTERRUPT, 2)]
    assert of_task([(ERROR, "no")], [(ERROR, "never")], [("a", 1)]) == [(ERROR, "never"), ("a", 1)]


def test_interrupts_among_other_writes_do_not_replace_earlier_ones() -> None:
    """LangGraph stores writes that are stored already once more, with a resume among them."""
    assert of_task([("a", 1), (RESUME, 1)], [("a", 1), (RESUME, 2)]) == [(RESUME, 1), ("a", 1)]


def test_writes_are_in_the_order_in_which_they_are_applied() -> None:
    """In the order of the tasks' paths, not of their ends: reducers may depend on it."""
    rows = [
        ("t1", "~2", number_writes([("a", 2)])),
        ("t3", "~1", number_writes([("a", 0), ("a", 1)])),
        ("t2", "", [(0, "a", 9)]),
    ]
    assert [value for _, _, value in merge_writes(rows)] == [9, 0, 1, 2]


def test_a_checkpoint_is_restored_from_its_head_and_values() -> None:
    """Values are taken from the rows that the head names."""
    given = Checkpoint(
        v=4,
        id="c2",
        ts="now",
        channel_values={"a": 1, "b": b"2"},
        channel_versions={"a": 1, "b": 2},
        versions_seen={"n": {"a": 1}},
        updated_channels=["b"],
    )
    bodies = {"a": Body(b"d", 3, (Part(b"p", 2), Part(b"q", 3)))}
    head = Head.of(given, {"step": 1}, {"a": "c1", "b": "c2"}, {"a": 1, "b": 2}, bodies)
    again = Head.unpacked(SERDE, head.packed(SERDE))
    assert again == head
    assert again.with_values({"c1": {"a": 1, "b": b"old"}, "c2": {"b": b"2"}}) == given


def test_unpack_reverses_pack() -> None:
    for value in (None, b"", b"\0\0", "text\0", {"a": [1, b"\0"]}):
        assert unpack(SERDE, pack(SERDE, value)) == value
