"""A node's RetryPolicy retries failures, and not the decisions of services, approvers and budgets."""

from typing import Any

import pytest
from graphmesh_nodes.errors import ApprovalDenied, GraphmeshError, InvalidInput, NotFound, StepLimit, Unavailable
from graphmesh_nodes.graph_rules import check_graph
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy

ATTEMPTS = 3


def policy(**options: Any) -> RetryPolicy:
    return RetryPolicy(max_attempts=ATTEMPTS, initial_interval=0.001, jitter=False, **options)


async def attempts(error: Exception, retry_policy: RetryPolicy) -> int:
    """Execute a node that raises the error, and return how often it was executed."""
    executed = 0

    async def node(state: dict[str, Any]) -> None:
        nonlocal executed
        executed += 1
        raise error

    builder: Any = StateGraph(dict)
    builder.add_node("node", node, retry_policy=retry_policy)
    builder.add_edge(START, "node")
    graph = builder.compile()
    check_graph(graph)
    with pytest.raises(type(error)):
        await graph.ainvoke({})
    return executed


@pytest.mark.parametrize(
    "error", [NotFound(), InvalidInput(), ApprovalDenied(), StepLimit()], ids=lambda error: error.reason
)
@pytest.mark.parametrize("options", [{}, {"retry_on": Exception}, {"retry_on": [ValueError, Exception]}], ids=str)
async def test_decisions_are_not_retried(error: GraphmeshError, options: dict[str, Any]) -> None:
    assert await attempts(error, policy(**options)) == 1


@pytest.mark.parametrize("error", [Unavailable(), ConnectionError()], ids=repr)
async def test_failures_are_retried(error: Exception) -> None:
    assert await attempts(error, policy()) == ATTEMPTS


@pytest.mark.parametrize(
    "retry_on", [NotFound, (ValueError, NotFound), lambda error: True], ids=["class", "tuple", "own"]
)
async def test_policy_that_names_the_error_decides(retry_on: Any) -> None:
    assert await attempts(NotFound(), policy(retry_on=retry_on)) == ATTEMPTS


async def test_tasks_of_workflows_are_treated_alike() -> None:
    executed = 0

    async def step() -> None:
        nonlocal executed
        executed += 1
        raise NotFound

    as_task: Any = task
    step_task = as_task(retry_policy=policy())(step)

    @entrypoint()
    async def workflow(given: dict[str, Any]) -> None:
        await step_task()

    check_graph(workflow)
    with pytest.raises(NotFound):
        await workflow.ainvoke({})
    assert executed == 1
