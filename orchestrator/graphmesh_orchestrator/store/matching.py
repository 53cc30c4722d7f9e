"""The filters of searches, and the conditions of namespaces, with the meaning that LangGraph gives them.

https://docs.langchain.com/oss/python/langgraph/stores. They are evaluated here and not in SQL, so that SQLite,
PostgreSQL and memory agree.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphmesh_chassis.large_values import size_of
from langgraph.store.base import MatchCondition

from graphmesh_orchestrator.store.item import Namespace, invalid

Filter = Mapping[str, Any]
MAX_CONDITIONS = 100
"""The most members and elements of a filter, which is evaluated for thousands of items."""
MAX_LEVELS = 16


def check_filter(conditions: Filter) -> None:
    """Raises InvalidRequest: it has too many conditions or levels, or an operator is unknown."""
    if size_of(conditions).elements > MAX_CONDITIONS:
        raise invalid("filter", f"has more than {MAX_CONDITIONS} members and elements")
    _check_operators(conditions, "filter", MAX_LEVELS)


def _check_operators(condition: Any, path: str, levels: int) -> None:
    if isinstance(condition, Mapping):
        if levels == 0:
            raise invalid("filter", f"is nested deeper than {MAX_LEVELS} levels")
        has_operators = path != "filter" and _has_operators(condition)
        for name, member in condition.items():
            if not isinstance(name, str):
                raise invalid(path, f"has the name {name!r}, which is no text")
            if has_operators and name not in _OPERATORS:
                raise invalid(f"{path}.{name}", f"is no operator: {', '.join(_OPERATORS)}")
            if not has_operators:
                _check_operators(member, f"{path}.{name}", levels - 1)
    elif isinstance(condition, (list, tuple)):
        for number, element in enumerate(condition):
            _check_operators(element, f"{path}[{number}]", levels - 1)


def matches(value: Mapping[str, Any], conditions: Filter) -> bool:
    """Whether the members of a value meet all conditions; a member that is missing is null."""
    return all(_meets(value.get(name), condition) for name, condition in conditions.items())


def is_below(namespace: Namespace, condition: MatchCondition) -> bool:
    """Whether a namespace begins, or ends, with the labels of a condition, in which `*` is any label."""
    size = len(condition.path)
    if len(namespace) < size:
        return False
    labels = namespace[:size] if condition.match_type == "prefix" else namespace[len(namespace) - size :]
    return all(expected in ("*", label) for label, expected in zip(labels, condition.path, strict=True))


def _meets(value: Any, condition: Any) -> bool:
    """A condition is a value, or an object of operators; the members of another object are conditions themselves."""
    if _has_operators(condition):
        return all(_OPERATORS[operator](value, operand) for operator, operand in condition.items())
    if isinstance(condition, Mapping):
        return isinstance(value, Mapping) and matches(value, condition)
    if isinstance(condition, (list, tuple)):
        return isinstance(value, (list, tuple)) and _all_meet(value, condition)
    return _equal(value, condition)


def _all_meet(values: Sequence[Any], conditions: Sequence[Any]) -> bool:
    return len(values) == len(conditions) and all(map(_meets, values, conditions))


def _has_operators(condition: Any) -> bool:
    return isinstance(condition, Mapping) and any(str(name).startswith("$") for name in condition)


def _equal(value: Any, other: Any) -> bool:
    """As JSON: true is not 1, at any level."""
    match value, other:
        case (Mapping(), Mapping()):
            return value.keys() == other.keys() and all(_equal(value[name], other[name]) for name in value)
        case (list() | tuple(), list() | tuple()):
            return len(value) == len(other) and all(map(_equal, value, other))
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Return an operator that compares two numbers or two texts; nothing else has an order."""

    def compared(value: Any, operand: Any) -> bool:
        if isinstance(value, str) and isinstance(operand, str):
            return compare(value, operand)
        return _is_number(value) and _is_number(operand) and compare(value, operand)

    return compared


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": lambda value, operand: not _equal(value, operand),
    "$gt": _ordered(lambda value, operand: value > operand),
    "$gte": _ordered(lambda value, operand: value >= operand),
    "$lt": _ordered(lambda value, operand: value < operand),
    "$lte": _ordered(lambda value, operand: value <= operand),
}
