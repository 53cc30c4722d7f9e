"""Spans become a tree, a waterfall and a page, whatever is in them."""

from typing import Any

import pytest
from graphmesh.telemetry.v1 import Span
from graphmesh_cli.commands.trace import show
from graphmesh_cli.commands.trace_page import page
from graphmesh_cli.trace_tree import forest, matching, merged, totals, walk
from rich.console import Console

MODEL: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.usage.input_tokens": 900,
    "gen_ai.usage.output_tokens": 100,
    "graphmesh.cost_usd": 0.0035,
}


def span(name: str, number: int, parent: int = 0, *, at: int = 0, ms: int = 10, error: str = "", **values: Any) -> Span:
    found = Span(name=name, service="billing", span_id=f"{number:016x}", failed=bool(error), error_type=error)
    found.parent_span_id = f"{parent:016x}" if parent else ""
    found.start_time.FromMilliseconds(1_000_000 + at)
    found.end_time.FromMilliseconds(1_000_000 + at + ms)
    found.attributes.update(values)
    return found


def names(spans: list[Span]) -> list[tuple[int, str]]:
    return [(depth, node.name) for depth, node in walk(forest(spans))]


def test_children_are_below_their_parents_in_their_order() -> None:
    """Whatever order they arrive in. A span whose parent is not there is a root."""
    spans = [span("second", 3, 1, at=5), span("orphan", 9, 77, at=9), span("first", 2, 1, at=1), span("root", 1)]
    assert names(spans) == [(0, "root"), (1, "first"), (1, "second"), (0, "orphan")]


def test_loops_of_parents_end() -> None:
    """As a sender that lies can make them."""
    assert names([span("a", 1, 2), span("b", 2, 1), span("self", 3, 3), span("root", 4)]) == [(0, "root")]


def test_deep_traces_are_shown() -> None:
    spans = [span("deep", number, number - 1) for number in range(1, 3000)]
    assert len(names(spans)) == 2999
    assert len(list(walk(merged(matching(forest(spans), lambda node: True))))) == 2999


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("graphmesh.billing.v1.BillingService/Refund", "billing.Refund"),
        ("/shop.shipping.v2.ShippingService/Track", "shipping.Track"),
        ("tool billing.Refund", "tool billing.Refund"),
        ("/api/graphs", "/api/graphs"),
    ],
)
def test_calls_have_the_names_of_tools(name: str, shown: str) -> None:
    assert names([span(name, 1)]) == [(0, shown)]


def test_filters_keep_what_is_above() -> None:
    spans = [span("root", 1, ms=100), span("bad", 2, 1, error="TIMEOUT"), span("good", 3, 1), span("below", 4, 2)]
    kept = matching(forest(spans), lambda node: node.span.failed)
    assert [node.name for _, node in walk(kept)] == ["root", "bad"]


def test_many_alike_are_one_line() -> None:
    """But for those that failed."""
    spans = [span("root", 1), *(span("INSERT rows", number, 1, at=number) for number in range(2, 50))]
    spans.append(span("INSERT rows", 99, 1, at=99, error="TIMEOUT"))
    root, group, failed = [node for _, node in walk(merged(forest(spans)))]
    assert (root.name, group.name, group.count, failed.span.error_type) == ("root", "INSERT rows", 48, "TIMEOUT")
    assert group.seconds == pytest.approx(0.057)


def waterfall(spans: list[Span]) -> str:
    console = Console(width=150, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    show(console, forest(spans))
    console.file.close()
    return console.export_text()


def test_waterfall_has_errors_tokens_and_money() -> None:
    spans = [
        span("root", 1, ms=1500),
        span("chat default", 2, 1, at=100, ms=500, **MODEL),
        span("attempt", 3, 1, at=1400, ms=100, error="RATE_LIMITED", **{"graphmesh.attempt": 2}),
    ]
    root, chat, attempt, summary = waterfall(spans).splitlines()
    assert "1.50 s" in root
    assert "900 + 100 tokens  $0.003500" in chat
    assert "RATE_LIMITED  attempt 2" in attempt
    assert root.index("━") < chat.index("━") < attempt.index("━")
    assert summary == "3 lines, 1.50 s, 1000 tokens, $0.003500"
    assert totals(forest(spans)) == (1000, 0.0035)


def test_page_escapes_what_spans_have() -> None:
    """And loads nothing."""
    hostile = "<script>alert(1)</script>\"'&"
    values: dict[str, Any] = {"graphmesh.route": hostile, hostile: hostile}
    spans = [span(hostile, 1, error=hostile, **values)]
    made = page(f"run_{hostile}", forest(spans))
    assert "<script" not in made
    assert "&lt;script&gt;" in made
    for loading in ("http:", "https:", "src=", "@import", "url("):
        assert loading not in made
