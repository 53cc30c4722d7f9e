"""The nodes of an answer from articles: draft, validate, and what every turn ends with."""

from collections.abc import Mapping, Sequence

from graphmesh_nodes import GraphmeshChatModel, Update, record_validation
from graphmesh_nodes.errors import GraphmeshError
from graphmesh_nodes.guardrails.answers import leaks, phrases_of
from graphmesh_nodes.guardrails.grounding import Grounding, ground
from graphmesh_nodes.guardrails.languages import language_of
from graphmesh_nodes.guardrails.untrusted import delimited
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langgraph.constants import TAG_NOSTREAM

from support import prompts, summary, texts
from support.outcomes import clarify, needs_person
from support.policy import policy_of
from support.state import Citation, Passage, State
from support.wording import has_phrase, sentences

JUDGE = GraphmeshChatModel()
MODEL = GraphmeshChatModel(disable_streaming=True).with_config(tags=[TAG_NOSTREAM])
"""Its drafts are not streamed: the run's watchers receive an answer once it is validated."""
INSTRUCTIONS = phrases_of(prompts.UNDERSTAND, prompts.DRAFT)
MAX_DRAFTS = 2
MAX_ANSWER_CHARACTERS = 2_000
QUOTED_SENTENCES = 3

FAULTS: Mapping[str, str] = {
    "answer.grounded": "a sentence, number or address is not in the documents",
    "answer.safe": "it contains a link, an id, markup or data that must not be shown",
    "answer.policy": "it promises something, or claims that something was done",
    "answer.tone": "it is impolite or too long",
    "answer.complete": "it does not answer the message",
    "answer.language": "it is not in the language of the customer",
}
"""What a check has found, for the model."""


async def draft(state: State) -> Update:
    """Let the model answer from the passages alone; without it, quote the best one."""
    if state["model"] == "down":
        return _quoted(state)
    try:
        written = await MODEL.ainvoke(_prompt(state))
    except GraphmeshError:
        return {**_quoted(state), "model": "down", "notes": [texts.note(state, "model")]}
    is_offline = bool(written.response_metadata.get("offline"))
    answer = str(written.text).strip()
    return {"answer": answer, "drafts": state["drafts"] + 1, "model": "offline" if is_offline else "real"}


def _prompt(state: State) -> list[AnyMessage]:
    """The documents are in a message of their own, before the customer's, and never among the instructions."""
    faults = [f"- {FAULTS[fault]}" for fault in state["faults"]]
    corrected = "\n".join(["Your draft before was refused:", *faults, state["answer"]]) if faults else ""
    system = prompts.draft(state["language"], summary.customer_facts(state["account"], state["orders"]), corrected)
    documents = "\n\n".join(
        delimited("document", passage["text"], title=passage["title"]) for passage in state["passages"] or []
    )
    asked = state["message"] if state["model"] == "real" else state["understanding"]["query"]
    question = HumanMessage(delimited("message", asked))
    return [SystemMessage(system), *summary.conversation(state), HumanMessage(documents), question]


def _quoted(state: State) -> Update:
    [best, *_] = state["passages"] or []
    quoted = " ".join(sentences(best["text"])[:QUOTED_SENTENCES])
    return {"answer": quoted[:MAX_ANSWER_CHARACTERS], "drafts": MAX_DRAFTS}


async def validate(state: State) -> Update:
    """Check the draft: entailed by the passages, within policy, polite, complete, in the customer's language.

    A language model gets one more attempt, with what was found. After that the best article is quoted, if it clearly
    answers; else a person takes over.
    """
    answer, passages = state["answer"], state["passages"] or []
    judge = JUDGE if state["model"] == "real" else None
    grounding = await ground(answer, [passage["text"] for passage in passages], judge)
    checks = _checks(state, grounding)
    faults = [name for name, passed in checks.items() if not passed]
    record_validation("answer", faults)
    return {
        "checks": checks,
        "faults": faults,
        "outcome": "answered",
        "confidence": _score(passages),
        "citations": _citations(grounding, passages),
        **(_next_attempt(state, faults) if faults else {}),
    }


def _next_attempt(state: State, faults: list[str]) -> Update:
    """Decide what follows a draft with faults; that it only has no answer is an offer to hand over."""
    if state["model"] == "real" and state["drafts"] < MAX_DRAFTS:
        return {}
    if faults == ["answer.complete"]:
        return clarify(state, "not_covered", "hand_over")
    if state["model"] == "real" and _score(state["passages"] or []) >= policy_of(state).confidence.answer:
        return {"model": "down", "notes": [texts.note(state, "model")]}
    return needs_person("unsure")


def _score(passages: Sequence[Passage]) -> float:
    return max((passage["score"] for passage in passages), default=0.0)


def _checks(state: State, grounding: Grounding) -> dict[str, bool]:
    policy, answer = policy_of(state), state["answer"]
    wording = policy.wording
    return {
        "answer.grounded": grounding.is_grounded,
        "answer.safe": _is_safe(state),
        "answer.policy": not has_phrase(answer, wording.promises) and not has_phrase(answer, wording.deeds),
        "answer.tone": len(answer) <= MAX_ANSWER_CHARACTERS and not has_phrase(answer, wording.impolite),
        "answer.complete": bool(answer) and not has_phrase(answer, wording.evasive),
        "answer.language": state["model"] != "real" or language_of(answer) in ("", state["language"]),
    }


def _is_safe(state: State) -> bool:
    """Report whether the answer has no foreign link or id, no markup, no credential and nothing of the prompts."""
    policy = policy_of(state)
    own = {invoice["invoice_id"] for invoice in state["invoices"] or []}
    own |= {order["order_id"] for order in state["orders"] or []}
    return not leaks(
        state["answer"],
        hosts=policy.link_hosts,
        instructions=INSTRUCTIONS,
        own_ids=own,
        id_prefixes=policy.id_prefixes,
    )


def _citations(grounding: Grounding, passages: list[Passage]) -> list[Citation]:
    """Return each sentence with the passage that supports it."""
    return [
        Citation(document_id=passages[index]["document_id"], title=passages[index]["title"], sentence=sentence)
        for sentence, index in grounding.supports
    ]


def finish(state: State) -> Update:
    """End the turn: complete the answer, and add it to the conversation."""
    answer = "\n\n".join(filter(None, (_introduction(state), state["answer"], _without_account(state))))
    cited = list(dict.fromkeys(citation["document_id"] for citation in state["citations"]))
    return {
        "answer": answer,
        "messages": [AIMessage(answer)],
        "sources": state["sources"] or cited,
        "clarifications": state["clarifications"] if state["outcome"] == "clarify" else 0,
    }


def _introduction(state: State) -> str:
    """State honestly that an article is quoted in another language than the customer's."""
    is_quote = state["citations"] and state["outcome"] == "answered" and state["model"] != "real"
    is_foreign = is_quote and language_of(state["answer"]) not in ("", state["language"])
    return texts.reply(state["language"], "quote") if is_foreign or (is_quote and state["model"] == "down") else ""


def _without_account(state: State) -> str:
    is_affected = state["outcome"] in ("answered", "refunded") and state["account"] is None and state["citations"]
    return texts.note(state, "account") if is_affected else ""
