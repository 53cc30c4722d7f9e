"""The telemetry of one call of a vendor, by OpenTelemetry's conventions for generative AI."""

import time

from graphmesh_chassis.telemetry import names, spans
from graphmesh_chassis.telemetry.spans import Finished, Value

from graphmesh_model.accounting.ledger import Settlement, Subject
from graphmesh_model.domain import Answer, StreamEvent, UsageSoFar

MICRO = 1_000_000


class VendorCall:
    """A call from its beginning to its settlement. Prompts and answers are no part of it."""

    def __init__(self, subject: Subject, operation: str) -> None:
        """`operation` is `chat` or `embeddings`."""
        self._subject, self._operation = subject, operation
        self._began, self._first = time.time_ns(), 0

    def observe(self, event: StreamEvent) -> None:
        """Note the time of the first event of a stream that has a part of the answer."""
        if not self._first and not isinstance(event, Answer | UsageSoFar):
            self._first = time.time_ns()

    def end(self, settlement: Settlement, reason: str = "") -> None:
        """Record the call; `reason` is that of its error."""
        if not (parent := spans.present()):
            return
        provider, _, model = self._subject.model.partition(":")
        attributes: dict[str, Value] = {
            names.MODEL_OPERATION: self._operation,
            names.MODEL_PROVIDER: provider,
            names.MODEL: model,
            names.MODEL_ALIAS: self._subject.alias,
            names.INPUT_TOKENS: settlement.usage.input_tokens,
            names.OUTPUT_TOKENS: settlement.usage.output_tokens,
            names.CACHED_TOKENS: settlement.usage.cached_input_tokens,
        }
        if settlement.cost is not None:
            attributes[names.COST] = settlement.cost / MICRO
        if self._first:
            attributes[names.FIRST_TOKEN_SECONDS] = (self._first - self._began) / 1e9
        name, own = f"{self._operation} {self._subject.alias}", spans.below(parent)
        spans.emit(Finished(name, own, parent, self._began, time.time_ns(), "client", attributes, reason))
