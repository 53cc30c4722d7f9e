"""The telemetry of one call of a vendor, by OpenTelemetry's conventions for generative AI."""

import time

from graphmesh_chassis.telemetry import names, spans
from graphmesh_chassis.telemetry.metrics import counter, histogram
from graphmesh_chassis.telemetry.spans import Finished, Value

from graphmesh_model.accounting.ledger import Settlement, Subject
from graphmesh_model.domain import Answer, StreamEvent, UsageSoFar

MICRO = 1_000_000
CALLS = histogram(
    "graphmesh.model.call.duration",
    "s",
    "Calls of models' vendors, by the fault or the reason of their error",
    (names.MODEL_ALIAS, names.MODEL, names.REASON),
)
FIRST_TOKEN = histogram(
    "graphmesh.model.time_to_first_token",
    "s",
    "Streamed calls of models' vendors, until the first part of the answer",
    (names.MODEL_ALIAS, names.MODEL),
)
TOKENS = counter(
    "graphmesh.model.tokens",
    "{token}",
    "Tokens of models: input (with cached ones), cached, output",
    (names.MODEL_ALIAS, names.TENANT, names.TOKEN_TYPE),
)
COST = counter("graphmesh.model.cost", "USD", "What models have cost", (names.MODEL_ALIAS, names.TENANT))
CACHE_HITS = counter(
    "graphmesh.model.cache_hits",
    "{answer}",
    "Answers that no vendor was called for",
    (names.MODEL_ALIAS, names.TENANT),
)


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
        self._count(settlement, reason)
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

    def _count(self, settlement: Settlement, reason: str) -> None:
        alias, tenant, usage = self._subject.alias, self._subject.tenant, settlement.usage
        model = {names.MODEL_ALIAS: alias, names.MODEL: self._subject.model.partition(":")[2]}
        CALLS.record((time.time_ns() - self._began) / 1e9, {**model, names.REASON: reason})
        if self._first:
            FIRST_TOKEN.record((self._first - self._began) / 1e9, model)
        counts = {"input": usage.input_tokens, "cached": usage.cached_input_tokens, "output": usage.output_tokens}
        for kind, count in counts.items():
            TOKENS.add(count, {names.MODEL_ALIAS: alias, names.TENANT: tenant, names.TOKEN_TYPE: kind})
        if settlement.cost:
            COST.add(settlement.cost / MICRO, {names.MODEL_ALIAS: alias, names.TENANT: tenant})
