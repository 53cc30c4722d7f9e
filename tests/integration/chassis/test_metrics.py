"""Metrics are served to Prometheus: bounded, off the event loop, with the trace of a value."""

import re
import socket
import urllib.request
from contextlib import ExitStack
from typing import Any

import pytest
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError, RuleViolated
from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.telemetry import metrics, names, spans
from graphmesh_chassis.telemetry.metrics import MAX_SERIES, MAX_VALUES, counter, gauge, histogram
from graphmesh_chassis.telemetry.otlp_metrics import exporting
from graphmesh_chassis.telemetry.prometheus import MAX_SCRAPES, recording, served, serving_metrics
from graphmesh_chassis.testing import running
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from tests.integration.chassis.probe import Answer, Probe, Question, servable
from tests.recorded_spans import RUN, recorded

LISTEN = "127.0.0.1:0"
LONG = 60.0
OPEN_METRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
TENANTS = counter("test.tenants", "{call}", "For tests", (names.TENANT,))
PAIRS = counter("test.pairs", "{call}", "For tests", (names.TENANT, names.TOOL))
DURATIONS = histogram("test.duration", "s", "For tests", (names.TOOL,), (0.1, 1))
LEVEL = gauge("test.level", "By", "For tests", (names.TENANT,))


def scrape(address: str, path: str = "/metrics", **headers: str) -> str:
    request = urllib.request.Request(f"http://{address}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=LONG) as response:
        content: bytes = response.read()
    return content.decode()


def samples(text: str, name: str) -> dict[str, float]:
    """The values of a metric, by their labels."""
    found = re.findall(rf"^{name}(?:{{(.*?)}})? (\S+)", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def test_values_are_served_with_units_in_their_names() -> None:
    with serving_metrics(LISTEN) as address:
        TENANTS.add(2, {names.TENANT: "acme"})
        DURATIONS.record(0.5, {names.TOOL: "billing.Refund"})
        end = LEVEL.observe(lambda: [(7, {names.TENANT: "acme"}), (1, {names.TENANT: "acme"})])
        text = scrape(address)
        assert samples(text, "test_tenants_total") == {'graphmesh_tenant="acme"': 2}
        assert samples(text, "test_duration_seconds_sum") == {'graphmesh_tool="billing.Refund"': 0.5}
        assert samples(text, "test_level_bytes") == {'graphmesh_tenant="acme"': 8}
        end()
        assert not samples(scrape(address), "test_level_bytes")


def test_histograms_have_the_trace_of_a_value() -> None:
    with serving_metrics(LISTEN) as address, recorded():
        with spans.joined(RUN):
            DURATIONS.record(0.5, {names.TOOL: "billing.Refund"})
        text = scrape(address, **OPEN_METRICS)
    assert f'trace_id="{RUN[3:35]}"' in text


def test_a_million_values_of_an_attribute_are_bounded() -> None:
    """The rest is counted under `other`: no caller fills the memory of a process, and no count is lost."""
    with serving_metrics(LISTEN) as address:
        for number in range(50_000):
            TENANTS.add(1, {names.TENANT: f"tenant{number}"})
        TENANTS.add(1, {names.TENANT: "x" * 10_000})
        for number in range(20_000):
            PAIRS.add(1, {names.TENANT: f"tenant{number % 200}", names.TOOL: f"tool{number // 200}"})
        text = scrape(address)
    found = samples(text, "test_tenants_total")
    assert len(found) == MAX_VALUES + 1
    assert sum(found.values()) == 50_001
    pairs = samples(text, "test_pairs_total")
    assert len(pairs) == MAX_SERIES + 1
    assert sum(pairs.values()) == 20_000


def test_a_gauge_that_fails_hides_no_other() -> None:
    def fail() -> Any:
        raise ValueError

    with serving_metrics(LISTEN) as address, ExitStack() as stack:
        for observe in (fail, lambda: [(3, {names.TENANT: "acme"})]):
            stack.callback(LEVEL.observe(observe))
        assert samples(scrape(address), "test_level_bytes") == {'graphmesh_tenant="acme"': 3}


def test_scrapers_that_send_nothing_take_bounded_places() -> None:
    """A further one is refused at once, and when they have left, scrapes are answered."""

    def is_refused() -> bool:
        try:
            return not scrape(address)
        except OSError:
            return True

    with serving_metrics(LISTEN) as address:
        TENANTS.add(1, {names.TENANT: "acme"})
        host, _, port = address.rpartition(":")
        with ExitStack() as stack:
            for _ in range(MAX_SCRAPES):
                stack.enter_context(socket.create_connection((host, int(port))))
            while not is_refused():
                pass
        while is_refused():
            pass


def test_without_a_listener_nothing_is_kept() -> None:
    TENANTS.add(1, {names.TENANT: "acme"})
    assert metrics.CATALOG["test.tenants"].unit == "{call}"


def test_one_name_has_one_meaning() -> None:
    with pytest.raises(ValueError, match=r"test\.tenants is declared twice"):
        counter("test.tenants", "s", "Another one")


async def test_calls_of_a_server_are_counted() -> None:
    """By method and reason, with the slots of its services."""

    async def answer(question: Any, context: Any) -> Any:
        if question.text:
            raise RuleViolated(rule="length")
        return Answer()

    with serving_metrics(LISTEN) as address:
        async with running(servable({"Ask": answer}), ServerSettings()) as served:
            await served.channel.unary(Probe.Ask, Question(), deadline=Deadline.after(LONG))
            with pytest.raises(GraphmeshError):
                await served.channel.unary(Probe.Ask, Question(text="x"), deadline=Deadline.after(LONG))
            text = scrape(address)
    method = Probe.Ask.path[1:]
    assert samples(text, "graphmesh_server_call_duration_seconds_count") == {
        f'error_type="",rpc_method="{method}"': 1,
        f'error_type="RULE_VIOLATED",rpc_method="{method}"': 1,
    }
    assert samples(text, "graphmesh_server_slots")


class Collector(MetricExporter):
    """Keeps what is exported, as it is encoded."""

    def __init__(self, result: MetricExportResult = MetricExportResult.SUCCESS) -> None:
        super().__init__()
        self.received: list[Any] = []
        self._result = result

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        self.received.append(encode_metrics(metrics_data))
        return self._result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        return None


def test_metrics_are_exported_at_the_end_at_the_latest() -> None:
    """Under their own names, with the counts of each bucket and the trace of a value."""
    collector = Collector()
    with recording() as recorder, exporting(recorder, "billing", collector, seconds=LONG), recorded():
        TENANTS.add(2, {names.TENANT: "acme"})
        LEVEL.observe(lambda: [(7, {names.TENANT: "acme"})])
        with spans.joined(RUN):
            for seconds in (0.05, 0.5, 0.6, 70):
                DURATIONS.record(seconds, {names.TOOL: "billing.Refund"})
    [resource] = collector.received[-1].resource_metrics
    assert "billing" in str(resource.resource)
    found = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    [count] = found["test.tenants"].sum.data_points
    assert (count.as_double, count.attributes[0].key, found["test.tenants"].sum.is_monotonic) == (2, names.TENANT, True)
    assert found["test.level"].gauge.data_points[0].as_double == 7
    [point] = found["test.duration"].histogram.data_points
    assert (point.count, list(point.bucket_counts), list(point.explicit_bounds)) == (4, [1, 2, 1], [0.1, 1])
    assert {exemplar.trace_id.hex() for exemplar in point.exemplars} == {RUN[3:35]}


def test_what_is_not_delivered_is_counted() -> None:
    with recording() as recorder, served(recorder, LISTEN) as address:
        with exporting(recorder, "billing", Collector(MetricExportResult.FAILURE), seconds=LONG):
            pass
        lost = samples(scrape(address), "graphmesh_telemetry_dropped_total")
    assert lost == {'error_type="NOT_DELIVERED",graphmesh_signal="metrics"': 1}
