"""The effect key: equal in every repeat of one effect, different for every other effect."""

from dataclasses import replace

import pytest
from graphmesh_nodes.effects import effect_key
from langgraph.runtime import ExecutionInfo

TASK = ExecutionInfo(checkpoint_id="c1", checkpoint_ns="pay:1", task_id="t1", thread_id="th_1")
KEY = effect_key("acme", TASK, 0, "/billing/Charge")


def test_repeat_has_the_same_key() -> None:
    """It depends neither on the attempt, nor on the time, nor on the id of the run."""
    again = replace(TASK, node_attempt=7, node_first_attempt_time=1e9, run_id="another")
    assert effect_key("acme", again, 0, "/billing/Charge") == KEY


@pytest.mark.parametrize(
    "other",
    [
        effect_key("other", TASK, 0, "/billing/Charge"),
        effect_key("acme", replace(TASK, thread_id="th_2"), 0, "/billing/Charge"),
        effect_key("acme", replace(TASK, checkpoint_ns="pay:2"), 0, "/billing/Charge"),
        effect_key("acme", replace(TASK, task_id="t2"), 0, "/billing/Charge"),
        effect_key("acme", TASK, 1, "/billing/Charge"),
        effect_key("acme", TASK, 0, "/billing/Refund"),
    ],
)
def test_other_effects_have_other_keys(other: str) -> None:
    """Tenant, thread, namespace, task, ordinal and method each distinguish effects."""
    assert other != KEY


def test_parts_are_separated() -> None:
    """Moving characters from one part to the next makes another key."""
    left = replace(TASK, checkpoint_ns="ab", task_id="c")
    right = replace(TASK, checkpoint_ns="a", task_id="bc")
    assert effect_key("t", left, 0, "/m") != effect_key("t", right, 0, "/m")
