"""The node that decides what to do about a message, once it is understood and the records are read.

The branches are tried in their order. Each returns an update of the state, or None where the message is not its.
"""

from collections.abc import Callable, Sequence

from graphmesh_nodes import Update

from support import claims, texts
from support.claims import Finding, Request
from support.outcomes import clarify, needs_person
from support.policy import policy_of
from support.state import Cause, Option, Order, Pending, Reason, State
from support.understanding import lexical_reading
from support.wording import has_phrase, plain_words

Branch = Callable[[State], Update | None]
MAX_SHOWN_ORDERS = 3
MIN_FOREIGN_WORDS = 4
"""A message of fewer words may be taken for another language, and is no reason for a person."""
CLEARLY_COVERED = 0.75
"""Share of a message that an article covers where it is not clear that the message is a question about it."""


def decide(state: State) -> Update:
    """Take the first branch that the message is for; else a question to the customer."""
    state = _in_language(state)
    spoken = {"language": state["language"]}
    for branch in BRANCHES:
        if (update := branch(state)) is not None:
            return {**spoken, **update}
    return {**spoken, **clarify(state, "unclear")}


def _in_language(state: State) -> State:
    """Prefer the customer's language of the CRM where the conversation has shown none."""
    preferred = state["account"]["language"] if state["account"] else ""
    is_unknown = not state["understanding"]["language"] and len(state["messages"]) <= 1
    if is_unknown and preferred in policy_of(state).languages:
        return State(**{**state, "language": preferred})
    return state


def _person(state: State) -> Update | None:
    if reason := _person_reason(state):
        return {"category": "person" if reason == "person_wanted" else state["category"], **needs_person(reason)}
    return None


def _person_reason(state: State) -> Reason | None:
    policy, understanding = policy_of(state), state["understanding"]
    if state["account"] is not None and not state["account"]["known"]:
        return "unknown_customer"
    if understanding["topic"] == "person" or has_phrase(state["message"], policy.wording.person_wanted):
        return "person_wanted"
    is_foreign = understanding["language"] not in ("", *policy.languages)
    return "language" if is_foreign and len(plain_words(state["message"])) >= MIN_FOREIGN_WORDS else None


def _thanks(state: State) -> Update | None:
    understanding = state["understanding"]
    if understanding["act"] != "thanks" or understanding["cause"] != "none":
        return None
    answer = texts.reply(state["language"], "thanks")
    return {"category": "thanks", "answer": answer, "outcome": "answered", "step": "finish"}


def _refund(state: State) -> Update | None:
    request = _requested(state)
    if request is None:
        return None
    if state["invoices"] is None or state["orders"] is None:
        down: Reason = "billing_down" if state["invoices"] is None else "records_down"
        return {"category": "refund", **needs_person(down)}
    finding = claims.find_claim(request, state["invoices"], state["orders"], policy_of(state))
    return {"category": "refund", **_of_finding(state, request, finding)}


def _requested(state: State) -> Request | None:
    """Return what is claimed: by this message, or by it as an answer to the agent's question."""
    understanding, message, follows = state["understanding"], state["message"], state["follows"]
    wants = understanding["wants_money"] and understanding["confidence"] >= policy_of(state).confidence.proposal
    if follows and _answers(state, follows, wants=wants):
        return Request(
            message=f"{follows['message']}\n{message}",
            latest=message,
            cause=follows["cause"] if understanding["cause"] == "none" else understanding["cause"],
            is_about_claim=_is_about_claim(state),
            choice=_choice(follows, message, is_yes=state["is_yes"]),
        )
    if not wants:
        return None
    quotes, cause = understanding["quotes"], understanding["cause"]
    return Request(message=message, latest=message, cause=cause, quotes=quotes, is_about_claim=_is_about_claim(state))


def _answers(state: State, follows: Pending, *, wants: bool) -> bool:
    """Report whether the message answers the agent's question about a claim."""
    understanding = state["understanding"]
    if state["is_yes"] or wants:
        return True
    if follows["awaits"] in ("wish", "hand_over") or understanding["negated"]:
        return False
    return understanding["act"] in ("tells", "other") or understanding["cause"] != "none"


def _is_about_claim(state: State) -> Callable[[str], bool]:
    """Return a function that reports whether a clause states what is wrong or wanted, by its words."""
    language = state["understanding"]["language"]

    def is_about_claim(clause: str) -> bool:
        reading = lexical_reading(clause, language)
        return not reading["negated"] and (reading["cause"] != "none" or reading["wants_money"])

    return is_about_claim


