"""Registration, routes, prompts and ticket requests of the support agent."""

import asyncio
from pathlib import Path

import pytest
from graphmesh_chassis.errors import InvalidInput
from graphmesh_orchestrator.graph_loading import loaded_graphs
from graphmesh_orchestrator.registry import Graph
from langgraph.checkpoint.memory import InMemorySaver
from support import convert, graph, nodes, policy, prompts, summary
from support.state import merge_notes

from tests.unit.support.states import passage, state


@pytest.fixture(scope="module")
def support() -> Graph:
    async def load() -> Graph:
        async with loaded_graphs(Path("langgraph.json"), InMemorySaver()) as registry:
            return registry.get("support")

    return asyncio.run(load())


def test_registry_loads_the_agent_with_closed_schemas(support: Graph) -> None:
    """By langgraph.json, with a description."""
    assert support.description.startswith("Customer support")
    assert set(support.input.schema["properties"]) == {"customer_id", "message"}
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
def test_invalid_input_names_the_field(support: Graph, given: dict[str, object], field: str) -> None:
    """Before the graph runs."""
    with pytest.raises(InvalidInput) as refused:
        support.check_input(given, {})
    assert [violation.field for violation in refused.value.violations] == [field]


def test_reason_routes_to_hand_over() -> None:
    """A reason leads to `hand_over` from every route; without one the request continues."""
    routes = {
        graph.after_receive: "classify",
        graph.after_assess: "draft",
        graph.after_preview: "refund",
        graph.after_refund: "preview",
        graph.after_draft: "validate",
        graph.after_validate: "finish",
    }
    for route, following in routes.items():
        assert route(state()) == following
        assert route(state(reason="unsure")) == "hand_over"
    assert graph.after_assess(state(claim={"invoice_id": "INV-1"})) == "preview"
    assert graph.after_refund(state(refund_id="re_1")) == "confirm"


def test_receive_resets_the_state() -> None:
    """A run does not use the findings of an earlier run on its thread."""
    fresh = nodes.receive(state(ticket_id="T-1", refund_id="re_1", claim={"invoice_id": "INV-1"}, notes=["old"]))
    assert fresh["ticket_id"] is None
    assert fresh["refund_id"] is None
    assert fresh["claim"] is None
    assert fresh["notes"].value == []
    assert set(fresh) == set(state())


def test_run_records_prompt_versions() -> None:
    """Each recorded version is a file."""
    fresh = nodes.receive(state())
    assert fresh["prompts"] == {"classify": "v1", "draft": "v1", "replies": "v1"}
    files = {path.name.rsplit(".", 1)[0] for path in prompts.FOLDER.iterdir()}
    assert {f"{name}.{version}" for name, version in prompts.VERSIONS.items()} <= files


def test_every_reason_has_texts() -> None:
    """For customer and staff; the reply promises a person only if the hand-over succeeded."""
    for reason in summary.REASON_TEXTS:
        assert policy.ANSWER_TIME in prompts.handed_over(reason, policy.ANSWER_TIME)
        assert "takes over" not in prompts.not_handed_over(reason)


def test_classification_schema_has_only_declared_choices() -> None:
    """The model chooses among declared intents and causes; it cannot choose amounts, invoices or tools."""
    assert set(prompts.CLASSIFICATION["properties"]) == {"intent", "cause", "confidence"}
    assert {"refund", "question", "account", "complaint", "other"} == set(prompts.INTENTS)


def test_ticket_describes_the_request() -> None:
    """It has the message, the reason, the checks and the invoices, within the contract's limits."""
    ticket = convert.ticket_request(
        state("x" * 20_000, reason="refund_not_automatic", checks={"refund.in_time": False}, passages=[passage("a")])
    )
    assert len(ticket.description) <= convert.MAX_DESCRIPTION_CHARACTERS
    assert "Failed checks:\n- refund.in_time" in ticket.description
    assert "INV-1 of 2026-11-12, 33.40 EUR, paid" in ticket.description
    assert list(ticket.tags) == ["support-agent", "refund", "refund-not-automatic"]


def test_merges_notes_of_parallel_nodes() -> None:
    """Each note is kept once, in order."""
    assert merge_notes(["a"], ["b", "a"]) == ["a", "b"]
