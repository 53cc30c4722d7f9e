"""The metrics of a process, served to Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/.

Histograms have exemplars, the trace of one of their values, in the format of OpenMetrics.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client import Counter as PrometheusCounter
from prometheus_client import Histogram as PrometheusHistogram
from prometheus_client.core import GaugeMetricFamily, Metric

from graphmesh_chassis.telemetry import metrics, spans
from graphmesh_chassis.telemetry.metrics import (
    MAX_SERIES,
    MAX_VALUES,
    OTHER,
    Attributes,
    Instrument,
    Observe,
    label_name,
    prometheus_name,
)

MAX_SCRAPES = 4
"""Scrapes at a time; a further one is refused."""
SCRAPE_SECONDS = 5.0
"""How long a scraper may take to send its request, and to read what it gets."""
MAX_TEXT = 100
"""Characters of the value of a label."""

log = structlog.get_logger("graphmesh.metrics")


class PrometheusRecorder:
    """Keeps the values of instruments. Values of attributes beyond a bound are `other`: no caller fills its memory."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._lock = threading.Lock()
        self._metrics: dict[str, Any] = {}
        self._children: dict[tuple[str, ...], Any] = {}
        self._series: dict[str, int] = {}
        self._values: dict[str, set[str]] = {}
        self._observed: dict[Instrument, list[Observe]] = {}

    def add(self, instrument: Instrument, value: float, attributes: Attributes, /) -> None:
        self._child(instrument, attributes).inc(value)

    def record(self, instrument: Instrument, value: float, attributes: Attributes, /) -> None:
        present = spans.present()
        exemplar = {"trace_id": present[3:35], "span_id": present[36:52]} if present else None
        self._child(instrument, attributes).observe(value, exemplar)

    def observe(self, instrument: Instrument, observe: Observe, /) -> Callable[[], None]:
        with self._lock:
            self._observed.setdefault(instrument, []).append(observe)

        def forget() -> None:
            with self._lock:
                self._observed[instrument].remove(observe)

        return forget

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        with self._lock:
            observed = {instrument: tuple(functions) for instrument, functions in self._observed.items()}
        for instrument, functions in observed.items():
            labels = [label_name(name) for name in instrument.attributes]
            family = GaugeMetricFamily(prometheus_name(instrument), instrument.description, labels=labels)
            for values, value in self._present(instrument, functions).items():
                family.add_metric(list(values), value)
            yield family

    def _present(self, instrument: Instrument, functions: Iterable[Observe]) -> dict[tuple[str, ...], float]:
        """Return the values of a gauge; those under `other` are summed."""
        found: dict[tuple[str, ...], float] = {}
        for function in functions:
            try:
                observations = list(function())
            except Exception as error:  # of one gauge; the others are read
                log.warning("gauge not read", metric=instrument.name, cause=type(error).__name__)
                continue
            for value, attributes in observations:
                with self._lock:
                    values = tuple(self._bounded(name, attributes[name]) for name in instrument.attributes)
                found[values] = found.get(values, 0.0) + value
        return found

    def _child(self, instrument: Instrument, attributes: Attributes) -> Any:
        key = (instrument.name, *[attributes[name] for name in instrument.attributes])
        child = self._children.get(key)
        return self._new_child(instrument, key) if child is None else child

    def _new_child(self, instrument: Instrument, key: tuple[str, ...]) -> Any:
        with self._lock:
            values = [self._bounded(name, value) for name, value in zip(instrument.attributes, key[1:], strict=True)]
            if (instrument.name, *values) not in self._children:
                count = self._series[instrument.name] = self._series.get(instrument.name, 0) + 1
                values = values if count <= MAX_SERIES else [OTHER] * len(values)
            bounded = (instrument.name, *values)
            if bounded not in self._children:
                metric = self._metric(instrument)
                self._children[bounded] = metric.labels(*values) if values else metric
            return self._children[bounded]

    def _metric(self, instrument: Instrument) -> Any:
        if instrument.name not in self._metrics:
            labels = [label_name(name) for name in instrument.attributes]
            arguments = (prometheus_name(instrument), instrument.description, labels)
            self._metrics[instrument.name] = (
                PrometheusCounter(*arguments, registry=self.registry)
                if instrument.kind == "counter"
                else PrometheusHistogram(*arguments, buckets=instrument.buckets, registry=self.registry)
            )
        return self._metrics[instrument.name]

    def _bounded(self, name: str, value: str) -> str:
        known = self._values.setdefault(name, set())
        if value in known:
            return value
        if len(known) >= MAX_VALUES or len(value) > MAX_TEXT:
            return OTHER
        known.add(value)
        return value


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 2 * MAX_SCRAPES

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self._places = threading.BoundedSemaphore(MAX_SCRAPES)
        super().__init__(*arguments, **keywords)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that leaves, or sends nothing, is no error of ours."""


class _Handler(WSGIRequestHandler):
    timeout = SCRAPE_SECONDS

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""


@contextmanager
def serving_metrics(listen: str) -> Iterator[str]:
    """Record the metrics of this process and serve them at `/metrics` while the body runs; yields the actual address.

    Raises:
        OSError: the address cannot be bound.
    """
    with recording() as recorder, served(recorder, listen) as address:
        yield address


@contextmanager
def recording() -> Iterator[PrometheusRecorder]:
    """Record the metrics of this process while the body runs."""
    recorder = PrometheusRecorder()
    metrics.use(recorder)
    try:
        yield recorder
    finally:
        metrics.use(None)


@contextmanager
def served(recorder: PrometheusRecorder, listen: str) -> Iterator[str]:
    """Serve what a recorder has, as `serving_metrics`."""
    host, _, port = listen.rpartition(":")
    try:
        app: Any = make_wsgi_app(recorder.registry)
        server = make_server(host.strip("[]"), int(port), app, server_class=_Server, handler_class=_Handler)
    except OSError as error:
        raise OSError(f"cannot listen on {listen}") from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
