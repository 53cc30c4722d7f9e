"""Charts are drawn of data alone; any other specification is refused by the member."""

import json
from importlib import resources
from typing import Any

import jsonschema
import pytest
from analyst.chart import chart_of
from graphmesh_cli.charts import BadChart, Chart

SPEC: dict[str, Any] = chart_of(["country", "revenue"], [["Norway", 10], ["Canada", 2.5]], "EUR") or {}


def test_specification_of_the_analyst_fits_the_schema_of_vega_lite() -> None:
    file = resources.files("altair.vegalite.v6.schema") / "vega-lite-schema.json"
    schema = json.loads(file.read_text(encoding="utf-8"))
    months = chart_of(["month", "revenue"], [["2026-01", 1], ["2026-02", 2], ["2026-03", 3]], "")
    for spec in (SPEC, months):
        jsonschema.validate(spec, schema)


def test_bars_are_as_long_as_their_values() -> None:
    title, *bars = [line.plain for line in Chart.of(SPEC).lines()]
    assert title == "revenue in EUR"
    assert [bar.count("█") for bar in bars] == [48, 12]
    assert bars[1].endswith(" 2.5")


def test_files_are_drawn() -> None:
    pytest.importorskip("vl_convert", reason="the extra charts is not installed")
    assert Chart.of(SPEC).svg().startswith("<svg")
    assert Chart.of(SPEC).png().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"data": {"url": "https://evil.example"}}, "chart.data.values"),
        ({"data": {"values": []}}, "chart.data.values"),
        ({"data": {"values": [{"label": "a", "value": 1}] * 1001}}, "chart.data.values"),
        ({"data": {"values": [{"label": "a", "value": "1"}]}}, "chart.data.values[0].value"),
        ({"data": {"values": [{"label": "a", "value": float("nan")}]}}, "chart.data.values[0].value"),
        ({"data": {"values": [{"label": "a", "value": float("-inf")}]}}, "chart.data.values[0].value"),
        ({"data": {"values": [{"label": "a", "value": 10**400}]}}, "chart.data.values[0].value"),
        ({"data": {"values": [{"label": "a", "value": 1, "href": "x"}]}}, "chart.data.values[0].href"),
        ({"mark": {"type": "image", "url": "https://evil.example"}}, "chart.mark"),
        ({"transform": [{"calculate": "1", "as": "x"}]}, "chart.transform"),
        ({"$schema": "https://evil.example"}, "chart.$schema"),
        ({"encoding": {"x": {"field": "label", "type": "ordinal"}}}, "chart.encoding.y"),
        ({"encoding": {**SPEC["encoding"], "y": {"field": "label", "type": "quantitative"}}}, "chart.encoding.y.field"),
        ({"encoding": {**SPEC["encoding"], "y": {"field": "value", "type": "nominal"}}}, "chart.encoding.y.type"),
    ],
)
def test_other_specifications_are_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(BadChart, match=named.replace("[", r"\[").replace("$", r"\$")):
        Chart.of({**SPEC, **change})


def test_rows_of_another_form_have_no_chart() -> None:
    assert chart_of(["n"], [[1]], "") is None
    assert chart_of(["a", "n"], [["a", 1]], "") is None
    assert chart_of(["a", "b"], [["a", "b"], ["c", "d"]], "") is None
