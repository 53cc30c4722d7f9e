"""The nodes of the analyst: each returns its update of the state."""

from datetime import UTC, datetime
from typing import Literal

from graphmesh_nodes import GraphmeshChatModel, Update, run_context
from graphmesh_nodes.errors import CallerError, GraphmeshError
from graphmesh_nodes.guardrails.languages import language_of
from graphmesh_nodes.guardrails.structured import structured
from graphmesh_nodes.guardrails.untrusted import readable
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel, ConfigDict, Field

from analyst import clarification, model_texts, narrative, planner, prompts, queries
from analyst.chart import chart_of
from analyst.plans import Unclear
from analyst.policy import AnalystPolicy, policy
from analyst.prompts import reply
from analyst.reading import read
from analyst.schema import Schema
from analyst.state import Outcome, State

MODEL = GraphmeshChatModel()
MEASURES = "count, revenue, quantity"


class Written(BaseModel):
    """The answer of a model."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["query", "clarify", "refuse"]
    query: str = Field(max_length=20_000)
    question: str = Field(max_length=300)
    unit: str = Field(max_length=20)
    chart: bool


def receive(state: State) -> Update:
    """Reset what an earlier run of the thread has left, except for its last answer."""
    text = readable(state["message"])
    is_answered = state.get("outcome") == "answered"
    is_asked = state.get("outcome") == "clarify"
    return {
        "text": text,
        "language": language_of(text) or "en",
        "prompts": dict(prompts.VERSIONS),
        "last_answer": state["answer"] if is_answered else state.get("last_answer", ""),
        "outcome": "",
        "answer": "",
        "query": "",
        "explanation": "",
        "columns": [],
        "rows": [],
        "unit": "",
        "chart": None,
        "cached": False,
        "preaggregated": False,
        "notes": [],
        "parameters": [],
        "is_single": False,
        "is_ranked": False,
        "has_period": False,
        "is_offline": False,
        "last_time": state.get("last_time", ""),
        "asked": state.get("asked", "") if is_asked else "",
        "reason": state.get("reason", "") if is_asked else "",
    }


def ended(state: State, outcome: Outcome, key: str, **facts: object) -> Update:
    """End the run with a reply; the next message of the thread may be the answer to it."""
    return {"outcome": outcome, "answer": reply(state["language"], key, **facts), "asked": state["text"], "reason": key}


async def query(state: State) -> Update:
    """Write a query and run it: a model's, or one of the planner where the model is offline or away."""
    found = await policy()
    try:
        described = await queries.schema(found.value.role)
    except GraphmeshError as error:
        return _unavailable(state, error)
    known: Update = {"policy_version": found.version}
    try:
        update = await _by_model(state, described, found.value)
        notes = []
    except GraphmeshError as error:
        if isinstance(error, CallerError):
            raise
        update, notes = None, [reply(state["language"], "no_model")]
    if update is None:
        update = {**await _by_planner(state, described, found.value), "is_offline": True}
    return {**known, **update, "notes": [*notes, *update.get("notes", [])]}


async def _by_model(state: State, described: Schema, found: AnalystPolicy) -> Update | None:
    """Let a model write the query, and correct it where it is refused; None where the model is offline."""
    dialect = "PostgreSQL" if described.is_postgresql else "SQLite"
    system = prompts.query(dialect, described.text.replace("<", "‹").replace(">", "›"))
    text = "\n".join([state["asked"]] * bool(state["asked"]) + [state["text"]])
    messages: list[BaseMessage] = [SystemMessage(system), HumanMessage(text)]
    refusal = ""
    for _ in range(found.max_repairs + 1):
        written, is_offline = await structured(MODEL, Written, messages)
        if is_offline or written is None:
            return None
        if written.kind != "query" or not written.query.strip():
            return _not_written(state, written, described)
        try:
            result = await queries.run(written.query, (), found.role, found.max_rows)
        except CallerError as error:
            refusal = f"{error.reason}: {error}"
            messages = [*messages[:2], HumanMessage(f"The query\n{written.query}\nwas refused: {refusal}")]
            continue
        except GraphmeshError as error:
            return _unavailable(state, error)
        if model_texts.states_its_result(written.query, result.rows):
            refusal = "STATED_RESULT: the query states its result, and has to compute it from columns"
            messages = [*messages[:2], HumanMessage(f"The query\n{written.query}\nwas refused: {refusal}")]
            continue
        unit = model_texts.known_unit(written.unit, found)
        return _with_rows(state, result, found, explanation=", ".join(result.columns), unit=unit)
    return ended(state, "refused", "refused", reason=refusal)


