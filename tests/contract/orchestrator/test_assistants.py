"""Assistants in every store: versions, names, bounds."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphmesh_chassis.errors import AlreadyExists, NotFound, VersionMismatch
from graphmesh_orchestrator.assistants.assistant import Assistant, Configuration, configured, contains
from graphmesh_orchestrator.errors import ResourceLimit

from tests.contract.orchestrator.stores import TENANT, Stores
from tests.contract.runs import a_run

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def an_assistant(assistant_id: str = "a", *, tenant: str = TENANT, created: datetime = NOW, **given: Any) -> Assistant:
    return Assistant(tenant, assistant_id, 1, Configuration(**{"graph": "pay", **given}), created, created)


async def updated(stores: Stores, assistant_id: str = "a", **changes: Any) -> Assistant:
    """Add a version with changes to an assistant."""
    latest = await stores.assistants.get(TENANT, assistant_id)
    changed = replace(latest.configuration, **changes)
    return await stores.assistants.add_version(latest, changed, NOW + timedelta(seconds=latest.version))


async def test_assistant_is_read_as_it_was_created(stores: Stores) -> None:
    given: dict[str, Any] = {
        "name": "Ada's",
        "description": "d",
        "context": {"a": [1, None]},
        "configurable": {"k": "v"},
    }
    created = an_assistant(**given, recursion_limit=7, metadata={"team": {"n": 1}})
    await stores.assistants.create(created)
    assert await stores.assistants.get(TENANT, "a") == created
    assert await stores.assistants.resolve(TENANT, "Ada's") == created
    assert await stores.assistants.resolve(TENANT, "a") == created


async def test_id_and_name_are_unique_in_a_tenant(stores: Stores) -> None:
    await stores.assistants.create(an_assistant(name="one"))
    await stores.assistants.create(an_assistant(tenant="globex", name="one"))
    with pytest.raises(AlreadyExists, match="assistant a"):
        await stores.assistants.create(an_assistant(name="two"))
    with pytest.raises(AlreadyExists, match="assistant one"):
        await stores.assistants.create(an_assistant("b", name="one"))
    await stores.assistants.create(an_assistant("b"))
    await stores.assistants.create(an_assistant("c"))
    with pytest.raises(AlreadyExists, match="assistant one"):
        await updated(stores, "b", name="one")
    assert (await stores.assistants.get(TENANT, "b")).version == 1


async def test_id_takes_precedence_over_the_name_of_another(stores: Stores) -> None:
    await stores.assistants.create(an_assistant("a"))
    await stores.assistants.create(an_assistant("b", name="a"))
    assert (await stores.assistants.resolve(TENANT, "a")).assistant_id == "a"
    await stores.assistants.delete(TENANT, "a")
    assert (await stores.assistants.resolve(TENANT, "a")).assistant_id == "b"


async def test_each_update_is_a_version_and_the_latest(stores: Stores) -> None:
    await stores.assistants.create(an_assistant(name="one"))
    second = await updated(stores, name="two", graph="other")
    assert (second.version, second.configuration.name, second.created) == (2, "two", NOW)
    assert await stores.assistants.resolve(TENANT, "two") == second
    with pytest.raises(NotFound):
        await stores.assistants.resolve(TENANT, "one")
    versions = await stores.assistants.versions(TENANT, "a", 0, 10)
    assert [version.configuration.name for version in versions] == ["two", "one"]
    assert [version.version for version in await stores.assistants.versions(TENANT, "a", 2, 10)] == [1]


async def test_older_version_is_found_by_its_number(stores: Stores) -> None:
    """By the id, or by the name that the latest version has."""
    first = an_assistant(name="one")
    await stores.assistants.create(first)
    second = await updated(stores, name="two")
    assert await stores.assistants.resolve(TENANT, "two", 1) == first
    assert await stores.assistants.resolve(TENANT, "a", 2) == second
    with pytest.raises(NotFound, match="version 3"):
        await stores.assistants.resolve(TENANT, "a", 3)


async def test_older_version_becomes_the_latest_and_numbers_continue(stores: Stores) -> None:
    await stores.assistants.create(an_assistant(name="one"))
    await updated(stores, name="two", graph="other")
    first = await stores.assistants.set_latest(TENANT, "a", 1)
    assert first == await stores.assistants.get(TENANT, "a") == await stores.assistants.resolve(TENANT, "one")
    assert [one.version for one in await stores.assistants.find(TENANT, "pay", None, 10)] == [1]
    assert (await updated(stores, description="d")).version == 3
    with pytest.raises(NotFound, match="version 9"):
        await stores.assistants.set_latest(TENANT, "a", 9)


async def test_version_whose_name_another_has_does_not_become_the_latest(stores: Stores) -> None:
    await stores.assistants.create(an_assistant(name="one"))
    await updated(stores, name="two")
    await stores.assistants.create(an_assistant("b", name="one"))
    with pytest.raises(AlreadyExists, match="assistant one"):
        await stores.assistants.set_latest(TENANT, "a", 1)
    assert (await stores.assistants.get(TENANT, "a")).version == 2


async def test_updates_at_the_same_time_make_one_version(stores: Stores) -> None:
    await stores.assistants.create(an_assistant())
    latest = await stores.assistants.get(TENANT, "a")
    adding = (stores.assistants.add_version(latest, Configuration("pay", f"n{number}"), NOW) for number in range(5))
    outcomes = await asyncio.gather(*adding, return_exceptions=True)
    assert sum(isinstance(outcome, VersionMismatch) for outcome in outcomes) == 4
    assert (await stores.assistants.get(TENANT, "a")).version == 2


async def test_versions_are_bounded(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("assistants", "assistants_sql"):
        monkeypatch.setattr(f"graphmesh_orchestrator.assistants.{module}.MAX_VERSIONS", 5)
    await stores.assistants.create(an_assistant())
    for number in range(7):
        await updated(stores, description=str(number))
    kept = await stores.assistants.versions(TENANT, "a", 0, 1000)
    assert [version.version for version in kept] == [8, 7, 6, 5, 4]


async def test_assistants_of_a_tenant_are_bounded(stores: Stores) -> None:
    assistants = stores.assistants_with(max_assistants=2)
    for name in "ab":
        await assistants.create(an_assistant(name))
    with pytest.raises(ResourceLimit, match="2 assistants"):
        await assistants.create(an_assistant("c"))
    await assistants.create(an_assistant("c", tenant="globex"))
    await assistants.delete(TENANT, "a")
    await assistants.create(an_assistant("c"))


async def test_find_returns_pages_the_newest_first(stores: Stores) -> None:
    for number in range(5):
        created = NOW + timedelta(seconds=number)
        await stores.assistants.create(an_assistant(f"a{number}", created=created, graph=f"g{number % 2}"))
    seen: list[str] = []
    before: Any = None
    while page := await stores.assistants.find(TENANT, "", before, 2):
        seen += [assistant.assistant_id for assistant in page]
        before = (page[-1].created, page[-1].assistant_id)
    assert seen == ["a4", "a3", "a2", "a1", "a0"]
    assert [one.assistant_id for one in await stores.assistants.find(TENANT, "g1", None, 10)] == ["a3", "a1"]


async def test_assistant_is_visible_to_its_tenant_alone(stores: Stores) -> None:
    await stores.assistants.create(an_assistant(name="one"))
    read = await stores.assistants.get(TENANT, "a")
    foreign = replace(read, tenant="globex")
    for call in (
        stores.assistants.get("globex", "a"),
        stores.assistants.resolve("globex", "one"),
        stores.assistants.versions("globex", "a", 0, 10),
        stores.assistants.add_version(foreign, read.configuration, NOW),
        stores.assistants.set_latest("globex", "a", 1),
        stores.assistants.delete("globex", "a"),
    ):
        with pytest.raises(NotFound):
            await call
    assert await stores.assistants.find("globex", "", None, 10) == []
    assert await stores.assistants.get(TENANT, "a") == read


async def test_deleted_assistant_leaves_its_id_and_name(stores: Stores) -> None:
    await stores.assistants.create(an_assistant(name="one"))
    await updated(stores, description="d")
    await stores.assistants.delete(TENANT, "a")
    with pytest.raises(NotFound):
        await stores.assistants.versions(TENANT, "a", 0, 10)
    await stores.assistants.create(an_assistant(name="one"))
    assert len(await stores.assistants.versions(TENANT, "a", 0, 10)) == 1


async def test_run_records_its_assistant_and_keeps_it(stores: Stores) -> None:
    """Deleting the assistant changes nothing about the run."""
    assistant = an_assistant(context={"a": 1, "b": 1}, configurable={"k": 1}, recursion_limit=7)
    await stores.assistants.create(assistant)
    run = configured(a_run(context={"b": 2}, recursion_limit=0), assistant)
    await stores.runs.add(run, "")
    await stores.assistants.delete(TENANT, "a")
    [stored] = await stores.runs.find(TENANT, {"assistant_id": "a"}, None, 10)
    assert (stored.request.assistant_id, stored.request.assistant_version) == ("a", 1)
    assert (stored.request.context, stored.request.configurable) == ({"a": 1, "b": 2}, {"k": 1})
    assert (stored.identity.graph, stored.request.recursion_limit) == ("pay", 7)


@pytest.mark.parametrize(
    ("value", "part", "expected"),
    [
        ({"a": 1, "b": {"c": [1], "d": 2}}, {"b": {"c": [1]}}, True),
        ({"a": 1}, {}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {"b": None}, False),
        ({"a": None}, {"a": None}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": 1}, {"a": {"b": 1}}, False),
    ],
)
def test_metadata_contains_a_filter(value: Any, part: Any, expected: bool) -> None:
    assert contains(value, part) is expected
