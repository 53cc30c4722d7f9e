"""The cache of results keeps what is small and repeatable, by all that a result depends on."""

from dataclasses import replace

import pytest
from graphmesh_sql.domain import End, Estimate, Head, Limits, Query, ResultPart, Row, Truncation
from graphmesh_sql.result_cache import ResultCache

QUERY = Query("SELECT $1", (1,), "acme", "analyst", "", Limits(5, 100, 1000))
HEAD = Head((), Estimate(1, None, ()), repeatable=True, version="v1")


def store(cache: ResultCache, query: Query, *parts: ResultPart) -> None:
    recording = cache.recording()
    for part in parts:
        recording.add(part)
    cache.store(query, recording, 0.5)


def rows(size: int) -> list[Row]:
    return [("x" * size,)]


def test_finds_the_result_of_an_equal_query() -> None:
    cache = ResultCache(60, 1 << 20)
    store(cache, QUERY, HEAD, rows(5), End(1, Truncation.NONE))
    found = cache.find(replace(QUERY, limits=replace(QUERY.limits, seconds=3)))
    assert found is not None
    assert found.parts == (HEAD, rows(5), End(1, Truncation.NONE))


@pytest.mark.parametrize(
    "other",
    [
        replace(QUERY, text="SELECT  $1"),
        replace(QUERY, parameters=(1.0,)),
        replace(QUERY, parameters=(True,)),
        replace(QUERY, tenant="globex"),
        replace(QUERY, role=""),
        replace(QUERY, limits=replace(QUERY.limits, max_rows=99)),
    ],
)
def test_another_text_value_tenant_role_or_limit_is_another_query(other: Query) -> None:
    cache = ResultCache(60, 1 << 20)
    store(cache, QUERY, HEAD, End(0, Truncation.NONE))
    assert cache.find(other) is None


@pytest.mark.parametrize("head", [replace(HEAD, repeatable=False), replace(HEAD, version="")])
def test_result_that_may_differ_is_not_stored(head: Head) -> None:
    cache = ResultCache(60, 1 << 20)
    store(cache, QUERY, head, End(0, Truncation.NONE))
    assert cache.find(QUERY) is None


def test_large_result_is_not_stored_and_old_ones_make_room() -> None:
    cache = ResultCache(60, 160_000)
    store(cache, QUERY, HEAD, rows(5000), End(1, Truncation.NONE))
    assert cache.find(QUERY) is None
    queries = [replace(QUERY, parameters=(number,)) for number in range(50)]
    for query in queries:
        store(cache, query, HEAD, rows(1000), End(1, Truncation.NONE))
    found = [cache.find(query) is not None for query in queries]
    assert found == sorted(found)
    assert 20 < sum(found) < 50


def test_no_result_is_stored_where_the_cache_is_off() -> None:
    for cache in (ResultCache(0, 1 << 20), ResultCache(60, 0)):
        store(cache, QUERY, HEAD, End(0, Truncation.NONE))
        assert cache.find(QUERY) is None
