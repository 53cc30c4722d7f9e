"""The nodes around the agent: before it emergencies, after it what no model has decided."""

from typing import Any

from graphmesh.retrieval.v1 import Passage, RetrievalService, SearchRequest
from graphmesh.ticketing.v1 import CreateTicketRequest, TicketingService
from graphmesh_nodes import call, record_escalation
from graphmesh_nodes.errors import GraphmeshError
from graphmesh_nodes.guardrails.answers import leaks
from graphmesh_nodes.guardrails.intent import intent_of
from graphmesh_nodes.guardrails.languages import language_of
from graphmesh_nodes.guardrails.middleware import FAILURE, UNCERTAIN, is_offline
from graphmesh_nodes.guardrails.urgency import urgency_of
from langchain_core.messages import AIMessage, HumanMessage

from tool_agent.deeds import deeds_of
from tool_agent.policy import Replies, policy
from tool_agent.records import named_records
from tool_agent.state import State

MAX_QUERY_CHARACTERS = 1_000
MAX_PASSAGES = 3
MAX_QUOTED_CHARACTERS = 800

Update = dict[str, Any]


def receive(state: State) -> Update:
    """Begin a turn: nothing of the turns before it applies but the conversation."""
    urgency = urgency_of(state["message"])
    return {
        "messages": [HumanMessage(state["message"])],
        "answer": "",
        "outcome": "answered",
        "ticket_id": "",
        "sources": [],
        "notes": [],
        "reason": "emergency" if urgency else None,
        "topic": urgency.topic if urgency else "",
    }


async def review(state: State) -> Update:
    """Take the agent's answer, unless it has none, or an effect may have happened. What was done is stated by code."""
    last = state["messages"][-1]
    failure = str(last.response_metadata.get(FAILURE, ""))
    notes = [f"The model has not answered: {failure}."] if failure else []
    if failure == UNCERTAIN:
        return {"reason": "uncertain", "notes": ["A change was not confirmed by its service: look it up."]}
    if deeds := deeds_of(state["messages"], await replies(state)):
        return {"answer": " ".join(filter(None, (str(last.text).strip(), deeds))), "outcome": "changed", "notes": notes}
    if is_offline(last):
        return {"notes": notes}
    if not str(last.text).strip():
        return {"reason": "unanswered", "notes": ["The answer was empty, or refused by its checks."]}
    return {"answer": str(last.text)}


async def quote(state: State) -> Update:
    """Answer without a model: with the records that are named, a passage of the articles, or not at all."""
    texts, rules, intent = await replies(state), await policy(), intent_of(state["message"])
    if intent.wants_money or intent.act == "asks_for":
        return {"reason": "unanswered"}
    if intent.act == "thanks":
        return {"answer": texts.welcome, "messages": [AIMessage(texts.welcome)]}
    sentences, notes = await named_records(state["message"], state["customer_id"], texts)
    if sentences:
        answer = "\n".join(sentences)
        return {"answer": answer, "notes": [*state["notes"], *notes], "messages": [AIMessage(answer)]}
    query = SearchRequest(query=state["message"][:MAX_QUERY_CHARACTERS], limit=MAX_PASSAGES, min_score=rules.min_score)
    try:
        found = (await call(RetrievalService.Search, query)).passages
    except GraphmeshError as error:
        return {"reason": "unanswered", "notes": [*state["notes"], f"The articles could not be read: {error.reason}."]}
    passages = [passage for passage in found if not leaks(_quotation(passage), hosts=rules.link_hosts)]
    if not passages:
        return {"reason": "unanswered"}
    answer = f"{texts.quoted}\n\n{_quotation(passages[0])}"
    return {"answer": answer, "sources": [passages[0].document_id], "messages": [AIMessage(answer)]}


def _quotation(passage: Passage) -> str:
    return f"{passage.title}: {passage.text[:MAX_QUOTED_CHARACTERS]}"


async def replies(state: State) -> Replies:
    return (await policy()).replies_in(language_of(state["message"]))


async def hand_over(state: State) -> Update:
    """Open a ticket with what the customer has written. Where that fails, the answer says so."""
    texts, notes = await replies(state), state["notes"]
    record_escalation(state["reason"] or "unanswered", state["topic"])
    description = "\n".join([state["message"], "", f"Handed over by tool_agent: {state['reason']}", *notes])[:10_000]
    request = CreateTicketRequest(
        subject=f"tool_agent: {state['topic'] or state['reason']}",
        description=description.replace("\0", ""),
        customer_id=state["customer_id"],
        topic=state["topic"],
    )
    try:
        ticket = (await call(TicketingService.CreateTicket, request)).ticket.ticket_id
    except GraphmeshError as error:
        failed = "may have been opened" if error.may_have_happened else "could not be opened"
        answer, ticket, notes = texts.not_handed_over, "", [*notes, f"A ticket {failed}: {error.reason}."]
    else:
        answer = texts.handed_over.format(ticket=ticket)
    return {
        "answer": answer,
        "outcome": "escalated",
        "ticket_id": ticket,
        "notes": notes,
        "messages": [AIMessage(answer)],
    }


urgency_of("")  # reads the word lists now: in the first run it would hold up the event loop of all runs
