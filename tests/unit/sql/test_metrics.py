"""SQL is made of declared metrics and dimensions, and of pre-aggregated tables where they have all that is wanted."""

from dataclasses import replace

import pytest
from graphmesh_sql.declarations import Dataset
from graphmesh_sql.domain import Rule, RuleBroken
from graphmesh_sql.metrics import Filter, MetricQuery, plan

SALES = {
    "from": "invoice i JOIN customer c USING (customer_id)",
    "dimensions": {"country": "c.country", "month": "strftime('%Y-%m', i.day)"},
    "metrics": {"revenue": "sum(i.total)", "invoices": "count(*)"},
    "aggregates": [
        {"table": "monthly", "use": "always", "dimensions": {"month": "month"}, "metrics": {"revenue": "sum(total)"}},
        {"table": "yearly", "dimensions": {"country": "land"}, "metrics": {"revenue": "sum(total)"}},
    ],
}
DATASETS = {"sales": Dataset.model_validate(SALES)}
QUERY = MetricQuery("sales", ("revenue", "invoices"), ("country",), (), ())


def test_query_groups_metrics_by_dimensions() -> None:
    filters = Filter("country", "IN", ("DE", "FR")), Filter("month", "GREATER_OR_EQUAL", ("2026-01",))
    made = plan(replace(QUERY, filters=filters, order_by=("-revenue", "country")), DATASETS)
    assert made.statement.text == (
        'SELECT c.country AS "country", sum(i.total) AS "revenue", count(*) AS "invoices"\n'
        "FROM invoice i JOIN customer c USING (customer_id)\n"
        "WHERE (c.country) IN ($1, $2) AND (strftime('%Y-%m', i.day)) >= $3\n"
        "GROUP BY 1\n"
        'ORDER BY "revenue" DESC, "country"'
    )
    assert made.statement.parameters == ("DE", "FR", "2026-01")
    assert made.fallback is None


def test_query_without_dimensions_is_one_row() -> None:
    made = plan(replace(QUERY, dimensions=()), DATASETS).statement.text
    assert "GROUP" not in made
    assert "ORDER" not in made


def test_aggregate_is_read_where_it_has_everything() -> None:
    """Always, or after the query of the dataset; never where a filter needs another dimension."""
    monthly = MetricQuery("sales", ("revenue",), ("month",), (), ())
    assert "FROM monthly" in plan(monthly, DATASETS).statement.text
    yearly = plan(replace(monthly, dimensions=("country",)), DATASETS)
    assert "FROM invoice" in yearly.statement.text
    assert yearly.fallback is not None
    assert yearly.fallback.text.startswith('SELECT land AS "country"')
    for other in (
        replace(monthly, metrics=("invoices",)),
        replace(monthly, filters=(Filter("country", "IN", ("DE",)),)),
        replace(monthly, dimensions=("month", "country")),
    ):
        made = plan(other, DATASETS)
        assert "FROM invoice" in made.statement.text
        assert made.fallback is None


@pytest.mark.parametrize(
    ("query", "part"),
    [
        (replace(QUERY, dataset="costs"), "no dataset costs; there are: sales"),
        (replace(QUERY, metrics=("profit",)), "no metric profit in sales"),
        (replace(QUERY, dimensions=("city",)), "no dimension city in sales; there are: country, month"),
        (replace(QUERY, filters=(Filter("city", "IN", (1,)),)), "no dimension city"),
        (replace(QUERY, order_by=("month",)), "no month to order it by"),
        (replace(QUERY, metrics=("revenue", "revenue")), "named twice"),
        (replace(QUERY, filters=(Filter("month", "LESS", (1, 2)),)), "one value; there are 2"),
    ],
)
def test_undeclared_names_are_refused_with_those_that_there_are(query: MetricQuery, part: str) -> None:
    with pytest.raises(RuleBroken, match=part) as refusal:
        plan(query, DATASETS)
    assert refusal.value.rule is Rule.METRIC


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {}},
        {"metrics": {"1x": "sum(a)"}},
        {"metrics": {"country": "sum(a)"}, "aggregates": []},
        {"aggregates": [{"table": "x", "metrics": {"profit": "sum(a)"}}]},
        {"aggregates": [{"table": "x", "metrics": {"revenue": "sum(a)"}, "use": "sometimes"}]},
        {"form": "x"},
    ],
)
def test_bad_datasets_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Dataset.model_validate({**SALES, **change})
