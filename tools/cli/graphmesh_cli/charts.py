"""Charts of runs: Vega-Lite specifications of one form, checked, and drawn in the terminal, as SVG or as PNG."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from graphmesh_cli.failures import Failure
from graphmesh_cli.terminal import printable

MAX_POINTS = 1_000
MAX_LABEL = 200
MAX_VALUE = 1e300
MARKS = ("bar", "line")
WIDTH = 48
"""Columns of the longest bar."""


class BadChart(Failure):
    """A specification is not one that is drawn; the message names the member and the rule."""


@dataclass(frozen=True)
class Chart:
    """The labels and numbers of a chart."""

    points: list[tuple[str, float]]
    title: str
    spec: Mapping[str, Any]

    @classmethod
    def of(cls, spec: Any) -> "Chart":
        """Check a specification. Nothing but data in it and two channels is drawn: no address, no expression.

        Raises:
            BadChart: it has another form.
        """
        _require(spec, "chart", {"data", "mark", "encoding"})
        _require(spec["data"], "chart.data", {"values"})
        if spec["mark"] not in MARKS:
            raise BadChart(f"chart.mark: has to be one of {', '.join(MARKS)}")
        _require(spec["encoding"], "chart.encoding", {"x", "y"})
        for channel, field, kind in (("x", "label", "ordinal"), ("y", "value", "quantitative")):
            _check_channel(spec["encoding"][channel], f"chart.encoding.{channel}", field, kind)
        title = spec["encoding"]["y"].get("title", "value")
        return cls(list(_points(spec["data"]["values"])), title, spec)

    def lines(self) -> Iterator[Text]:
        """Yield the chart as bars for a terminal."""
        longest = max((abs(value) for _, value in self.points), default=0) or 1
        width = max((len(label) for label, _ in self.points), default=0)
        yield Text(printable(self.title), style="bold")
        for label, value in self.points:
            size = round(abs(value) / longest * WIDTH)
            bar = "█" * size or "▏"
            style = "red" if value < 0 else "cyan"
            yield Text.assemble(f"{printable(label):<{width}}  ", (bar, style), f" {value:,.10g}")

    def svg(self) -> str:
        """Raises Failure: the package that draws is not installed."""
        return str(_converter().vegalite_to_svg(dict(self.spec), allowed_base_urls=[]))

    def png(self) -> bytes:
        """Raises Failure: the package that draws is not installed."""
        return bytes(_converter().vegalite_to_png(dict(self.spec), scale=2, allowed_base_urls=[]))


def _points(values: Any) -> Iterator[tuple[str, float]]:
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_POINTS:
        raise BadChart(f"chart.data.values: has to be a list of 1 to {MAX_POINTS} values")
    for number, point in enumerate(values):
        name = f"chart.data.values[{number}]"
        _require(point, name, {"label", "value"})
        label, value = point["label"], point["value"]
        if not isinstance(label, str) or len(label) > MAX_LABEL:
            raise BadChart(f"{name}.label: has to be a text of at most {MAX_LABEL} characters")
        if isinstance(value, bool) or not isinstance(value, int | float) or not -MAX_VALUE <= value <= MAX_VALUE:
            raise BadChart(f"{name}.value: has to be a number of at most {MAX_VALUE:g}")
        yield label, float(value)


def _check_channel(channel: Any, name: str, field: str, kind: str) -> None:
    _require(channel, name, {"field", "type"}, {"title", "sort"})
    if channel["field"] != field:
        raise BadChart(f"{name}.field: has to be {field}")
    if channel["type"] != kind:
        raise BadChart(f"{name}.type: has to be {kind}")
    if not isinstance(channel.get("title", ""), str) or len(channel.get("title", "")) > MAX_LABEL:
        raise BadChart(f"{name}.title: has to be a text of at most {MAX_LABEL} characters")
    if channel.get("sort") is not None:
        raise BadChart(f"{name}.sort: has to be null: the order is that of the values")


def _require(value: Any, name: str, members: set[str], optional: Collection[str] = ()) -> None:
    if not isinstance(value, dict):
        raise BadChart(f"{name}: has to be an object")
    if missing := sorted(members - value.keys()):
        raise BadChart(f"{name}.{missing[0]}: is missing")
    if unknown := sorted(value.keys() - members - set(optional)):
        raise BadChart(f"{name}.{unknown[0]}: is not drawn")


def _converter() -> Any:
    try:
        import vl_convert
    except ImportError:
        raise Failure("drawing files needs a package: pip install 'graphmesh-cli[charts]'") from None
    return vl_convert
