"""The node that hands a request to a person, and its replies. It works with all services but ticketing down."""

from graphmesh.ticketing.v1 import CreateTicketRequest, CreateTicketResponse, TicketingService
from graphmesh_nodes import Update, degrade, record_escalation, remote
from graphmesh_nodes.errors import GraphmeshError

from support import summary, texts
from support.policy import policy_of
from support.state import State

MAX_DESCRIPTION_CHARACTERS = 10_000


def _ticket_request(state: State) -> CreateTicketRequest:
    record_escalation(state["emergency"] or state["reason"] or "unsure", _topic(state))
    return CreateTicketRequest(
        subject=summary.subject(state),
        description=summary.description(state)[:MAX_DESCRIPTION_CHARACTERS],
        topic=_topic(state),
        customer_id=state["customer_id"],
        tags=_tags(state),
    )


def _tags(state: State) -> list[str]:
    names = ("support-agent", state["category"], state["reason"] or "unsure")
    return list(dict.fromkeys(name.replace("_", "-") for name in names))


def _topic(state: State) -> str:
    """Return the topic of the ticket: the tenant's ticket policy gives it a queue and a priority."""
    policy = policy_of(state)
    if state["emergency"]:
        return policy.emergency_topics.get(state["emergency"], "emergency")
    tier = state["account"]["tier"] if state["account"] else ""
    return policy.ticket_topics.get(state["reason"] or "unsure") or policy.tier_topics.get(tier, "")


def _handed_over(state: State, response: CreateTicketResponse) -> Update:
    policy, language = policy_of(state), state["language"]
    if state["emergency"]:
        handed_over = texts.reply(language, "emergency_ticket")
    else:
        handed_over = texts.reply(language, "ticket", answer_time=policy.answer_time[language])
    return {**_escalated(state, handed_over), "ticket_id": response.ticket.ticket_id}


def _not_handed_over(state: State, error: GraphmeshError) -> Update:
    """Give the contact for emergencies, and claim no ticket."""
    language = state["language"]
    if state["emergency"]:
        regret = texts.reply(language, "emergency_no_ticket", contact=policy_of(state).emergency_contact)
    else:
        regret = texts.reply(language, "no_ticket")
    note = "ticket_uncertain" if error.may_have_happened else "no_ticket"
    return {**_escalated(state, regret), "notes": [texts.note(state, note)]}


def _escalated(state: State, more: str) -> Update:
    language = state["language"]
    if state["emergency"]:
        text = texts.text(language, "emergencies", state["emergency"])
    else:
        text = texts.text(language, "reasons", state["reason"] or "unsure")
    return {"answer": f"{text} {more}", "outcome": "escalated", "sources": [], "citations": [], "pending": None}


hand_over = remote(
    TicketingService.CreateTicket,
    request=_ticket_request,
    update=_handed_over,
    fallback=degrade(_not_handed_over),
    refusals={GraphmeshError: degrade(_not_handed_over)},
)
