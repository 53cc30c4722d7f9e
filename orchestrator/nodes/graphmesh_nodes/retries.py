"""Retries of one call: which errors are retried, how often, and after how long."""

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing
from typing import Any

from graphmesh_chassis.channel import Headers
from graphmesh_chassis.errors import DependencyError, GraphmeshError
from graphmesh_chassis.telemetry import names, spans
from graphmesh_chassis.telemetry.metrics import counter
from graphmesh_contracts import Idempotency, Method, MethodPolicy

from graphmesh_nodes.context import RunContext
from graphmesh_nodes.effects import lease_header, require_lease

BACKOFF_SECONDS = 0.1
"""The backoff before the first retry; it doubles with each, and a half of it is random."""
MAX_BACKOFF_SECONDS = 2.0
RESOLVE_SECONDS = 60.0
"""Time to resolve the outcome of an effect that an earlier epoch, or an earlier run, may have sent."""

ATTEMPTS = counter(
    "graphmesh.tool.attempts",
    "{attempt}",
    "Attempts of calls of tools that have failed, by the reason of their error: what was retried, and what was not",
    (names.TOOL, names.REASON),
)
RETRIED_BY_ENVOY = frozenset({"UF", "UH", "UO", "NR", "RL"})
"""The response flags of calls that never reached a service. Envoy owns their retries, and has given up."""


class RetryingCall:
    """One call with its retries, all under the same effect key.

    Where one attempt may have had its effect, the call may have, whatever the error of the last attempt; only a refusal
    resolves it: the service has read what is stored under the key and decided.

    An effect of a run that was taken over may have been sent in an earlier epoch, and one of a run that continues where
    another has stopped by that run, so that "not sent" of this attempt proves nothing. With `resolve_outcome` it is
    retried until the service answers, for `RESOLVE_SECONDS`.
    """

    def __init__(
        self,
        rpc: Method[Any, Any],
        policy: MethodPolicy,
        context: RunContext,
        *,
        resolve_outcome: bool = False,
        patience: float = 0,
        on_failure: Callable[[GraphmeshError], None] = lambda _: None,
    ) -> None:
        """
        Args:
            patience: seconds for which the call is repeated while the service cannot answer, beyond the policy.
            on_failure: called with the error of each attempt.
        """
        self._policy, self._context, self._on_failure = policy, context, on_failure
        self._rpc: Any = rpc
        self._resolve_outcome = self._may_have_happened = resolve_outcome
        self._is_patient = patience > 0
        limit = RESOLVE_SECONDS if resolve_outcome else policy.timeout
        self._deadline = context.deadline.capped(max(limit, patience))
        self._is_effect = policy.idempotency is Idempotency.EFFECT
        self._began = context.clock.monotonic()
        self.attempts = 0

    @property
    def seconds(self) -> float:
        return self._context.clock.monotonic() - self._began

    async def send(self, request: Any, headers: Headers) -> Any:
        """Return the response.

        Raises:
            GraphmeshError: the error of the last attempt.
            Fenced: as `require_lease`; this attempt was not sent.
        """
        while True:
            self.attempts += 1
            try:
                deadline, lease = self._deadline.capped(self._policy.timeout), lease_header(self._context)
                attempt_headers = (*headers, *lease) if self._is_effect else headers
                with self._span():
                    channel = self._context.channel
                    return await channel.unary(self._rpc, request, deadline=deadline, headers=attempt_headers)
            except GraphmeshError as error:
                self._count_failure(error)
                self._may_have_happened |= error.may_have_happened
                backoff = self._backoff_after(error)
                if backoff is None:
                    error.may_have_happened = self._may_have_happened and not error.is_refusal
                    raise
            await self._context.clock.sleep(backoff)

    async def responses(self, request: Any, headers: Headers) -> AsyncGenerator[Any, None]:
        """Yield the responses of a streaming RPC. It is called again only as long as none has arrived: those that the
        node has used cannot be revoked.

        Raises: as `send`.
        """
        while True:
            self.attempts += 1
            require_lease(self._context)
            has_begun, channel = False, self._context.channel
            try:
                stream = channel.stream(self._rpc, request, deadline=self._deadline, headers=headers)
                with self._span():
                    async with aclosing(stream) as responses:
                        async for response in responses:
                            has_begun = True
                            yield response
                return
            except GraphmeshError as error:
                self._count_failure(error)
                backoff = None if has_begun else self._backoff_after(error)
                if backoff is None:
                    raise
            await self._context.clock.sleep(backoff)

    def _count_failure(self, error: GraphmeshError) -> None:
        ATTEMPTS.add(1, {names.TOOL: self._rpc.tool, names.REASON: error.reason})
        self._on_failure(error)

    def _span(self) -> AbstractContextManager[spans.Span]:
        """Trace an attempt."""
        attributes = {names.RPC_SYSTEM: "grpc", names.METHOD: self._rpc.path[1:], names.ATTEMPT: self.attempts}
        return spans.span(self._rpc.path[1:], "client", attributes)

    def _backoff_after(self, error: GraphmeshError) -> float | None:
        """Return the seconds until the next attempt; None where this was the last."""
        if not self._is_retried(error):
            return None
        backoff = min(BACKOFF_SECONDS * 2 ** (self.attempts - 1), MAX_BACKOFF_SECONDS) * random.uniform(0.5, 1)
        backoff = max(backoff, error.retry_after or 0)
        return backoff if backoff < self._deadline.remaining else None

    def _is_retried(self, error: GraphmeshError) -> bool:
        if self._resolve_outcome:
            return not error.is_refusal
        if self._is_patient and isinstance(error, DependencyError) and error.retryable:
            return True
        return self.attempts < self._policy.max_attempts and is_retryable(error, self._policy.idempotency)


def is_retryable(error: GraphmeshError, idempotency: Idempotency) -> bool:
    """Return whether the remote node, and no other component, retries after `error`."""
    if not error.retryable or error.data.get("flag") in RETRIED_BY_ENVOY:
        return False
    return not error.may_have_happened or idempotency is not Idempotency.UNKNOWN
