"""The invariants, as rules over facts: what breaks one is found, whatever broke it (C1, C2, E1, E2)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from graphmesh_chaos.facts import APPROVED, CHARGE, DENIED, ENDED, OPEN, TICKET, Event, Facts, Order, Posting, Run

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

EFFECTS = {CHARGE: "billing", TICKET: "ticketing"}
"""The service of each effect."""


@dataclass(frozen=True)
class Violation:
    """One thing that must not be."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


def check(facts: Facts) -> list[Violation]:
    """All violations of all rules."""
    return [Violation(rule.__name__, what) for rule in RULES for what in rule(facts)]


def one_run_a_request(facts: Facts) -> Iterator[str]:
    """Every answered request has exactly one run, the one in the answer, and no run is without a request."""
    runs = grouped(facts.runs, lambda run: run.request_id)
    for order in facts.orders:
        made = [run.run_id for run in runs.pop(order.request_id, [])]
        if len(made) > 1:
            yield f"{order.request_id} made {len(made)} runs: {', '.join(made)}"
        for answer in set(order.answers) - set(made):
            yield f"{order.request_id} was answered with {answer}, which is not there"
    for request_id, strays in runs.items():
        yield f"nobody asked for {', '.join(run.run_id for run in strays)} ({request_id or 'no request_id'})"


def every_run_succeeds(facts: Facts) -> Iterator[str]:
    """The graph asks again until it is answered: no fault excuses another end."""
    for run in facts.runs:
        if run.status != ENDED:
            yield f"{run.run_id} is {run.status}"


def charged_once(facts: Facts) -> Iterator[str]:
    """A finished run has one charge, of its amount, which it knows, or none where it knows none; there is no other."""
    charges = grouped(facts.charges, lambda charge: charge.invoice_id)
    for order, run in finished(facts):
        made = charges.pop(order.invoice_id, [])
        due = [(run.charge_id, order.amount)] if run.charge_id else []
        if [(one.charge_id, one.amount) for one in made] != due:
            told = ", ".join(f"{one.charge_id} over {one.amount}" for one in made) or "none"
            yield f"{run.run_id} says {run.charge_id or 'none'} over {order.amount}; {order.invoice_id} has {told}"
    for invoice_id, strays in charges.items():
        yield f"{invoice_id} has {', '.join(one.charge_id for one in strays)} of no finished run"


def ticketed_once(facts: Facts) -> Iterator[str]:
    """A finished run has one ticket, which it knows; there is no other."""
    tickets = grouped(facts.tickets, lambda ticket: ticket.customer_id)
    for order, run in finished(facts):
        made = [ticket.ticket_id for ticket in tickets.pop(order.customer_id, [])]
        if made != [run.ticket_id]:
            yield f"{run.run_id} says {run.ticket_id}; {order.customer_id} has {', '.join(made) or 'none'}"
    for customer_id, strays in tickets.items():
        yield f"{customer_id} has {', '.join(one.ticket_id for one in strays)} of no finished run"


def invoices_add_up(facts: Facts) -> Iterator[str]:
    """What is outstanding is the total less all charges, and never less than nothing."""
    charges = grouped(facts.charges, lambda charge: charge.invoice_id)
    for invoice in facts.invoices:
        paid = sum(charge.amount for charge in charges.get(invoice.invoice_id, []))
        if invoice.outstanding != invoice.total - paid or invoice.outstanding < 0:
            yield f"{invoice.invoice_id}: {paid} of {invoice.total} paid, {invoice.outstanding} outstanding"


def books_balance(facts: Facts) -> Iterator[str]:
    """Every invoice and every charge is posted once, over its amount, between its accounts; nothing else is."""
    due = Counter(Posting("receivable", "revenue", one.total, one.invoice_id) for one in facts.invoices)
    due += Counter(Posting("cash", "receivable", one.amount, one.charge_id) for one in facts.charges)
    posted = Counter(facts.postings)
    for posting, count in (due - posted).items():
        yield f"{posting.reference} over {posting.amount} is not posted ({count})"
    for posting, count in (posted - due).items():
        yield f"{posting.reference} over {posting.amount} is posted though nothing stands for it ({count})"


