"""Serves models for tests, with their accounts in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from graphmesh_chassis.serve import Servable
from graphmesh_chassis.testing import Served, running
from graphmesh_model.__main__ import serving_models
from graphmesh_model.accounting.budgets import Clock, utc_now
from graphmesh_model.accounting.ledger import Ledger
from graphmesh_model.accounting.ledger_memory import MemoryLedger
from graphmesh_model.opening import open_catalogue
from graphmesh_model.settings import Settings


@asynccontextmanager
async def servable_models(
    settings: Settings, ledger: Ledger | None = None, clock: Clock = utc_now
) -> AsyncIterator[Servable]:
    async with (
        open_catalogue(settings) as catalogue,
        serving_models(catalogue, ledger or MemoryLedger(), settings, clock) as service,
    ):
        yield Servable([service])


@asynccontextmanager
async def running_models(
    settings: Settings, ledger: Ledger | None = None, clock: Clock = utc_now
) -> AsyncIterator[Served]:
    async with servable_models(settings, ledger, clock) as servable, running(servable, settings) as served:
        yield served
