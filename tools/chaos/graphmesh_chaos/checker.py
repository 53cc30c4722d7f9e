"""The invariants, each a function over a history. They depend on no fault: none of them excuses a violation."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from graphmesh_nodes.approval_terms import ApprovalStatus
from graphmesh_orchestrator.run_status import RunStatus

from graphmesh_chaos.grouping import group_by
from graphmesh_chaos.history import CHARGE, DRAFT, TICKET, Event, History, JournalEntry, Posting, Run, RunRequest
from graphmesh_chaos.late_effects import late_effects
from graphmesh_chaos.thread_checker import (
    answers_are_used,
    cancellations_hold,
    no_defects,
    streams_are_stored,
    threads_are_linearizable,
)

SERVICES = {CHARGE: "billing", TICKET: "ticketing"}
"""The service of each effect."""


@dataclass(frozen=True)
class Violation:
    """One violation of an invariant."""

    invariant: str
    """The name of its function."""
    detail: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.detail}"


def check(history: History) -> list[Violation]:
    """All violations of all invariants."""
    return [Violation(invariant.__name__, detail) for invariant in INVARIANTS for detail in invariant(history)]


def one_run_per_request(history: History) -> Iterator[str]:
    """Every answered request has exactly one run, the one of the response, and every run has a request."""
    runs = group_by(history.runs, lambda run: run.request_id)
    for request in history.requests:
        stored = [run.run_id for run in runs.pop(request.request_id, [])]
        if len(stored) > 1:
            yield f"{request.request_id} created {len(stored)} runs: {', '.join(stored)}"
        for run_id in set(request.run_ids) - set(stored):
            yield f"the response to {request.request_id} names {run_id}, which does not exist"
    for request_id, unrequested in runs.items():
        run_ids = ", ".join(run.run_id for run in unrequested)
        yield f"no client requested {run_ids} ({request_id or 'no request_id'})"


def every_run_ends(history: History) -> Iterator[str]:
    """The graphs repeat their calls until they get a response, so that a fault delays a run and never fails it.

    Runs succeed, except for those that a client cancels, that get a short deadline, or that kill their workers.
    """
    requests = {request.request_id: request for request in history.requests}
    for run in history.runs:
        request = requests.get(run.request_id)
        if run.status not in (request.ends if request else [RunStatus.SUCCESS]):
            yield f"{run.run_id} ({run.request_id}) is {run.status}"


def charged_once(history: History) -> Iterator[str]:
    """A successful run has the one charge of its output and amount, or none if its output has none.

    A run that may end otherwise, and does, has one charge of its amount or none. No other charge exists.
    """
    charges = group_by(history.charges, lambda charge: charge.invoice_id)
    for request, run in successful(history):
        stored = charges.pop(request.invoice_id, [])
        expected = [(run.charge_id, request.amount)] if run.charge_id else []
        if [(charge.charge_id, charge.amount) for charge in stored] != expected:
            found = ", ".join(f"{charge.charge_id} over {charge.amount}" for charge in stored) or "none"
            yield (
                f"{run.run_id} returned {run.charge_id or 'none'} over {request.amount}; "
                f"{request.invoice_id} has {found}"
            )
    for request, run in unsuccessful(history):
        stored = charges.pop(request.invoice_id, [])
        if [charge.amount for charge in stored] not in ([], [request.amount]):
            yield f"{run.run_id} ended as {run.status} with the charges {', '.join(map(str, stored))}"
    for invoice_id, others in charges.items():
        yield f"{invoice_id} has {', '.join(charge.charge_id for charge in others)} of no successful run"


def ticketed_once(history: History) -> Iterator[str]:
    """A successful run has the one ticket of its output, another run that has ended at most one. No other exists."""
    tickets = group_by(history.tickets, lambda ticket: ticket.customer_id)
    for request, run in successful(history):
        stored = [ticket.ticket_id for ticket in tickets.pop(request.customer_id, [])]
        if stored != [run.ticket_id]:
            yield f"{run.run_id} returned {run.ticket_id}; {request.customer_id} has {', '.join(stored) or 'none'}"
    for request, run in unsuccessful(history):
        if len(stored := [ticket.ticket_id for ticket in tickets.pop(request.customer_id, [])]) > 1:
            yield f"{run.run_id} ended as {run.status} with the tickets {', '.join(stored)}"
    for customer_id, others in tickets.items():
        yield f"{customer_id} has {', '.join(ticket.ticket_id for ticket in others)} of no successful run"


def invoices_add_up(history: History) -> Iterator[str]:
    """The outstanding amount of an invoice is its total less all its charges, and never negative."""
    charges = group_by(history.charges, lambda charge: charge.invoice_id)
    for invoice in history.invoices:
        paid = sum(charge.amount for charge in charges.get(invoice.invoice_id, []))
        if invoice.outstanding != invoice.total - paid or invoice.outstanding < 0:
            yield f"{invoice.invoice_id}: {paid} of {invoice.total} paid, {invoice.outstanding} outstanding"


def books_balance(history: History) -> Iterator[str]:
    """Every invoice and every charge has one posting, of its amount and between its accounts. No other exists."""
    expected = Counter(Posting("receivable", "revenue", one.total, one.invoice_id) for one in history.invoices)
    expected += Counter(Posting("cash", "receivable", one.amount, one.charge_id) for one in history.charges)
    stored = Counter(history.postings)
    for posting, count in (expected - stored).items():
        yield f"{posting.reference} over {posting.amount} is not posted ({count})"
    for posting, count in (stored - expected).items():
        yield f"{posting.reference} over {posting.amount} is posted without an invoice or a charge ({count})"


def journal_is_complete(history: History) -> Iterator[str]:
    """Every invoice and every charge has one entry of the journal, of its amount and invoice. No other exists."""
    expected = Counter(JournalEntry("invoice", one.total, one.invoice_id, one.invoice_id) for one in history.invoices)
    expected += Counter(JournalEntry("charge", one.amount, one.charge_id, one.invoice_id) for one in history.charges)
    stored = Counter(history.entries)
    for entry, count in (expected - stored).items():
        yield f"{entry.reference} over {entry.amount} has no entry ({count})"
    for entry, count in (stored - expected).items():
        yield f"{entry.reference} over {entry.amount} has an entry without an invoice or a charge ({count})"


def effects_are_recorded(history: History) -> Iterator[str]:
    """A successful run has one key with a response for each of its effects.

    A run that ended otherwise has them for the first of its effects, in the order of the graph. No other key exists.
    """
    repeated = (effect for effect in history.effects if effect.node != DRAFT)
    stored = Counter((effect.run_id, effect.node, effect.has_response) for effect in repeated)
    denied = denied_runs(history)
    for _, run in unsuccessful(history):
        order = [(run.run_id, node, True) for node in ([TICKET] if run.run_id in denied else [CHARGE, TICKET])]
        counts = [stored.pop(effect, 0) for effect in order]
        if max(counts) > 1 or counts != sorted(counts, reverse=True):
            yield f"{run.run_id} ended as {run.status}, and has {counts} keys for {[node for _, node, _ in order]}"
    expected = Counter((run.run_id, node, True) for _, run in successful(history) for node in effects_of(run))
    for (run_id, node, _), count in (expected - stored).items():
        yield f"{run_id} has no key with a response for its {node} ({count})"
    for (run_id, node, has_response), count in (stored - expected).items():
        yield f"{run_id} has an unexpected key {'with' if has_response else 'without'} a response for {node} ({count})"


def effects_are_reported(history: History) -> Iterator[str]:
    """Every effect of an ended run has an event of the run, which reports that it happened or may have."""
    reported = {(event.run_id, event.effect_key) for event in history.events if event.effect_key}
    ended = {run.run_id for run in history.runs if run.status.is_final}
    for effect in history.effects:
        if effect.node == DRAFT:
            continue
        if effect.has_response and effect.run_id in ended and (effect.run_id, effect.key) not in reported:
            yield f"{effect.run_id} has no event of its {effect.node} under the key {effect.key or 'none'}"


def reported_effects_exist(history: History) -> Iterator[str]:
    """Every effect that a run reports as one that has happened is stored by its service."""
    stored = {(effect.run_id, effect.key) for effect in history.effects if effect.has_response}
    for event in history.events:
        if event.has_response and (event.run_id, event.effect_key) not in stored:
            yield f"{event.run_id} reports {event.effect_key} at {event.seq}, which no service has"


def effects_precede_ends(history: History) -> Iterator[str]:
    """No effect is committed after the end of its run, unless that end reports it as one that may still happen."""
    happened = {(event.run_id, event.effect_key) for event in history.events if event.has_response}
    reported = {(event.run_id, event.effect_key) for event in history.events if event.effect_key}
    yield from late_effects(history.commits, reported - happened)


def epochs_are_recorded(history: History) -> Iterator[str]:
    """Each service that a successful run changed has recorded an epoch that the run has had."""
    recorded = {(epoch.service, epoch.run_id): epoch.epoch for epoch in history.epochs}
    for _, run in successful(history):
        for service in (SERVICES[node] for node in effects_of(run)):
            if not 1 <= (epoch := recorded.get((service, run.run_id), 0)) <= run.epoch:
                yield f"{run.run_id} is in epoch {run.epoch}, {service} has recorded {epoch or 'none'}"


def events_are_gapless(history: History) -> Iterator[str]:
    """The events of a run are numbered 1, 2, 3, … up to its last_seq."""
    for run, events in runs_with_events(history):
        if (numbers := [event.seq for event in events]) != list(range(1, run.last_seq + 1)):
            yield f"{run.run_id} has events {numbers}, its last_seq is {run.last_seq}"
        if wrong := [event.seq for event in events if not event.is_indexed]:
            yield f"{run.run_id} has events {wrong} in rows that state other numbers or kinds"


def ends_once(history: History) -> Iterator[str]:
    """The events of an ended run have one final status: in the last event, and equal to the status of its row."""
    for run, events in runs_with_events(history):
        finals = [event for event in events if event.status and event.status.is_final]
        expected = events[-1:] if run.status.is_final else []
        if finals != expected or any(event.status != run.status for event in finals):
            found = ", ".join(f"{event.status} at {event.seq}" for event in finals) or "no final status"
            yield f"{run.run_id} is {run.status} with {len(events)} events, which have {found}"


def answered_once(history: History) -> Iterator[str]:
    """At most one answer to an approval is acknowledged, and it is the stored one."""
    acknowledged = group_by(history.answers, lambda answer: answer.approval_id)
    for approval in history.approvals:
        statuses = [answer.status for answer in acknowledged.pop(approval.approval_id, [])]
        if statuses and statuses != [approval.status]:
            yield f"{approval.approval_id} is {approval.status}, acknowledged were {', '.join(statuses)}"
    for approval_id in acknowledged:
        yield f"{approval_id} has an acknowledged answer, and does not exist"


def charges_are_approved(history: History) -> Iterator[str]:
    """A charge that needs an approval was made with a granted one of its own run. No approval is used twice."""
    approvals = {approval.approval_id: approval for approval in history.approvals}
    requests = {run.run_id: request for request, run in (*successful(history), *unsuccessful(history))}
    for effect in history.effects:
        if effect.node == CHARGE and effect.run_id in requests and requests[effect.run_id].needs_approval:
            used = approvals.get(effect.approval_id)
            if used is None or (used.run_id, used.status) != (effect.run_id, ApprovalStatus.APPROVED):
                yield f"{effect.run_id} was charged with {used or effect.approval_id or 'no approval'}"
    for approval_id, count in Counter(effect.approval_id for effect in history.effects if effect.approval_id).items():
        if count > 1:
            yield f"{approval_id} was used {count} times"


def uncharged_runs_were_denied(history: History) -> Iterator[str]:
    """A successful run without a charge has a denied approval."""
    denied = denied_runs(history)
    for _, run in successful(history):
        if not run.charge_id and run.run_id not in denied:
            yield f"{run.run_id} has no charge, and no approver denied it"


Invariant = Callable[[History], Iterator[str]]
"""Yields the detail of each violation."""

INVARIANTS: Sequence[Invariant] = (
    one_run_per_request,
    every_run_ends,
    charged_once,
    ticketed_once,
    invoices_add_up,
    books_balance,
    journal_is_complete,
    effects_are_recorded,
    effects_are_reported,
    effects_precede_ends,
    reported_effects_exist,
    epochs_are_recorded,
    events_are_gapless,
    ends_once,
    answered_once,
    charges_are_approved,
    uncharged_runs_were_denied,
    threads_are_linearizable,
    streams_are_stored,
    cancellations_hold,
    answers_are_used,
    no_defects,
)


def successful(history: History) -> Iterator[tuple[RunRequest, Run]]:
    """The successful runs that a client requested, each with its request."""
    requests = {request.request_id: request for request in history.requests}
    for run in history.runs:
        if run.status is RunStatus.SUCCESS and run.request_id in requests:
            yield requests[run.request_id], run


def unsuccessful(history: History) -> Iterator[tuple[RunRequest, Run]]:
    """The runs that ended without success, as their requests allow, each with its request."""
    requests = {request.request_id: request for request in history.requests}
    for run in history.runs:
        request = requests.get(run.request_id)
        if request and run.status.is_final and run.status is not RunStatus.SUCCESS and run.status in request.ends:
            yield request, run


def denied_runs(history: History) -> set[str]:
    return {approval.run_id for approval in history.approvals if approval.status is ApprovalStatus.DENIED}


def effects_of(run: Run) -> list[str]:
    """The effects of a successful run, by the nodes of its graph."""
    return [CHARGE, TICKET] if run.charge_id else [TICKET]


def runs_with_events(history: History) -> Iterator[tuple[Run, list[Event]]]:
    events = group_by(history.events, lambda event: event.run_id)
    for run in history.runs:
        yield run, events.get(run.run_id, [])
