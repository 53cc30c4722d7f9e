"""The chart of a result, as a Vega-Lite specification that is made of the rows alone."""

from collections.abc import Sequence
from typing import Any, Literal

Mark = Literal["bar", "line"]
MAX_POINTS = 100


def chart_of(columns: Sequence[str], rows: Sequence[Sequence[object]], unit: str) -> dict[str, Any] | None:
    """Return the chart of a column of labels and one of numbers; None where the rows have another form."""
    if len(columns) != 2 or not 2 <= len(rows) <= MAX_POINTS:
        return None
    label, value = columns
    if not all(isinstance(row[0], str) and _is_number(row[1]) for row in rows):
        return None
    is_period = label in ("month", "year")
    mark: Mark = "line" if is_period and len(rows) > 2 else "bar"
    title = f"{value} in {unit}" if unit else value
    return {
        "data": {"values": [{"label": row[0], "value": row[1]} for row in rows]},
        "mark": mark,
        "encoding": {
            "x": {"field": "label", "type": "ordinal", "title": label, "sort": None},
            "y": {"field": "value", "type": "quantitative", "title": title},
        },
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