def effects_are_recorded(facts: Facts) -> Iterator[str]:
    """A finished run has one settled key for each of its effects; there is no other key."""
    keys = Counter((effect.run_id, effect.node, effect.settled) for effect in facts.effects)
    due = Counter((run.run_id, node, True) for _, run in finished(facts) for node in effects_of(run))
    for (run_id, node, _), count in (due - keys).items():
        yield f"{run_id} has no settled key for its {node} ({count})"
    for (run_id, node, settled), count in (keys - due).items():
        yield f"{run_id} has a {'settled' if settled else 'open'} key too many for {node} ({count})"


def epochs_are_seen(facts: Facts) -> Iterator[str]:
    """Each service that a finished run has changed has seen an epoch of it, and none that the run never had."""
    seen = {(epoch.service, epoch.run_id): epoch.epoch for epoch in facts.epochs}
    for _, run in finished(facts):
        for service in (EFFECTS[node] for node in effects_of(run)):
            if not 1 <= (epoch := seen.get((service, run.run_id), 0)) <= run.epoch:
                yield f"{run.run_id} is in epoch {run.epoch}, {service} has seen {epoch or 'none'}"


def events_are_gapless(facts: Facts) -> Iterator[str]:
    """The events of a run are numbered 1, 2, 3, … to its last."""
    for run, events in journals(facts):
        if (numbers := [event.seq for event in events]) != list(range(1, run.last_seq + 1)):
            yield f"{run.run_id} has {numbers}, its last is {run.last_seq}"


def ends_once(facts: Facts) -> Iterator[str]:
    """A run that has ended says so once, in its last event, and as its row says."""
    for run, events in journals(facts):
        ends = [event for event in events if event.status and event.status not in OPEN]
        last = events[-1:] if run.status not in OPEN else []
        if ends != last or any(event.status != run.status for event in ends):
            told = ", ".join(f"{event.status} at {event.seq}" for event in ends) or "no end"
            yield f"{run.run_id} is {run.status} with {len(events)} events, which tell {told}"


def answered_once(facts: Facts) -> Iterator[str]:
    """Of the answers to an approval one holds, and it is what is stored."""
    told = grouped(facts.answers, lambda answer: answer.approval_id)
    for approval in facts.approvals:
        held = [answer.status for answer in told.pop(approval.approval_id, [])]
        if held and held != [approval.status]:
            yield f"{approval.approval_id} is {approval.status}, its answers were told {', '.join(held)}"
    for approval_id in told:
        yield f"{approval_id} was answered, and is not there"


def agreed_to(facts: Facts) -> Iterator[str]:
    """What a person has to agree to is done with an approval of its own run, used for nothing else."""
    approvals = {approval.approval_id: approval for approval in facts.approvals}
    orders = {run.run_id: order for order, run in finished(facts)}
    for effect in facts.effects:
        if effect.node == CHARGE and effect.run_id in orders and orders[effect.run_id].asks:
            given = approvals.get(effect.approval_id)
            if given is None or (given.run_id, given.status) != (effect.run_id, APPROVED):
                yield f"{effect.run_id} has charged with {given or effect.approval_id or 'no approval'}"
    for approval_id, count in Counter(effect.approval_id for effect in facts.effects if effect.approval_id).items():
        if count > 1:
            yield f"{approval_id} was used {count} times"


def denied_or_done(facts: Facts) -> Iterator[str]:
    """A run that has not charged was told no."""
    denied = {approval.run_id for approval in facts.approvals if approval.status == DENIED}
    for _, run in finished(facts):
        if not run.charge_id and run.run_id not in denied:
            yield f"{run.run_id} has not charged, and nobody has said no"


RULES: Sequence[Callable[[Facts], Iterator[str]]] = (
    one_run_a_request,
    every_run_succeeds,
    charged_once,
    ticketed_once,
    invoices_add_up,
    books_balance,
    effects_are_recorded,
    epochs_are_seen,
    events_are_gapless,
    ends_once,
    answered_once,
    agreed_to,
    denied_or_done,
)


def finished(facts: Facts) -> Iterator[tuple[Order, Run]]:
    """The runs that succeeded, each with what it was asked for."""
    orders = {order.request_id: order for order in facts.orders}
    for run in facts.runs:
        if run.status == ENDED and run.request_id in orders:
            yield orders[run.request_id], run


def effects_of(run: Run) -> list[str]:
    """What a finished run has done, by the nodes of its graph."""
    return [CHARGE, TICKET] if run.charge_id else [TICKET]


def journals(facts: Facts) -> Iterator[tuple[Run, list[Event]]]:
    events = grouped(facts.events, lambda event: event.run_id)
    for run in facts.runs:
        yield run, events.get(run.run_id, [])


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: defaultdict[K, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)
