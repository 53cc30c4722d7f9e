"""The later nodes: records are read, the difference is confirmed, applied record by record, and read back."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from graphmesh.crm.v1 import CrmService, UpdateCustomerRequest
from graphmesh.ticketing.v1 import CreateTicketRequest, GetTicketPolicyRequest, TicketingService
from graphmesh_nodes import ApprovalRequest, Update, call, record_escalation, record_validation, run_context
from graphmesh_nodes.errors import ApprovalDenied, GraphmeshError, NotBegun, NotFound, VersionMismatch
from graphmesh_nodes.guardrails.confirmation import Accepted, Declined, Proposal, confirm
from langgraph.config import get_stream_writer

from operations import history, records
from operations.policy import OperationsPolicy, policy
from operations.replies import differences, reply
from operations.request_nodes import ended, required_plan
from operations.state import Item, ItemStatus, Record, State
from operations.values import ATTRIBUTE, update_request

MAX_ATTEMPTS = 3
"""How often a record that changes meanwhile is read and proposed again."""
MAX_TURNS = 5
"""Messages in place of an answer to a proposal that are understood in one run."""
DEFAULT_SCOPES: Mapping[Record, str] = {"customer": "approvals.crm", "ticket": "approvals.ticketing"}
"""The scope of an approver where a rule names none."""
READS = 8
"""Records that are read at the same time."""


async def read(state: State) -> Update:
    """Read the records, and compare them with the new values. Nothing is changed yet, also where this is repeated."""
    return {"change_id": "", **await _read(state)}


async def _read(state: State) -> Update:
    plan = required_plan(state)
    limit = (await policy()).value.limit(plan["record"], plan["set"])
    try:
        found = list(dict.fromkeys(plan.get("ids", ()))) or await records.selected(plan, limit)
        if len(found) > limit:
            return ended(state, "refused", "too_many", count=len(found), limit=limit)
        ids = list(dict.fromkeys(found))
        if problem := await _unknown_name(state):
            return ended(state, "clarify", "invalid", problems=problem)
        items = await _items(state, ids)
    except GraphmeshError as error:
        return _not_read(state, error)
    return _compared(state, items)


async def _items(state: State, ids: Sequence[str]) -> list[Item]:
    before_undo = {item["id"]: item for item in await _history(state)}
    places = asyncio.Semaphore(READS)

    async def one(record_id: str) -> Item:
        async with places:
            try:
                fields, version = await records.read(state["record"], record_id)
            except NotFound:
                return _item(record_id, 0, {}, {}, "missing")
        changed = before_undo.get(record_id)
        if changed and changed["version_after"] != version:
            return _item(record_id, version, {}, {}, "conflict")
        wanted = changed["before"] if changed else required_plan(state)["set"]
        after = {name: value for name, value in wanted.items() if fields.get(name, "") != value}
        before = {name: fields.get(name, "") for name in after}
        return _item(record_id, version, before, after, "pending" if after else "unchanged")

    return list(await asyncio.gather(*map(one, ids)))


async def _history(state: State) -> list[Item]:
    return (await history.items_of(state["undoes"]))[1] if state["undoes"] else []


def _item(record_id: str, version: int, before: dict[str, str], after: dict[str, str], status: ItemStatus) -> Item:
    return Item(id=record_id, version=version, before=before, after=after, status=status, version_after=0)


def _compared(state: State, items: list[Item]) -> Update:
    missing = with_status(items, "missing")
    if missing and not state["undoes"]:
        return {"items": items, **ended(state, "clarify", "missing", ids=_ids(missing))}
    if with_status(items, "pending"):
        return {"items": items, "attempt": state["attempt"] + 1}
    if conflicts := [*missing, *with_status(items, "conflict")]:
        return {"items": items, **ended(state, "refused", "conflict", ids=_ids(conflicts))}
    return {"items": items, **ended(state, "unchanged", "unchanged" if items else "no_records")}


def _not_read(state: State, error: GraphmeshError) -> Update:
    service = "crm" if state["record"] == "customer" else "ticketing"
    if error.is_refusal:
        return ended(state, "refused", "rejected", ids="–", reason=f"{error.reason}: {error}")
    note = f"The service {service} could not be reached."
    return {"notes": [*state["notes"], note], **ended(state, "unavailable", "unavailable", service=service)}


async def _unknown_name(state: State) -> str:
    """Return what is wrong with a queue or a priority that the ticket policy does not have."""
    wanted = {name: value for name, value in required_plan(state)["set"].items() if name in ("queue", "priority")}
    if state["record"] != "ticket" or not wanted or state["undoes"]:
        return ""
    known = (await call(TicketingService.GetTicketPolicy, GetTicketPolicyRequest())).policy
    names = {"queue": [one.name for one in known.queues], "priority": [one.name for one in known.priorities]}
    wrong = [
        f"{name}: {value!r} is none of {', '.join(names[name])}"
        for name, value in wanted.items()
        if value not in names[name]
    ]
    return "; ".join(wrong)


async def confirm_change(state: State) -> Update:
    """Propose the difference to the requester. Nothing is changed before it is accepted."""
    shown = (await policy()).value.shown_records
    items = with_status(state["items"], "pending")
    key = "confirm_undo" if state["undoes"] else "confirm"
    facts = {"count": len(items), "undoes": state["undoes"], "differences": differences(items, shown)}
    match confirm(Proposal("change", reply(state["language"], key, **facts), _content(state, items, shown))):
        case Accepted():
            return {"decision": "accepted", "change_id": history.change_id(state)}
        case Declined():
            return {"decision": "declined", **ended(state, "declined", "declined")}
        case message:
            if state["turns"] >= MAX_TURNS:
                return {"decision": "declined", **ended(state, "declined", "declined")}
            fresh: Update = {"text": message.text, "form": None, "undo_of": "", "attempt": 0, "items": []}
            return {"decision": "message", "turns": state["turns"] + 1, **fresh}


def _content(state: State, items: Sequence[Item], shown: int) -> dict[str, Any]:
    """Return all that the change depends on: each record in its version, with its new values."""
    differences_shown = [{"id": one["id"], "before": one["before"], "after": one["after"]} for one in items[:shown]]
    return {
        "record": state["record"],
        "count": len(items),
        "set": {} if state["undoes"] else required_plan(state)["set"],
        "undoes": state["undoes"],
        "differences": differences_shown,
        "versions": {one["id"]: one["version"] for one in items},
        "skipped": {one["id"]: one["status"] for one in state["items"] if one["status"] != "pending"},
    }


async def apply(state: State) -> Update:
    """Change the next record: each has a superstep, an effect key and, where one is needed, an approval of its own."""
    found, plan = (await policy()).value, required_plan(state)
    item = with_status(state["items"], "pending")[0]
    if found.refused(plan["record"], plan["set"], run_context().roles()):
        return {"items": _all_pending(state["items"], "forbidden")}
    try:
        changed: Item = {**item, "status": "applied", "version_after": await _update(state, item, found)}
        await history.record_item(state, changed)
    except GraphmeshError as error:
        return _not_applied(state, item, error)
    done = len(with_status(state["items"], "applied")) + 1
    get_stream_writer()({"changed": item["id"], "done": done, "of": len(state["items"])})
    return {"items": _replaced(state["items"], changed)}


async def _update(state: State, item: Item, found: OperationsPolicy) -> int:
    """Send the change of one record, and return the record's new version."""
    values = item["after"]
    if any(name.startswith(ATTRIBUTE) for name in values):
        fields, _ = await records.read(state["record"], item["id"])
        values = {**{name: value for name, value in fields.items() if name.startswith(ATTRIBUTE)}, **values}
    reason = f"Change {state['change_id']} of the operations agent"
    request = update_request(state["record"], item["id"], values, item["version"], reason)
    approval = _approval(state, item, found)
    if isinstance(request, UpdateCustomerRequest):
        return (await call(CrmService.UpdateCustomer, request, approval=approval)).customer.version
    return (await call(TicketingService.UpdateTicket, request, approval=approval)).ticket.version


