"""Makes SQL of declared metrics and dimensions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graphmesh_sql.declarations import Aggregate, Dataset
from graphmesh_sql.domain import Rule, RuleBroken, Value

COMPARISONS: Final = {
    "LESS": "<",
    "LESS_OR_EQUAL": "<=",
    "GREATER": ">",
    "GREATER_OR_EQUAL": ">=",
}


@dataclass(frozen=True)
class Filter:
    dimension: str
    operator: str
    """IN, NOT_IN, or one of COMPARISONS, which have one value."""
    values: tuple[Value, ...]


@dataclass(frozen=True)
class MetricQuery:
    dataset: str
    metrics: tuple[str, ...]
    dimensions: tuple[str, ...]
    filters: tuple[Filter, ...]
    order_by: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    text: str
    parameters: tuple[Value, ...]


@dataclass(frozen=True)
class Plan:
    """The statement to run, and one of a pre-aggregated table to run instead where it is too expensive or too slow."""

    statement: Statement
    fallback: Statement | None


def plan(query: MetricQuery, datasets: Mapping[str, Dataset]) -> Plan:
    """Make the statements of a query.

    Raises:
        RuleBroken: a dataset, metric or dimension is not declared, or named twice.
    """
    dataset = datasets.get(query.dataset)
    if dataset is None:
        raise RuleBroken(Rule.METRIC, f"there is no dataset {query.dataset}; {_listed(datasets)}")
    _check_names(query, dataset)
    own = _statement(query, dataset.source, dataset.dimensions, dataset.metrics)
    aggregate = next((one for one in dataset.aggregates if _covers(one, query)), None)
    if aggregate is None:
        return Plan(own, None)
    instead = _statement(query, aggregate.table, aggregate.dimensions, aggregate.metrics)
    return Plan(instead, None) if aggregate.use == "always" else Plan(own, instead)


def _check_names(query: MetricQuery, dataset: Dataset) -> None:
    for kind, names, declared in (
        ("metric", query.metrics, dataset.metrics),
        ("dimension", query.dimensions, dataset.dimensions),
        ("dimension", [one.dimension for one in query.filters], dataset.dimensions),
    ):
        if unknown := next((name for name in names if name not in declared), None):
            raise RuleBroken(Rule.METRIC, f"there is no {kind} {unknown} in {query.dataset}; {_listed(declared)}")
    selected = (*query.dimensions, *query.metrics)
    if len(set(selected)) < len(selected):
        raise RuleBroken(Rule.METRIC, "a metric or dimension is named twice")
    if unknown := next((name for name in query.order_by if name.removeprefix("-") not in selected), None):
        raise RuleBroken(Rule.METRIC, f"the result has no {unknown} to order it by; {_listed(selected)}")
    for one in query.filters:
        if one.operator in COMPARISONS and len(one.values) != 1:
            raise RuleBroken(
                Rule.METRIC, f"the filter {one.dimension} compares with one value; there are {len(one.values)}"
            )


def _covers(aggregate: Aggregate, query: MetricQuery) -> bool:
    needed = {*query.dimensions, *(one.dimension for one in query.filters)}
    return needed <= aggregate.dimensions.keys() and set(query.metrics) <= aggregate.metrics.keys()


def _statement(query: MetricQuery, source: str, dimensions: Mapping[str, str], metrics: Mapping[str, str]) -> Statement:
    columns = [(dimensions[name], name) for name in query.dimensions] + [
        (metrics[name], name) for name in query.metrics
    ]
    parameters: list[Value] = []
    conditions = [_condition(dimensions[one.dimension], one, parameters) for one in query.filters]
    positions = ", ".join(str(at) for at in range(1, len(query.dimensions) + 1))
    order = ", ".join(_order(query.order_by)) or positions
    lines = [
        f"SELECT {', '.join(f'{expression} AS {_quoted(name)}' for expression, name in columns)}",
        f"FROM {source}",
        f"WHERE {' AND '.join(conditions)}" if conditions else "",
        f"GROUP BY {positions}" if positions else "",
        f"ORDER BY {order}" if order else "",
    ]
    return Statement("\n".join(filter(None, lines)), tuple(parameters))


def _condition(expression: str, one: Filter, parameters: list[Value]) -> str:
    numbers = [f"${len(parameters) + at}" for at in range(1, len(one.values) + 1)]
    parameters += one.values
    if one.operator in COMPARISONS:
        return f"({expression}) {COMPARISONS[one.operator]} {numbers[0]}"
    return f"({expression}) {'NOT IN' if one.operator == 'NOT_IN' else 'IN'} ({', '.join(numbers)})"


def _order(names: Sequence[str]) -> Iterable[str]:
    for name in names:
        yield f"{_quoted(name.removeprefix('-'))}{' DESC' if name.startswith('-') else ''}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _listed(names: Iterable[str]) -> str:
    return f"there are: {', '.join(names) or 'none'}"
