"""Port of the accounts: reservations before calls of vendors, settlements after them, and the listing of usage."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from graphmesh_chassis.deadline import Deadline

from graphmesh_model.accounting.budgets import Account, Balance, Need
from graphmesh_model.domain import Usage

CRASHED = "CRASHED"
"""The outcome of an attempt whose process has ended before its settlement."""


@dataclass(frozen=True)
class Subject:
    """The cause of an attempt."""

    tenant: str
    run: str
    """Empty for calls of no run."""
    alias: str
    model: str
    """`provider:model`, as it is called."""


@dataclass(frozen=True)
class Reservation:
    """What an attempt may use, stored before the vendor is called."""

    id: str
    subject: Subject
    begun: datetime
    expires: datetime
    """When the attempt has certainly ended: one that is not settled by then has crashed."""
    need: Need
    accounts: tuple[Account, ...]
    priced: bool
    """Whether the price of the model is known."""
    wait_limit: Deadline
    """How long it may wait for other attempts to be settled."""


@dataclass(frozen=True)
class Settlement:
    """What an attempt has used."""

    usage: Usage
    cost: int | None
    """None if the price is unknown."""
    failed: bool


@dataclass(frozen=True)
class UsageTotal:
    """The sums of some attempts."""

    attempts: int = 0
    failed_attempts: int = 0
    usage: Usage = field(default_factory=lambda: Usage(0, 0))
    cost: int = 0
    estimated_tokens: int = 0
    """Tokens, of input and output, that no vendor has stated."""
    unpriced_tokens: int = 0
    """Tokens of models without a price, which `cost` does not contain."""
    cache_hits: int = 0
    """Answers from the service's own cache, which cost nothing."""


@dataclass(frozen=True)
class UsageGroup:
    """A sum and what its attempts have in common; empty: they may differ."""

    total: UsageTotal
    tenant: str = ""
    day: str = ""
    """In UTC, `2026-11-30`."""
    run: str = ""
    alias: str = ""
    model: str = ""


@dataclass(frozen=True)
class UsageFilter:
    """The attempts to sum, and the dimensions to sum them by."""

    group_by: tuple[str, ...]
    """Of tenant, day, run, alias, model."""
    tenant: str = ""
    """Empty: of all tenants."""
    run: str = ""
    alias: str = ""
    first_day: str = ""
    last_day: str = ""


class Ledger(Protocol):
    """The accounts of all tenants. Exact over parallel calls, and over processes that share a database."""

    async def reserve(self, reservation: Reservation) -> Need:
        """Store a reservation of what the accounts can pay for: its need, or one with fewer tokens of output.

        Where other reservations hold what is needed, it waits for their settlement, until `reservation.wait_limit`.

        Raises:
            BudgetExceeded, TokenLimit: an account cannot pay for it; nothing is stored.
        """

    async def settle(self, reservation: Reservation, settlement: Settlement | None) -> None:
        """Replace a reservation by what was used; None: the vendor was not called.

        A second settlement of it changes nothing.
        """

    async def count(self, subject: Subject, at: datetime, settlement: Settlement, *, cache_hit: bool = False) -> None:
        """Add usage that needs no reservation, since it costs nothing. It is stored within a second."""

    async def usage(self, conditions: UsageFilter, after: tuple[str, ...] | None, limit: int) -> Sequence[UsageGroup]:
        """List sums, ordered by the dimensions that they are grouped by, behind the group `after`."""

    async def balances(self, accounts: Sequence[Account]) -> Sequence[Balance]:
        """Return the sums of accounts, in their order."""
