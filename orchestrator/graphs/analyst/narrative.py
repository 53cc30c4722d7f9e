"""States a result: by a model whose numbers are checked, or by a template that has the rows."""

import json
import re
from collections.abc import Sequence

from graphmesh_nodes import GraphmeshChatModel, record_validation
from graphmesh_nodes.errors import GraphmeshError
from langchain_core.messages import HumanMessage, SystemMessage

from analyst import prompts
from analyst.model_texts import is_about_rows
from analyst.numbers import misattributed, unchecked, unsupported
from analyst.prompts import reply
from analyst.state import Cell, State

MODEL = GraphmeshChatModel()
MAX_CHARACTERS = 1_200
SHOWN_ROWS = 20
_FORBIDDEN = re.compile(r"//|www\.|javascript:|data:|[<>]", re.I)
"""Links and markup."""


async def model_text(state: State) -> str:
    """Return a text whose every number is supported by the rows; empty where the model writes none."""
    rows = json.dumps({"columns": state["columns"], "rows": state["rows"][:SHOWN_ROWS]}, ensure_ascii=False)
    system = prompts.narrative(state["language"], state["unit"])
    message = f'{state["text"]}\n\n<document title="rows">\n{rows.replace("<", "‹").replace(">", "›")}\n</document>'
    try:
        text = str((await MODEL.ainvoke([SystemMessage(system), HumanMessage(message)])).text).strip()
    except GraphmeshError:
        return ""
    shown_rows = state["rows"][:SHOWN_ROWS]
    is_sound = 0 < len(text) <= MAX_CHARACTERS and not _FORBIDDEN.search(text)
    is_sound = is_sound and is_about_rows(text, state["columns"], shown_rows)
    checks = (unsupported, unchecked, misattributed)
    faults = [check.__name__ for check in checks if check(text, shown_rows)] if is_sound else ["form"]
    record_validation("narrative", faults)
    return "" if faults else text


def template_text(state: State) -> str:
    """Return a text that has the rows, and nothing else."""
    rows, language = state["rows"], state["language"]
    if not rows or (state["is_single"] and rows[0][-1] is None):
        return reply(language, "empty", explanation=state["explanation"])
    if state["is_single"]:
        return f"{shown(rows[0][-1])} {state['unit']}".strip()
    if state["is_ranked"]:
        best = [row for row in rows if row[-1] == rows[0][-1]]
        first = "; ".join(_line(row, state["unit"]) for row in best)
        return reply(language, "ties", first=first) if len(best) > 1 else first
    return "\n".join(f"- {_line(row, state['unit'])}" for row in rows[:SHOWN_ROWS])


def _line(row: Sequence[Cell], unit: str) -> str:
    *labels, value = row
    text = f"{', '.join(map(shown, labels))}: " if labels else ""
    return f"{text}{shown(value)} {unit if _is_number(value) else ''}".strip()


def shown(value: Cell) -> str:
    """Return a value for people: numbers with at most two decimal places."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".") if value == int(value) else f"{value:.2f}"
    return "–" if value is None else str(value)


def _is_number(value: Cell) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
