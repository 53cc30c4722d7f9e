"""`graphmesh store`: output and exit codes."""

import json

import pytest

from tests.integration.client.test_command_line import graphmesh
from tests.integration.orchestrator.mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_items_are_stored_read_listed_and_deleted(mesh: Mesh) -> None:
    async with mesh.as_new_tenant() as here:
        assert await graphmesh(here, "store", "search") == "no items\n"
        assert await graphmesh(here, "store", "namespaces") == "no namespaces\n"
        stored = await graphmesh(here, "store", "put", "users.ada b", "prefs", '{"theme": "dark", "n": 3}')
        assert stored == "users.ada b prefs is stored\n"
        await graphmesh(here, "store", "put", "users.bob", "[b]", '{"theme": "light"}', "--ttl", "2h")
        assert json.loads(await graphmesh(here, "store", "get", "users.ada b", "prefs")) == {"theme": "dark", "n": 3}
        item = json.loads(await graphmesh(here, "store", "get", "users.bob", "[b]", "--json"))
        assert (item["namespace"], item["key"], item["value"]) == (["users", "bob"], "[b]", {"theme": "light"})
        assert item["time_to_live"] == "7200s"
        assert "expires 2:00:00 after" in await graphmesh(here, "store", "get", "users.bob", "[b]")
        listed = await graphmesh(here, "store", "search", "users")
        assert [line.split()[0] for line in listed.splitlines()[1:]] == ["users.bob", "users.ada"]
        assert '"theme": "dark"' in listed
        assert "[b]" in listed
        found = await graphmesh(here, "store", "search", "--filter", '{"n": {"$gte": 3}}', "--json")
        assert [json.loads(line)["key"] for line in found.splitlines()] == ["prefs"]
        namespaces = await graphmesh(here, "store", "namespaces", "users")
        assert [line.rstrip() for line in namespaces.splitlines()] == ["namespace", "users.ada b", "users.bob"]
        assert await graphmesh(here, "store", "namespaces", "--depth", "1", "--json") == '{"namespace": ["users"]}\n'
        assert await graphmesh(here, "store", "delete", "users.bob", "[b]") == "users.bob [b] is deleted\n"
        missing = await graphmesh(here, "store", "get", "users.bob", "[b]", exits=1)
        assert "There is no item [b]" in missing


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("put", "n", "k", "{"), "is no JSON object"),
        (("put", "n", "k", "[1]"), "must be a JSON object"),
        (("put", "n", "k", '{"a": NaN}'), ".a: has to be a finite number"),
        (("put", "n", "k", '{"a": "\\ud800"}'), ".a: has a lone surrogate"),
        (("put", "n", "k", "[" * 100_000), "is no JSON object"),
        (("put", "n", "k", "{}", "--ttl", "soon"), "must be a number followed by s, m, h or d"),
        (("search", "--filter", "x"), "is no JSON object"),
    ],
)
async def test_mistakes_are_named_without_a_traceback(mesh: Mesh, words: tuple[str, ...], message: str) -> None:
    output = await graphmesh(mesh, "store", *words, exits=2)
    assert message in " ".join(output.replace("│", "").split())
    assert "Traceback" not in output


async def test_refusal_of_the_mesh_names_the_field(mesh: Mesh) -> None:
    refused = await graphmesh(mesh, "store", "search", "--filter", '{"a": {"$in": 1}}', exits=1)
    assert "INVALID_REQUEST: filter.a.$in: is no operator" in refused
    assert "namespace[1]" in await graphmesh(mesh, "store", "get", "a..b", "k", exits=1)
