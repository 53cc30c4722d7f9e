"""Arguments of commands that are JSON objects, and messages printed as JSON."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from google.protobuf.message import Message
from graphmesh_contracts import to_struct

from graphmesh_cli.commands.connection import console

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, with all fields.")]


def json_argument(text: str, parameter: str) -> dict[str, Any] | None:
    """Return the object of an argument, which is JSON or @FILE; None where it is empty. Raises typer.BadParameter."""
    if not text:
        return None
    try:
        value = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
        if not isinstance(value, dict):
            raise typer.BadParameter("must be a JSON object", param_hint=parameter)
        to_struct(value)
    except (OSError, ValueError, RecursionError) as error:
        raise typer.BadParameter(f"is no JSON object: {error}", param_hint=parameter) from None
    return value


def print_message(message: Message) -> None:
    """Print a message as one line of JSON."""
    line = json.dumps(json_format.MessageToDict(message, preserving_proto_field_name=True), ensure_ascii=False)
    console().print(line, markup=False, highlight=False, soft_wrap=True)
