"""The account of one attempt: reserved before the vendor is called, settled when the attempt has ended."""

import asyncio
import uuid
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Protocol

import structlog
from graphmesh_chassis.calls import set_current
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DatabaseUnavailable, GraphmeshError
from graphmesh_chassis.telemetry import names

from graphmesh_model.accounting.budgets import RUN, Account, Budget, Clock, Need, Period, Scope, applicable, utc_now
from graphmesh_model.accounting.ledger import Ledger, Reservation, Settlement, Subject
from graphmesh_model.accounting.meter import Meter, cost_of
from graphmesh_model.accounting.prices import FREE, MILLION, Price, Prices
from graphmesh_model.accounting.tokens import bound_of_prompt, images_in
from graphmesh_model.accounting.vendor_call import CACHE_HITS, VendorCall
from graphmesh_model.calling import ModelCall, RunLimits
from graphmesh_model.domain import Answer, Attempt, Prompt, StreamEvent, Usage

log = structlog.get_logger()

GRACE = timedelta(seconds=60)
"""Time after the deadline of a call in which its attempts are certainly settled, unless their process has ended."""
NOT_CALLED = Settlement(Usage(0, 0), 0, failed=True)
MAX_WAIT_SECONDS = 20.0
"""The longest wait for what other attempts have reserved."""


