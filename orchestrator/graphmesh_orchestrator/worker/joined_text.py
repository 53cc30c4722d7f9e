"""Text of a model as an event, which grows until it is stored."""

from datetime import datetime

from graphmesh_orchestrator.runs.event_contents import origin, text_delta
from graphmesh_orchestrator.runs.events import EventKind

MAX_TEXT = 16 * 1024
"""Characters up to which texts of a model are joined in one event."""


class JoinedText:
    """The text of a node since its last event."""

    kind = EventKind.TEXT

    def __init__(self, time: datetime, node: str, namespace: tuple[str, ...], text: str) -> None:
        self._time, self._node, self._namespace = time, node, namespace
        self._texts, self._size = [text], len(text)

    def is_continued_by(self, node: str, namespace: tuple[str, ...]) -> bool:
        """Whether further text of a node may be joined to it."""
        return (self._node, self._namespace) == (node, namespace) and self._size <= MAX_TEXT

    def add(self, text: str) -> None:
        self._texts.append(text)
        self._size += len(text)

    @property
    def encoded(self) -> bytes:
        return origin(self._time, self._node, self._namespace) + text_delta("".join(self._texts)).encoded
