"""The graph's shape, its routes, its prompts, and what it asks of the services."""

from pathlib import Path

import pytest
from graphmesh_chassis.errors import ConnectionLost, Unreachable
from graphmesh_orchestrator.errors import InvalidInput
from graphmesh_orchestrator.registry import Graph, Registry
from langgraph.checkpoint.memory import InMemorySaver
from support import convert, graph, nodes, policy, prompts, summary
from support.state import noted

from tests.unit.support.states import passage, state


@pytest.fixture(scope="module")
def support() -> Graph:
    return Registry.load(Path("langgraph.json"), InMemorySaver()).get("support")


def test_registered(support: Graph) -> None:
    """The orchestrator finds it by its langgraph.json, with a description and closed schemas (B1)."""
    assert support.description.startswith("Customer support")
    assert set(support.input_schema["properties"]) == {"customer_id", "message"}
    assert set(support.output_schema["properties"]) >= {"answer", "outcome", "category", "confidence", "ticket_id"}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"message": "hi"}, "input.customer_id"),
        ({"customer_id": "cu 1", "message": "hi"}, "input.customer_id"),
        ({"customer_id": "cu_1", "message": ""}, "input.message"),
        ({"customer_id": "cu_1", "message": "x" * 20_001}, "input.message"),
        ({"customer_id": "cu_1", "message": "hi", "refund": 1}, "input.refund"),
    ],
)
def test_input_is_checked(support: Graph, given: dict[str, object], field: str) -> None:
    """What does not fit is refused at the door, by name."""
    with pytest.raises(InvalidInput) as refused:
        support.check_input(given)
    assert [violation.field for violation in refused.value.violations] == [field]


def test_routes() -> None:
    """A reason leads to a person from everywhere; without one the request goes on."""
    routes = {
        graph.after_receive: "classify",
        graph.after_assess: "draft",
        graph.after_charge: "refund",
        graph.after_refund: "confirm",
        graph.after_draft: "validate",
        graph.after_validate: "finish",
    }
    for route, onward in routes.items():
        assert route(state()) == onward
        assert route(state(reason="unsure")) == "hand_over"
    assert graph.after_assess(state(claim={"invoice_id": "INV-1"})) == "charge"


def test_everything_begins_afresh() -> None:
    """A run is told nothing of the run before it on its thread."""
    fresh = nodes.receive(state(ticket_id="T-1", refund_id="re_1", claim={"invoice_id": "INV-1"}, notes=["old"]))
    assert fresh["ticket_id"] is None
    assert fresh["refund_id"] is None
    assert fresh["claim"] is None
    assert fresh["notes"].value == []
    assert set(fresh) == set(state())


def test_prompt_versions_are_kept() -> None:
    """Every run records which prompts it ran with, and each of them is a file (B10)."""
    fresh = nodes.receive(state())
    assert fresh["prompts"] == {"classify": "v1", "draft": "v1", "replies": "v1"}
    files = {path.name.rsplit(".", 1)[0] for path in prompts.FOLDER.iterdir()}
    assert {f"{name}.{version}" for name, version in prompts.VERSIONS.items()} <= files


def test_words_for_every_reason() -> None:
    """Customer and colleague are told about each way to a person; who reads it and when is said only if it is true."""
    for reason in summary.WHY:
        assert policy.ANSWER_WITHIN in prompts.handed_over(reason, policy.ANSWER_WITHIN)
        assert "takes over" not in prompts.not_handed_over(reason)


def test_classification_schema() -> None:
    """The model chooses among declared intents and causes; it has no say in money, invoices or tools."""
    assert set(prompts.CLASSIFICATION["properties"]) == {"intent", "cause", "confidence"}
    assert {"refund", "question", "account", "complaint", "other"} == set(prompts.INTENTS)


def test_ticket_for_a_person() -> None:
    """The ticket has the message, the reason, the checks, and what is known; within the contract's limits."""
    made = convert.ticket_request(
        state("x" * 20_000, reason="refund_not_automatic", checks={"refund.in_time": False}, passages=[passage("a")])
    )
    assert len(made.description) <= convert.LONGEST_DESCRIPTION
    assert "Failed checks:\n- refund.in_time" in made.description
    assert "INV-1 of 2026-11-12, 33.40 EUR, paid" in made.description
    assert list(made.tags) == ["support-agent", "refund", "refund-not-automatic"]


def test_refund_that_may_have_happened() -> None:
    """A refund is called undone only where it is known not to have been sent."""
    assert nodes._refund_failed(state(), Unreachable())["reason"] == "billing_down"
    assert nodes._refund_failed(state(), ConnectionLost())["reason"] == "refund_uncertain"


def test_notes_of_parallel_nodes() -> None:
    """Each note is kept once, in order."""
    assert noted(["a"], ["b", "a"]) == ["a", "b"]
