"""The option `--stream-mode` of `run` and `watch`."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer
from graphmesh.orchestrator import v1 as pb
from graphmesh_client.stream_modes import STREAM_MODES


class StreamMode(StrEnum):
    """See StreamMode in the contract."""

    UPDATES = "updates"
    CUSTOM = "custom"
    TEXT = "text"
    MESSAGES = "messages"
    VALUES = "values"
    TASKS = "tasks"
    CHECKPOINTS = "checkpoints"
    DEBUG = "debug"


Modes = Annotated[
    list[StreamMode] | None,
    typer.Option(
        metavar="MODE",
        help=f"The content of its events; repeatable: {', '.join(StreamMode)}. By default updates, custom and text.",
    ),
]


def numbers_of(modes: Sequence[StreamMode] | None) -> list[pb.StreamMode.ValueType]:
    return [STREAM_MODES[mode] for mode in modes or ()]
