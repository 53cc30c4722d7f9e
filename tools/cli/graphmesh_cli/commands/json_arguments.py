"""JSON in arguments of the command line."""

import json
from pathlib import Path
from typing import Any

import typer
from graphmesh_contracts import to_struct


def json_argument(text: str, parameter: str) -> dict[str, Any] | None:
    """Return the JSON object of an argument, or of the file that `@FILE` names; None for an empty argument.

    Raises:
        typer.BadParameter: the file cannot be read, or it is no JSON object; the message has line and column.
    """
    if not text:
        return None
    source = f"{text[1:]}: " if text.startswith("@") else ""
    try:
        value = json.loads(Path(text[1:]).read_text(encoding="utf-8") if source else text)
        if isinstance(value, dict):
            to_struct(value)
    except OSError as error:
        raise typer.BadParameter(f"{text[1:]}: {error.strerror or error}", param_hint=parameter) from None
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{source}is no JSON object: {error}", param_hint=parameter) from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{source}must be a JSON object", param_hint=parameter)
    return value