class Named(Protocol):
    """The facts of a vendor's model that its accounts need."""

    @property
    def vendor(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def offline(self) -> bool: ...


class Charged(Protocol):
    """The facts of an alias that its accounts need."""

    @property
    def alias(self) -> str: ...
    @property
    def prices(self) -> Prices: ...
    @property
    def max_output_tokens(self) -> int: ...
    @property
    def provider(self) -> Named: ...


class Accounts:
    """Opens the accounts of attempts."""

    def __init__(
        self,
        ledger: Ledger,
        budgets: Sequence[Budget] = (),
        clock: Clock = utc_now,
    ) -> None:
        self.ledger, self.budgets, self.now = ledger, tuple(budgets), clock
        self._settling: set[asyncio.Task[None]] = set()

    def charge(self, entry: Charged, prompt: Prompt, call: ModelCall) -> "Charge":
        return Charge(self, entry, prompt, call)

    def accounts_of(self, tenant: str, run: str, alias: str, limits: RunLimits, now: datetime) -> tuple[Account, ...]:
        """Return the accounts that an attempt is held to."""
        own = [Budget(RUN, Scope.RUN, Period.TOTAL, limits.max_cost, limits.max_tokens)]
        budgets = [*self.budgets, *(own if limits != RunLimits() else [])]
        return tuple(budget.account(tenant, run, now) for budget in applicable(budgets, tenant, run, alias))

    def standing(self, tenant: str, run: str) -> tuple[Account, ...]:
        """Return the accounts of a tenant, and of a run, whatever alias is called."""
        now = self.now()
        held = (budget for budget in self.budgets if budget.applies_to(tenant, run, next(iter(budget.aliases), "")))
        return tuple(budget.account(tenant, run, now) for budget in sorted(held, key=lambda one: one.name))

    async def count_cache_hit(self, entry: Charged, call: ModelCall) -> None:
        """Count an answer that no vendor was called for."""
        CACHE_HITS.add(1, {names.MODEL_ALIAS: entry.alias, names.TENANT: call.tenant})
        free = Settlement(Usage(0, 0), 0, failed=False)
        await self.ledger.count(subject_of(entry, call), self.now(), free, cache_hit=True)

    async def finish(self, settling: Coroutine[Any, Any, None]) -> None:
        """Settle, also when the caller has left: its cancellation ends the wait and not the settlement."""
        task = asyncio.create_task(settling, name="settlement")
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        await asyncio.shield(task)

    async def close(self) -> None:
        """Wait for settlements that have begun."""
        while self._settling:
            await asyncio.wait(self._settling)


def subject_of(entry: Charged, call: ModelCall) -> Subject:
    return Subject(call.tenant, call.run, entry.alias, f"{entry.provider.vendor}:{entry.provider.model}"[:300])


class Charge:
    """A context manager around one attempt."""

    def __init__(self, accounts: Accounts, entry: Charged, prompt: Prompt, call: ModelCall) -> None:
        self.prompt = prompt
        """The prompt, with an output that its budgets can pay for."""
        self._accounts, self._entry, self._call = accounts, entry, call
        self._subject = Subject(
            call.tenant, call.run, entry.alias, f"{entry.provider.vendor}:{entry.provider.model}"[:300]
        )
        self._begun = accounts.now()
        self._price: Price | None = entry.prices.at(self._begun)
        self._meter: Meter | None = None
        self._vendor_call: VendorCall | None = None
        self._reservation: Reservation | None = None
        self._is_settled = False

    async def __aenter__(self) -> "Charge":
        """Reserve what the attempt may use. The offline composer, which costs nothing, is only counted.

        Raises:
            BudgetExceeded, TokenLimit: a budget cannot pay for it.
        """
        call, now = self._call, self._begun
        accounts = self._accounts.accounts_of(call.tenant, call.run, self._entry.alias, call.limits, now)
        self._need = self._bound()
        if self._entry.provider.offline or (self._price == FREE and not accounts):
            return self
        remaining = call.deadline.remaining
        self._reservation = Reservation(
            id=uuid.uuid4().hex,
            subject=self._subject,
            begun=now,
            expires=now + timedelta(seconds=remaining) + GRACE,
            need=self._need,
            accounts=accounts,
            priced=self._price is not None,
            wait_limit=Deadline.after(min(remaining / 2, MAX_WAIT_SECONDS)),
        )
        try:
            self._need = await self._accounts.ledger.reserve(self._reservation)
        except asyncio.CancelledError:
            await self._accounts.finish(self._store(None))  # it may have been stored
            raise
        if accounts:
            self.prompt = replace(self.prompt, max_output_tokens=self._need.output_tokens)
        return self

    def refuse(self, error: GraphmeshError) -> None:
        """Note that the attempt ends before anything is reserved."""
        self._record(error, NOT_CALLED)

    def begin(self) -> None:
        """Note that the vendor is called."""
        self._meter = Meter(self.prompt, self._need.output_tokens)
        self._vendor_call = VendorCall(self._subject, "chat" if self._entry.max_output_tokens else "embeddings")

    def observe(self, event: StreamEvent) -> None:
        if self._meter and self._vendor_call:
            self._meter.observe(event)
            self._vendor_call.observe(event)

    async def complete(self, answer: Answer) -> Answer:
        """Settle the attempt and return its answer, with usage and cost."""
        assert self._meter
        usage = await self._meter.usage()
        cost = cost_of(usage, self._price)
        settlement = Settlement(usage, cost, failed=False)
        if self._vendor_call:
            self._vendor_call.end(settlement)
        await self._settle(settlement)
        return replace(answer, usage=usage, cost_micro_usd=cost)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._is_settled:
            return
        if self._meter is None:
            self._record(error, NOT_CALLED)
            await self._settle(None)
            return
        if isinstance(error, GraphmeshError):
            self._meter.fail(error)
        await self._accounts.finish(self._settle_failure(error))

    async def _settle_failure(self, error: BaseException | None) -> None:
        assert self._meter
        set_current(None)  # the deadline of the call may have passed
        usage = await self._meter.usage()
        settlement = Settlement(usage, cost_of(usage, self._price), failed=True)
        self._record(error, settlement)
        await self._store(settlement)

    def _record(self, error: BaseException | None, used: Settlement) -> None:
        known = error if isinstance(error, GraphmeshError) else None
        attempt = Attempt(
            alias=self._entry.alias,
            provider=self._entry.provider.vendor,
            model=self._entry.provider.model,
            reason=known.reason if known else "CANCELLED",
            fault=known.data.get("fault", "") if known else "",
            usage=used.usage,
            cost_micro_usd=used.cost,
        )
        self._call.failed.append(attempt)
        if self._vendor_call:
            self._vendor_call.end(used, attempt.fault or attempt.reason)

    async def _settle(self, settlement: Settlement | None) -> None:
        self._is_settled = True
        if self._reservation:
            await self._accounts.finish(self._store(settlement))
        elif settlement:
            await self._accounts.ledger.count(self._subject, self._begun, settlement)

    async def _store(self, settlement: Settlement | None) -> None:
        """Store a settlement; where the database does not answer, the reservation is charged when it expires."""
        set_current(None)
        self._is_settled = True
        ledger = self._accounts.ledger
        try:
            if self._reservation:
                await ledger.settle(self._reservation, settlement)
            elif settlement:
                await ledger.count(self._subject, self._begun, settlement)
        except DatabaseUnavailable as error:
            log.error("an attempt is not settled", alias=self._entry.alias, cause=str(error.__cause__)[:200])

    def _bound(self) -> Need:
        price = self._price or FREE
        read = bound_of_prompt(self.prompt)
        images = images_in(self.prompt) * price.image_micro_usd
        return Need(
            input_tokens=read,
            input_cost=-(-read * price.highest_input // MILLION) + images,
            output_tokens=self.prompt.max_output_tokens or self._entry.max_output_tokens,
            output_micro_usd=price.highest_output,
        )