def _not_written(state: State, written: Written, described: Schema) -> Update:
    """Ask the person, by words of this program alone where the model's have more than a question."""
    if written.kind == "clarify" and (question := model_texts.plain_question(written.question)):
        return {"outcome": "clarify", "answer": question, "asked": state["text"], "reason": ""}
    return ended(state, "clarify", "no_measure", tables=", ".join(described.tables))


async def _by_planner(state: State, described: Schema, found: AnalystPolicy) -> Update:
    asked, text = state["asked"], state["text"]
    answered = clarification.joined(asked, state["reason"], text, described) if asked else None
    question = answered or read(text, described)
    state = {**state, "text": " ".join(question.tokens) if answered else text}
    try:
        await queries.find_values(question, described, found.role, has_case=state["language"] != "de")
        planned = planner.plan(question, described, found)
        wanted = planned.top + 1 if planned.top else found.max_rows
        result = await queries.run(planned.query, planned.parameters, found.role, wanted)
    except Unclear as unclear:
        facts = {"tables": ", ".join(described.tables), "measures": MEASURES, **unclear.facts}
        return ended(state, "clarify", unclear.reason, **facts)
    except CallerError as error:
        return ended(state, "refused", "refused", reason=f"{error.reason}: {error}")
    except GraphmeshError as error:
        return _unavailable(state, error)
    update = _with_rows(state, result, found, planned.top, explanation=planned.explanation, unit=planned.unit)
    flags = {"is_single": planned.is_single, "is_ranked": planned.is_ranked, "has_period": planned.has_period}
    return {**update, **flags}


def _with_rows(
    state: State, result: queries.Result, found: AnalystPolicy, top: int = 0, *, explanation: str, unit: str
) -> Update:
    language, notes = state["language"], []
    rows = result.rows[: top or found.max_rows]
    if top and len(result.rows) > top and result.rows[top][-1] == rows[-1][-1]:
        notes.append(reply(language, "tied"))
    if result.is_truncated and not top:
        notes.append(reply(language, "truncated", count=len(rows)))
    if result.cached_seconds is not None:
        notes.append(reply(language, "cached", seconds=round(result.cached_seconds)))
    if result.is_preaggregated:
        notes.append(reply(language, "preaggregated"))
    return {
        "query": queries.without_links(result.query),
        "explanation": explanation,
        "columns": result.columns,
        "rows": rows,
        "unit": unit,
        "cached": result.cached_seconds is not None,
        "preaggregated": result.is_preaggregated,
        "notes": notes,
    }


def _unavailable(state: State, error: GraphmeshError) -> Update:
    """Say that the database is away, with what the thread has."""
    texts = [reply(state["language"], "unavailable")]
    if state["last_answer"]:
        texts.append(reply(state["language"], "last", time=state["last_time"], answer=state["last_answer"]))
    return {"outcome": "unavailable", "answer": "\n".join(texts), "notes": [f"The service sql failed: {error.reason}"]}


async def narrate(state: State) -> Update:
    """State the result, every number of it checked against the rows."""
    zone = (await policy()).value.time_zone
    text = "" if state["is_offline"] or not state["rows"] else await narrative.model_text(state)
    text = text or narrative.template_text(state)
    language, notes = state["language"], list(state["notes"])
    if len(state["rows"]) > narrative.SHOWN_ROWS and not state["is_ranked"]:
        notes.insert(0, reply(language, "shown", count=narrative.SHOWN_ROWS, total=len(state["rows"])))
    if state["rows"]:
        notes.insert(0, reply(language, "computed", explanation=state["explanation"]))
    if state["has_period"]:
        notes.append(reply(language, "time_zone", zone=zone))
    answer = "\n".join([text, *notes])
    chart = chart_of(state["columns"], state["rows"], state["unit"])
    return {"answer": answer, "outcome": "answered", "chart": chart, "notes": notes, "last_time": _now()}


def _now() -> str:
    return datetime.fromtimestamp(run_context().clock.time(), UTC).isoformat(timespec="seconds")