def _approval(state: State, item: Item, found: OperationsPolicy) -> ApprovalRequest | None:
    """Return the approval that the rules of the fields need together."""
    plan = required_plan(state)
    rules = [rule for rule in found.rules(plan["record"], plan["set"]) if rule.needs_approval]
    if not rules:
        return None
    scopes = sorted({scope for rule in rules for scope in rule.scopes or (DEFAULT_SCOPES[plan["record"]],)})
    return ApprovalRequest(differences([item], 1), scopes, four_eyes=any(rule.four_eyes for rule in rules))


def _not_applied(state: State, item: Item, error: GraphmeshError) -> Update:
    """Record why a record was not changed. Where its service cannot be reached, the others are not tried either."""
    status: ItemStatus = "uncertain" if error.may_have_happened else "refused"
    for kind, its_status in NOT_APPLIED.items():
        if isinstance(error, kind) and not error.may_have_happened:
            status = its_status
    items = _replaced(state["items"], {**item, "status": status})
    notes = [*state["notes"], f"{item['id']}: {error.reason}: {error}"]
    if status in ("failed", "uncertain"):
        items = _all_pending(items, "failed")
    return {"items": items, "notes": list(dict.fromkeys(notes))}


NOT_APPLIED: dict[type[GraphmeshError], ItemStatus] = {
    ApprovalDenied: "denied",
    VersionMismatch: "conflict",
    NotFound: "missing",
    NotBegun: "failed",
}


