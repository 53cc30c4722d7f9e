"""Listings by the beginning of an id, in every store: the short ids of the command line."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.contract.orchestrator.stores import NOW, WORKER, Stores
from tests.contract.orchestrator.test_approvals import request_row
from tests.contract.orchestrator.test_deliveries import a_delivery
from tests.contract.orchestrator.test_schedules import a_schedule
from tests.contract.runs import a_run

SUFFIXES = ["abcd", "abcd01", "abce", "abc", "0abcd", "abcc" + "f" * 20]


def ids(kind: str) -> Sequence[str]:
    """Return ids of which the first two begin with `<kind>_abcd`, and some that a language sorts between them."""
    return [f"{kind}_{suffix}" for suffix in SUFFIXES] + [f"{kind.upper()}_ABCD02", f"{kind}-abcd02", f"{kind}abcd02"]


async def listed_runs(stores: Stores, prefix: str) -> list[str]:
    return [run.run_id for run in await stores.runs.find("acme", {}, None, 100, prefix)]


async def listed_threads(stores: Stores, prefix: str) -> list[str]:
    return [thread.thread_id for thread in await stores.threads.find("acme", "", None, None, 100, prefix)]


async def listed_approvals(stores: Stores, prefix: str) -> list[str]:
    return [one.approval_id for one in await stores.approvals.find("acme", None, "", None, 100, prefix)]


async def listed_deliveries(stores: Stores, prefix: str) -> list[str]:
    return [one.delivery_id for one in await stores.deliveries.find("acme", {}, None, 100, prefix)]


async def listed_schedules(stores: Stores, prefix: str) -> list[str]:
    return [one.schedule_id for one in await stores.schedules.find("acme", {}, None, 100, prefix)]


LISTINGS = {
    "run": listed_runs,
    "th": listed_threads,
    "apr": listed_approvals,
    "whk": listed_deliveries,
    "sch": listed_schedules,
}


async def add(stores: Stores, kind: str) -> None:
    for number, one in enumerate(ids(kind)):
        match kind:
            case "run":
                await stores.runs.add(a_run(one, thread_id=f"t{number}", created=NOW), WORKER)
            case "th":
                await stores.threads.create("acme", one, "", {}, 0)
            case "apr":
                run = await stores.begun(a_run(f"run_{number}", thread_id=f"t{number}"))
                await stores.park(run, {**request_row(run.run_id), "approval_id": one})
            case "whk":
                await stores.add_deliveries(replace(a_delivery(number), delivery_id=one))
            case "sch":
                await stores.schedules.create(a_schedule(one))


@pytest.mark.parametrize("kind", LISTINGS)
async def test_only_ids_with_the_prefix_are_listed(stores: Stores, kind: str) -> None:
    await add(stores, kind)
    assert sorted(await LISTINGS[kind](stores, f"{kind}_abcd")) == [f"{kind}_abcd", f"{kind}_abcd01"]
    assert await LISTINGS[kind](stores, f"{kind}_abcd01") == [f"{kind}_abcd01"]
    assert await LISTINGS[kind](stores, f"{kind}_ffff") == []
    assert len(await LISTINGS[kind](stores, "")) == len(ids(kind))
