"""Who asks a tool again, how often and how long (D4)."""

import asyncio
import random
import time
from typing import Any

from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_contracts import Idempotency, MethodPolicy, Rpc

from graphmesh_nodes.context import RunContext

BACKOFF_SECONDS = 0.1
"""The first wait before a repeat; it doubles with each, and a half of it is random."""
LONGEST_BACKOFF_SECONDS = 2.0
SETTLE_SECONDS = 60.0
"""How long the outcome of an effect is asked for that an earlier epoch, or an earlier run, may have sent."""

RETRIED_BY_ENVOY = frozenset({"UF", "UH", "UO", "NR", "RL"})
"""The response flags of calls that never reached a service. Their retry owner is Envoy, which has given up (D4)."""


class Attempts:
    """The attempts of one call; the same key in each.

    Where one of them may have happened, the call may have, whatever the last one says; only a refusal settles it: the
    service has looked under the key and decided.

    An effect of a run that was taken over may have been sent by an earlier epoch, and one of a run that goes on where
    another has stopped by that one, so "not sent" of this one says nothing. It is asked for again until somebody
    answers, for `SETTLE_SECONDS`.
    """

    def __init__(self, rpc: Rpc[Any, Any], policy: MethodPolicy, deadline: Deadline, settling: bool) -> None:
        self._rpc, self._policy, self._settling = rpc, policy, settling
        self._deadline = deadline.capped(SETTLE_SECONDS if settling else policy.timeout)
        self._open = settling
        self._began = time.monotonic()
        self.made = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    async def run(self, context: RunContext, request: Any, headers: list[tuple[str, str]]) -> Any:
        while True:
            self.made += 1
            try:
                timeout = self._deadline.capped(self._policy.timeout).remaining
                return await context.channel.unary(self._rpc, request, timeout=timeout, headers=headers)
            except GraphmeshError as error:
                self._open |= error.may_have_happened
                wait = self._wait_after(error)
                if wait is None:
                    error.may_have_happened = self._open and not error.is_refusal
                    raise
            await asyncio.sleep(wait)

    def _wait_after(self, error: GraphmeshError) -> float | None:
        """Seconds until the next attempt; None where there is to be none."""
        if not self._asks_again(error):
            return None
        backoff = min(BACKOFF_SECONDS * 2 ** (self.made - 1), LONGEST_BACKOFF_SECONDS) * random.uniform(0.5, 1)
        wait = max(backoff, error.retry_after or 0)
        return wait if wait < self._deadline.remaining else None

    def _asks_again(self, error: GraphmeshError) -> bool:
        if self._settling:
            return not error.is_refusal
        return self.made < self._policy.max_attempts and retries(error, self._policy.idempotency)


def retries(error: GraphmeshError, idempotency: Idempotency) -> bool:
    """Whether the remote node, and nobody else, tries again after `error` (D4)."""
    if not error.retryable or error.data.get("flag") in RETRIED_BY_ENVOY:
        return False
    return not error.may_have_happened or idempotency is not Idempotency.UNKNOWN
