"""The export of spans: by a thread, out of a bounded queue, so that no call ever waits for a collector."""

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import structlog
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from graphmesh_chassis.telemetry import names
from graphmesh_chassis.telemetry.metrics import counter
from graphmesh_chassis.telemetry.readable import finished_of, readable, traceparent_of
from graphmesh_chassis.telemetry.span_table import SpanTable, adopted
from graphmesh_chassis.telemetry.spans import Finished

MAX_WAITING = 16_384
"""Spans that have ended and are not exported yet; further ones are dropped."""
BATCH = 512
SCHEDULE_MS = 500
SHUTDOWN_MS = 2000
"""How long the end of a process waits for the last export."""
LIFE_SECONDS = 0.2
ADOPTION_SECONDS = 2.0
LOG_SECONDS = 60.0

DROPPED = counter(
    "graphmesh.telemetry.dropped",
    "{item}",
    "Spans that were not exported: the queue was full, or the collector refused them or did not respond in time",
    (names.SIGNAL, names.REASON),
)
log = structlog.get_logger("graphmesh.telemetry")


class Pipeline(BatchSpanProcessor):
    """Takes spans as they begin and end, of OpenTelemetry's instrumentation as of our own."""

    def __init__(self, exporter: SpanExporter, resource: Resource, folder: Path | None) -> None:
        """
        Args:
            folder: where processes keep what they have not exported; None: what a killed one has not exported is lost.
        """
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # what is dropped is counted and logged here
        self._resource = resource
        self._table = SpanTable(folder, str(resource.attributes[names.SERVICE])) if folder else None
        self._lock = threading.Lock()
        self._waiting = 0
        self._dropped = 0
        self._logged = float("-inf")
        self._ended = threading.Event()
        super().__init__(
            _Watched(exporter, self),
            max_queue_size=MAX_WAITING,
            schedule_delay_millis=SCHEDULE_MS,
            max_export_batch_size=BATCH,
        )
        self._thread = threading.Thread(target=self._watch, args=(folder,), name="span table", daemon=True)
        if folder:
            self._thread.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self._table is not None:
            self.begin(finished_of(span))

    def begin(self, span: Finished) -> None:
        """Keep a span that has begun for the case that the process is killed."""
        if self._table is not None:
            with self._lock:
                self._table.write(span)

    def on_end(self, span: ReadableSpan) -> None:
        if not (span.context and span.context.trace_flags.sampled):
            return
        with self._lock:
            is_full = self._waiting >= MAX_WAITING
            self._waiting += not is_full
            if self._table is not None and not is_full:
                self._table.write(finished_of(span))
        if is_full:
            self.drop([span], "QUEUE_FULL")
        else:
            super().on_end(span)

    def exported(self, batch: Sequence[ReadableSpan]) -> None:
        """Forget spans that have left the queue."""
        with self._lock:
            self._waiting -= len(batch)
            self._forget(batch)

    def drop(self, batch: Sequence[ReadableSpan], reason: str) -> None:
        """Count spans that are lost, and log it at most once a minute."""
        DROPPED.add(len(batch), {names.SIGNAL: "spans", names.REASON: reason})
        with self._lock:
            self._forget(batch)
            self._dropped += len(batch)
            dropped, is_due = self._dropped, time.monotonic() - self._logged >= LOG_SECONDS
            if is_due:
                self._logged, self._dropped = time.monotonic(), 0
        if is_due:
            log.warning("spans dropped", reason=reason, spans=dropped)

    def _forget(self, batch: Sequence[ReadableSpan]) -> None:
        if self._table is not None:
            for span in batch:
                self._table.remove(traceparent_of(span))

    def _watch(self, folder: Path) -> None:
        """Write signs of life, and adopt what processes that have died had not exported."""
        adopt_at = 0.0
        while not self._ended.wait(LIFE_SECONDS):
            with self._lock:
                if self._table is None:
                    return
                self._table.live()
            if time.monotonic() >= adopt_at:
                self._adopt(folder)
                adopt_at = time.monotonic() + ADOPTION_SECONDS

    def _adopt(self, folder: Path) -> None:
        for service, spans in adopted(folder):
            resource = self._resource.merge(Resource({names.SERVICE: service}))
            for span in spans:
                self.on_end(readable(span, resource))

    def shutdown(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._batch_processor.shutdown(SHUTDOWN_MS)
        with self._lock:
            if self._table is not None:
                self._table.close(keep=self._waiting > 0)
                self._table = None


class _Watched(SpanExporter):
    """An exporter whose batches leave the pipeline, delivered or not."""

    def __init__(self, inner: SpanExporter, pipeline: Pipeline) -> None:
        self._inner, self._pipeline = inner, pipeline

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._inner.export(spans)
        finally:
            self._pipeline.exported(spans)
            if result is not SpanExportResult.SUCCESS:
                self._pipeline.drop(spans, "NOT_DELIVERED")
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()
