"""The first nodes: the request is received, understood and permitted."""

from collections.abc import Mapping
from typing import Any, Literal

from graphmesh_nodes import GraphmeshChatModel, Update, run_context
from graphmesh_nodes.errors import FieldViolation, GraphmeshError
from graphmesh_nodes.guardrails.languages import language_of
from graphmesh_nodes.guardrails.structured import structured
from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import BaseModel, ConfigDict

from operations import history, prompts
from operations.policy import OperationsPolicy, policy
from operations.replies import reply
from operations.state import Change, Outcome, Record, State
from operations.understanding import Understood, is_no_request, supported, understand
from operations.values import FIELDS, broken_rules, normalized

MODEL = GraphmeshChatModel()
NO_MODEL = "The language model could not be reached; the request was read by word lists alone."


class Parsed(BaseModel):
    """The answer of a model."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["change", "undo", "other"]
    record: Record
    ids: list[str]
    where: dict[str, str]
    set: dict[str, str]

    def change(self) -> Change:
        values = {field: normalized(self.record, field, value) for field, value in self.set.items()}
        where = {name: normalized(self.record, name, value) for name, value in self.where.items()}
        return {"record": self.record, "ids": self.ids, "where": where, "set": values}


def ended(state: State, outcome: Outcome, key: str, **facts: object) -> Update:
    """End the run with a reply."""
    return {"outcome": outcome, "answer": reply(state["language"], key, **facts)}


def receive(state: State) -> Update:
    """Reset what an earlier run of the thread has left, except for its last change."""
    given = [name for name in ("message", "change", "undo") if state.get(name)]
    fresh: Update = {
        "text": state.get("message") or "",
        "form": state.get("change"),
        "undo_of": state.get("undo") or "",
        "message": "",
        "change": None,
        "undo": None,
        "outcome": "",
        "answer": "",
        "change_id": "",
        "last_change": state.get("change_id") or state.get("last_change", ""),
        "language": "en",
        "prompts": dict(prompts.VERSIONS),
        "items": [],
        "notes": [],
        "plan": None,
        "undoes": "",
        "attempt": 0,
        "turns": 1,
        "ticket_id": "",
    }
    if len(given) == 1:
        return fresh
    problem = "input: has to have one of message, change and undo"
    return {**fresh, **ended({**state, "language": "en"}, "clarify", "invalid", problems=problem)}


async def understand_request(state: State) -> Update:
    """Understand the request, and let go of one that is none."""
    allowed = (await policy()).value
    notes: list[str] = []
    if state["form"]:
        found = Understood(change=state["form"])
    elif state["undo_of"]:
        found = Understood(undo=True)
    else:
        found, notes = await _understood(state["text"], allowed)
    language = _language(state["text"], found)
    known = {"language": language, "notes": [*state["notes"], *notes]}
    if found.undo:
        return {**known, **await _undone({**state, "language": language}, allowed)}
    if found.change is None:
        return {**known, **ended({**state, "language": language}, "clarify", "clarify", **_field_lists())}
    return {**known, "plan": found.change, "record": found.change["record"], "undoes": ""}


def _language(message: str, found: Understood) -> str:
    """Return the language of an answer: that of the verb of a request, else that of most words."""
    candidates = [found.language, language_of(message)]
    is_request = found.change is not None or found.undo
    return next(filter(None, candidates if is_request else reversed(candidates)), "en")


async def _understood(message: str, allowed: OperationsPolicy) -> tuple[Understood, list[str]]:
    """Return what a message requests, and notes. The word lists understand it where no model can."""
    lexical = understand(message, allowed)
    if lexical.undo:
        return lexical, []
    try:
        parsed, is_offline = await structured(
            MODEL, Parsed, [SystemMessage(prompts.REQUEST), HumanMessage(message or "-")]
        )
    except GraphmeshError:
        return lexical, [NO_MODEL]
    if is_offline or parsed is None:
        return lexical, []
    return _checked(parsed, message, lexical.language), []


def _checked(parsed: Parsed, message: str, language: str) -> Understood:
    """Return what a model has understood, as far as the message supports it."""
    change = parsed.change()
    if parsed.kind == "undo":
        return Understood(undo=not is_no_request(message), language=language)
    if parsed.kind != "change" or is_no_request(message) or not supported(change, message):
        return Understood(language=language)
    return Understood(change=change, language=language)


async def _undone(state: State, allowed: OperationsPolicy) -> Update:
    """Plan the undoing of a change: the values before, for each record that was changed."""
    change = state["undo_of"] or state["last_change"]
    record, items = await history.items_of(change)
    if not items:
        return ended(state, "clarify", "no_undo", change_id=change or "–")
    fields = {name: "" for item in items for name in item["before"]}
    plan: Change = {"record": record, "ids": [item["id"] for item in items], "set": fields}
    return {"plan": plan, "record": record, "undoes": change}


async def permit(state: State) -> Update:
    """Check that the caller's roles may change the fields, before any record is read, and that the values fit."""
    found, plan = await policy(), required_plan(state)
    roles = run_context().roles()
    if refused := found.value.refused(plan["record"], plan["set"], roles):
        return ended(state, "refused", "refused", **found.value.refusal(plan["record"], refused, roles))
    problems = [] if state["undoes"] else [*broken_rules(plan), *_unlisted(found.value, plan)]
    if problems:
        shown = "; ".join(f"{one.field}: {one.description}" for one in problems)
        return ended(state, "clarify", "invalid", problems=shown)
    return {"policy_version": found.version}


def required_plan(state: State) -> Change:
    if state["plan"] is None:
        raise ValueError("the state has no plan")
    return state["plan"]


def _unlisted(allowed: OperationsPolicy, plan: Change) -> list[FieldViolation]:
    """Return the values that the policy does not list, where it lists any."""
    rules = {name: allowed.rule(plan["record"], name) for name in plan["set"]}
    return [
        FieldViolation(f"set.{name}", f"{plan['set'][name]!r} is none of {', '.join(sorted(rule.values))}")
        for name, rule in rules.items()
        if rule and rule.values and plan["set"][name] not in rule.values
    ]


def _field_lists() -> Mapping[str, Any]:
    return {record: ", ".join(FIELDS[record]) for record in FIELDS}