def _choice(follows: Pending, message: str, *, is_yes: bool) -> Option | None:
    """Return the option that the message names by its number; the only one for a yes."""
    options, number = follows["options"], message.strip(" .)#\n")
    if number.isdecimal() and len(number) < 4 and 1 <= int(number) <= len(options):
        return options[int(number) - 1]
    return options[0] if is_yes and len(options) == 1 else None


def _of_finding(state: State, request: Request, finding: Finding) -> Update:
    if finding.claim:
        return {"claim": finding.claim, "step": "preview"}
    if finding.reason:
        return needs_person(finding.reason)
    if not finding.asks:
        return {"answer": texts.reply(state["language"], finding.reply), "step": "refund_status"}
    asked = clarify(
        state,
        finding.reply,
        finding.asks,
        options=finding.options[: policy_of(state).max_options],
        message=request.message,
        cause=request.cause,
        values=_values(state, request.cause, finding),
    )
    return {**asked, "sources": [finding.order["order_id"]] if finding.order else []}


def _values(state: State, cause: Cause, finding: Finding) -> dict[str, str]:
    order = finding.order
    return {
        "invoice": finding.invoice["invoice_id"] if finding.invoice else "",
        "order": order["order_id"] if order else "",
        "status": order["status"] if order else "",
        "cause": texts.text(state["language"], "causes", cause),
    }


def _trouble(state: State) -> Update | None:
    """The customer reports something that is wrong, and does not state what is wanted."""
    understanding = state["understanding"]
    cause = understanding["cause"]
    if cause not in policy_of(state).refunds.order_states or understanding["negated"]:
        return None
    if understanding["act"] == "asks_about":
        return None
    return {"category": "refund", **clarify(state, "which_wish", "wish", cause=cause)}


def _refund_status(state: State) -> Update | None:
    """A question about a refund is answered from the books, unless it is a general one that an article covers."""
    understanding = state["understanding"]
    asks = understanding["act"] == "asks_about" and has_phrase(state["message"], policy_of(state).wording.money)
    if not asks and understanding["topic"] != "refund_status":
        return None
    has_refund = any(line["refunded"] for invoice in state["invoices"] or [] for line in invoice["lines"])
    is_covered = _score(state) >= policy_of(state).confidence.answer
    step = "draft" if is_covered and not has_refund else "refund_status"
    return {"category": "refund_status", "step": step}


def _order_status(state: State) -> Update | None:
    wording, message, orders = policy_of(state).wording, state["message"], state["orders"]
    named = [order for order in orders or [] if claims.mentions_id(message, order["order_id"])]
    asks = has_phrase(message, wording.order_status) and (named or has_phrase(message, wording.parcel))
    if not asks and state["understanding"]["topic"] != "order":
        return None
    if orders is None:
        return {"category": "order", **needs_person("unsure")}
    if not orders:
        return None
    return {"category": "order", **_statuses(state["language"], named or orders[:MAX_SHOWN_ORDERS])}


def _statuses(language: str, orders: Sequence[Order]) -> Update:
    lines = [
        texts.reply(language, "order_status", order=order["order_id"], title=order["title"], status=order["status"])
        for order in orders
    ]
    sources = [order["order_id"] for order in orders]
    return {"answer": "\n".join(lines), "outcome": "answered", "sources": sources, "step": "finish"}


def _request(state: State) -> Update | None:
    """The customer wants something done about an order or an invoice that the agent has no tool for."""
    if state["understanding"]["act"] != "asks_for":
        return None
    named = claims.invoices_named(state["message"], state["invoices"] or [], state["orders"] or [])
    return needs_person("request") if named else None


def _question(state: State) -> Update | None:
    """A question is answered from articles; one that they do not cover may be handed over, if the customer wants it."""
    policy, understanding = policy_of(state), state["understanding"]
    is_question = understanding["act"] in ("asks_about", "asks_for") or understanding["topic"] == "question"
    needed = policy.confidence.draft if state["model"] == "real" else policy.confidence.answer
    if _score(state) >= (needed if is_question else CLEARLY_COVERED):
        return {"category": "question", "step": "draft"}
    if not is_question:
        return None
    if state["passages"] is None:
        return {"category": "question", **needs_person("knowledge_down")}
    return {"category": "question", **clarify(state, "not_covered", "hand_over")}


def _score(state: State) -> float:
    """Return how well the best article matches the message."""
    return max((passage["score"] for passage in state["passages"] or []), default=0.0)


BRANCHES: tuple[Branch, ...] = (
    _person,
    _thanks,
    _refund,
    _refund_status,
    _order_status,
    _trouble,
    _request,
    _question,
)
