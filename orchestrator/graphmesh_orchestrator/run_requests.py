"""Checks the requests for runs, of clients and of schedules, and completes them from their assistants."""

from dataclasses import replace
from functools import partial
from typing import Any

from graphmesh_chassis.errors import FieldViolation, InvalidInput, InvalidRequest, NotFound
from graphmesh_chassis.large_values import convert_aside, is_large
from langgraph.types import StateSnapshot

from graphmesh_orchestrator.assistants.assistant import configured
from graphmesh_orchestrator.assistants.assistants import Assistants
from graphmesh_orchestrator.budgets.tenant_budgets import TenantBudgets
from graphmesh_orchestrator.checkpoints import thread_config
from graphmesh_orchestrator.errors import GraphFactoryFailed
from graphmesh_orchestrator.graph_rates import GraphRates
from graphmesh_orchestrator.registry import Graph, Registry
from graphmesh_orchestrator.roles import NO_RULES, RoleRules
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.webhooks.receivers import Receivers


class RunRequests:
    """The rules for new runs."""

    def __init__(
        self,
        registry: Registry,
        assistants: Assistants,
        receivers: Receivers,
        roles: RoleRules = NO_RULES,
        rates: GraphRates | None = None,
        budgets: TenantBudgets | None = None,
    ) -> None:
        self._registry, self._assistants, self._receivers, self._roles = registry, assistants, receivers, roles
        self._rates, self._budgets = rates, budgets

    async def accepted(self, requested: Run, assistant: str = "") -> Run:
        """Return a run that is to be created, as it is to be stored, and count it for the rate of its graph.

        Raises:
            GraphmeshError: as `checked`.
            RateLimited: the rate of the graph is used up.
            BudgetExceeded, StepLimit, TokenLimit: a budget of the tenant is used up.
        """
        run = await self.checked(requested, assistant)
        if self._budgets:
            await self._budgets.require(run.identity.tenant, run)
        if self._rates:
            await self._rates.count(run)
        return run

    async def checked(self, requested: Run, assistant: str = "") -> Run:
        """Return a run as it is to be stored. `assistant` is the id or the name of the assistant that configures it.

        Raises:
            InvalidRequest: it names neither a graph nor an assistant, or both, or the version of no assistant.
            GraphNotFound: there is no such graph.
            GraphNotAllowed: none of the caller's roles may run it.
            InvalidInput: the input or the context does not fit; or there is no input, and no state to continue from.
            NotFound: there is no such assistant or version of it, or the thread has no such checkpoint.
            WebhookNotAllowed: the host of the webhook_url may not be called.
        """
        if assistant:
            if requested.identity.graph:
                raise _invalid("graph", "cannot be combined with an assistant, which has a graph")
            key = (requested.identity.tenant, assistant, requested.request.assistant_version)
            requested = configured(requested, await self._assistants.resolve(*key))
        elif requested.request.assistant_version:
            raise _invalid("assistant_version", "is of an assistant, and none is named")
        if not requested.identity.graph:
            raise _invalid("graph", "is required, or an assistant")
        is_shown = partial(self._roles.may_run, requested.identity.roles)
        graph = self._registry.get(requested.identity.graph, is_shown)
        self._roles.require_graph(requested.identity.roles, graph.name)
        if not requested.request.recursion_limit:
            requested = replace(requested, request=replace(requested.request, recursion_limit=graph.recursion_limit))
        if requested.request.webhook_url:
            self._receivers.require(requested.request.webhook_url)
        await _check(graph, requested)
        return requested.with_state(**graph.versions.of_run())


async def _check(graph: Graph, requested: Run) -> None:
    """Check a run against the graph whose schemas are published, else against that which a factory makes for it."""
    try:
        await check_run(graph, requested)
    except InvalidInput as refusal:
        if graph.factory is None:
            raise
        try:
            async with graph.of_run(requested) as own:
                await check_run(own, requested)
        except GraphFactoryFailed:
            raise refusal from None


def _invalid(field: str, rule: str) -> InvalidRequest:
    return InvalidRequest(violations=[FieldViolation(field, rule)])


async def check_run(graph: Graph, requested: Run) -> None:
    """Check a run against a graph.

    Raises:
        InvalidInput: as `RunRequests.checked`.
        NotFound: the thread has no such checkpoint.
    """
    graph.check_context(requested.request.context, requested.request.configurable)
    graph.check_breakpoints(requested.request.breakpoints or {})
    if requested.request.input is not None:
        await _check_input(graph, requested, requested.request.input)
    if requested.request.input is None or requested.request.checkpoint_id:
        await _check_checkpoint(graph, requested)


async def _check_input(graph: Graph, requested: Run, value: dict[str, Any]) -> None:
    """Raises InvalidInput. What the input lacks, the state of its thread may have: it is read only then."""
    try:
        await convert_aside(is_large(value), graph.check_input, value, {})
    except InvalidInput:
        if requested.identity.created_thread:
            raise
        stored = (await _state(graph, requested)).values
        await convert_aside(is_large(value), graph.check_input, value, stored)


async def _check_checkpoint(graph: Graph, requested: Run) -> None:
    """Raises NotFound or InvalidInput where the thread lacks the state that the run is to begin from."""
    if (await _state(graph, requested)).created_at is not None:
        return
    if checkpoint_id := requested.request.checkpoint_id:
        raise NotFound(resource="checkpoint", id=checkpoint_id)
    raise InvalidInput(violations=[FieldViolation("input", "is required on a thread without a state")])


async def _state(graph: Graph, requested: Run) -> StateSnapshot:
    """Return the state that a run is to begin from, which is empty if there is none."""
    identity, checkpoint_id = requested.identity, requested.request.checkpoint_id
    return await graph.compiled.aget_state(thread_config(identity.tenant, identity.thread_id, checkpoint_id))
