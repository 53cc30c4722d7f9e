"""Rates of graphs: how many runs of a graph each tenant may create in any window of a period."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from graphmesh_chassis.rated import open_rates
from graphmesh_chassis.settings import BadSetting
from graphmesh_contracts import Rate
from pydantic import SecretStr

from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.runs import Runs, is_repeat

if TYPE_CHECKING:
    from graphmesh_chassis.rates import RateLimit, Rates

SETTING = "GRAPHMESH_ORCHESTRATOR_GRAPH_RATES"


class GraphRates:
    """The rates that graphs have, by their names. Runs of other graphs are not counted."""

    def __init__(self, declared: Mapping[str, Rate], rates: "Rates", runs: Runs) -> None:
        self._declared, self._rates, self._runs = declared, rates, runs

    async def count(self, run: Run) -> None:
        """Count a run that is to be created. The repeat of a request that has created its run is not counted.

        Raises:
            RateLimited: the rate of its graph is used up.
        """
        rate = self._declared.get(run.identity.graph)
        if rate and not await is_repeat(run, self._runs):
            await self._rates.admit([_limit(run, rate)])


def _limit(run: Run, rate: Rate) -> "RateLimit":
    from graphmesh_chassis.rates import RateLimit

    graph = run.identity.graph
    return RateLimit("graph", ("graph", run.identity.tenant, graph), rate, f"graph {graph}", {"graph": graph})


def require_graphs(declared: Mapping[str, Rate], graphs: Collection[str]) -> None:
    """Raises BadSetting where a graph with a rate does not exist."""
    if unknown := sorted(declared.keys() - set(graphs)):
        raise BadSetting(f"{SETTING}: no graph is called {', '.join(unknown)}")


@asynccontextmanager
async def open_graph_rates(
    declared: Mapping[str, Rate], redis_url: SecretStr, answer_seconds: float, runs: Runs
) -> AsyncIterator[GraphRates | None]:
    """Yield the rates of graphs; None where none is declared."""
    if not declared:
        yield None
        return
    rates = open_rates(redis_url, answer_seconds)
    try:
        yield GraphRates(declared, rates, runs)
    finally:
        await rates.close()