async def verify(state: State) -> Update:
    """Read back what was changed, or may have been, and compare it with what was confirmed."""
    items = list(state["items"])
    for item in [one for one in items if one["status"] in ("applied", "uncertain")]:
        try:
            fields, version = await records.read(state["record"], item["id"])
        except GraphmeshError:
            items = _replaced(items, {**item, "status": "uncertain"})
            continue
        is_there = all(fields.get(name, "") == value for name, value in item["after"].items())
        if is_there:
            verified: Item = {**item, "status": "applied", "version_after": item["version_after"] or version}
            await history.record_item(state, verified)
            items = _replaced(items, verified)
        else:
            items = _replaced(items, {**item, "status": "uncertain"})
    record_validation("change", [item["id"] for item in with_status(items, "uncertain")])
    return {"items": items}


async def hand_over(state: State) -> Update:
    """Open a ticket for what could not be verified."""
    record_escalation("uncertain", (await policy()).value.ticket_topic)
    unsure = _ids(with_status(state["items"], "uncertain"))
    request = CreateTicketRequest(
        subject=f"A change could not be verified: {unsure}"[:200],
        description=f"Change {state['change_id']} of the operations agent:\n{differences(state['items'], 50)}"[:10_000],
        topic=(await policy()).value.ticket_topic,
        tags=["operations-agent"],
    )
    try:
        return {"ticket_id": (await call(TicketingService.CreateTicket, request)).ticket.ticket_id}
    except GraphmeshError as error:
        return {"notes": [*state["notes"], f"No ticket could be opened: {error.reason}"]}


async def report(state: State) -> Update:
    """State what was changed, what was not, and why."""
    applied = with_status(state["items"], "applied")
    plan, found, roles = required_plan(state), (await policy()).value, run_context().roles()
    shown = differences(applied, found.shown_records)
    refused = found.refused(plan["record"], plan["set"], roles) or list(plan["set"])
    refusal = found.refusal(plan["record"], refused, roles)
    answer = "\n".join([*_done(state, len(applied), shown), *_not_done(state, refusal)])
    return {"answer": answer, "outcome": _outcome(state), "change_id": state["change_id"] if applied else ""}


def _done(state: State, done: int, shown: str) -> list[str]:
    if not done:
        return []
    is_whole = done + len(with_status(state["items"], "unchanged")) == len(state["items"])
    key = ("undone" if state["undoes"] else "applied") if is_whole else "partly"
    facts = {"differences": shown, "change_id": state["change_id"], "done": done, "count": len(state["items"])}
    return [reply(state["language"], key, **facts)]


def _not_done(state: State, refusal: Mapping[str, str]) -> list[str]:
    reasons = "; ".join(state["notes"])
    service = "crm" if state["record"] == "customer" else "ticketing"
    texts = [
        reply(state["language"], key, ids=_ids(found), reason=reasons, service=service, **refusal)
        for status, key in NOT_DONE.items()
        if (found := with_status(state["items"], status))
    ]
    return [*texts, reply(state["language"], "ticket", ticket=state["ticket_id"])] if state["ticket_id"] else texts


NOT_DONE: dict[ItemStatus, str] = {
    "unchanged": "already",
    "denied": "denied",
    "forbidden": "refused",
    "conflict": "conflict",
    "missing": "missing",
    "refused": "rejected",
    "failed": "not_reached",
    "uncertain": "unverified",
}
"""The replies about records that were not changed, or may not have been."""


def _outcome(state: State) -> str:
    statuses = {item["status"] for item in state["items"]}
    if "uncertain" in statuses:
        return "escalated"
    if "applied" in statuses:
        return "undone" if state["undoes"] else "applied"
    return "unavailable" if "failed" in statuses else "refused"


def with_status(items: Sequence[Item], status: str) -> list[Item]:
    return [item for item in items if item["status"] == status]


def _replaced(items: Sequence[Item], changed: Item) -> list[Item]:
    return [changed if item["id"] == changed["id"] else item for item in items]


def _all_pending(items: Sequence[Item], status: ItemStatus) -> list[Item]:
    return [{**one, "status": status} if one["status"] == "pending" else one for one in items]


def _ids(items: Sequence[Item]) -> str:
    return ", ".join(item["id"] for item in items)
