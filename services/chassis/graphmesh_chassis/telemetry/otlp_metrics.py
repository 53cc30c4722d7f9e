"""The metrics of a process as OTLP, sent to a collector at an interval: https://opentelemetry.io/docs/specs/otlp/."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as OtlpMetric
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import Metric
from prometheus_client.samples import Sample

from graphmesh_chassis.settings import ServerSettings
from graphmesh_chassis.telemetry import names
from graphmesh_chassis.telemetry.export import DROPPED, LOG_SECONDS
from graphmesh_chassis.telemetry.metrics import CATALOG, Instrument, label_name, prometheus_name
from graphmesh_chassis.telemetry.prometheus import PrometheusRecorder

INTERVAL_SECONDS = 10.0
EXPORT_SECONDS = 5.0
SCOPE = InstrumentationScope("graphmesh")

log = structlog.get_logger("graphmesh.metrics")


def otlp_exporter(settings: ServerSettings) -> MetricExporter:
    headers = settings.otlp_headers.get_secret_value() or None
    return OTLPMetricExporter(endpoint=settings.otlp_endpoint, headers=headers, timeout=EXPORT_SECONDS)


@contextmanager
def exporting(
    recorder: PrometheusRecorder, service: str, exporter: MetricExporter, seconds: float = INTERVAL_SECONDS
) -> Iterator[None]:
    """Export the values of a recorder while the body runs, and at its end. No call waits for it."""
    ended = threading.Event()
    began, resource = time.time_ns(), Resource.create({names.SERVICE: service})

    def export() -> None:
        logged = float("-inf")
        while True:
            is_last = ended.wait(seconds)
            try:
                result = exporter.export(metrics_data(recorder, resource, began))
            except Exception:  # of the collector, the connection or the library
                result = MetricExportResult.FAILURE
            if result is not MetricExportResult.SUCCESS:
                DROPPED.add(1, {names.SIGNAL: "metrics", names.REASON: "NOT_DELIVERED"})
                if time.monotonic() - logged >= LOG_SECONDS:
                    logged = time.monotonic()
                    log.warning("metrics not delivered")
            if is_last:
                return

    thread = threading.Thread(target=export, name="metrics export", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(EXPORT_SECONDS)
        exporter.shutdown()


def metrics_data(recorder: PrometheusRecorder, resource: Resource, began: int) -> MetricsData:
    """Return the present values, as sums since `began`, in nanoseconds since 1970."""
    known = {prometheus_name(instrument): instrument for instrument in CATALOG.values()}
    now = time.time_ns()
    found = [
        _metric(known[family.name], family, began, now)
        for family in recorder.registry.collect()
        if family.name in known
    ]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(SCOPE, found, "")], "")])


def _metric(instrument: Instrument, family: Metric, began: int, now: int) -> OtlpMetric:
    cumulative = AggregationTemporality.CUMULATIVE
    data: Sum | Gauge | Histogram
    if instrument.kind == "histogram":
        data = Histogram(list(_histograms(instrument, family.samples, began, now)), cumulative)
    else:
        values = [one for one in family.samples if one.name in (family.name, f"{family.name}_total")]
        points = [NumberDataPoint(_attributes(instrument, one.labels), began, now, one.value) for one in values]
        data = Gauge(points) if instrument.kind == "gauge" else Sum(points, cumulative, is_monotonic=True)
    return OtlpMetric(instrument.name, instrument.description, instrument.unit, data)


def _histograms(
    instrument: Instrument, samples: Sequence[Sample], began: int, now: int
) -> Iterator[HistogramDataPoint]:
    """Yield a point for each combination of labels; the counts of Prometheus' buckets include those below."""
    grouped: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for one in samples:
        labels = tuple(sorted((name, value) for name, value in one.labels.items() if name != "le"))
        grouped.setdefault(labels, []).append(one)
    for labels, group in grouped.items():
        buckets = [one for one in group if one.name.endswith("_bucket")]
        counts = [int(one.value) for one in buckets]
        total = next(one.value for one in group if one.name.endswith("_sum"))
        yield HistogramDataPoint(
            attributes=_attributes(instrument, dict(labels)),
            start_time_unix_nano=began,
            time_unix_nano=now,
            count=counts[-1],
            sum=total,
            bucket_counts=[count - before for count, before in zip(counts, [0, *counts], strict=False)],
            explicit_bounds=[float(one.labels["le"]) for one in buckets[:-1]],
            min=0.0,
            max=0.0,
            exemplars=[_exemplar(one) for one in buckets if one.exemplar],
        )


def _exemplar(sample: Sample) -> Exemplar:
    exemplar = sample.exemplar
    assert exemplar is not None
    at = round(float(exemplar.timestamp or 0) * 1e9)
    ids = (int(exemplar.labels[name], 16) for name in ("span_id", "trace_id"))
    return Exemplar({}, exemplar.value, at, *ids)


def _attributes(instrument: Instrument, labels: Mapping[str, str]) -> dict[str, str]:
    return {name: labels[label_name(name)] for name in instrument.attributes}
