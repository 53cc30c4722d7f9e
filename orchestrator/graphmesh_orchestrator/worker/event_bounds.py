"""The bounds of a run's events: their bytes that are not stored yet, their bytes in all, and the names in them."""

from graphmesh_chassis.large_values import Size
from graphmesh_contracts import NotJsonError
from graphmesh_nodes.errors import ValueNotStorable
from graphmesh_nodes.json_values import require_json

MAX_PENDING_EVENTS = 1_000
"""The most events that a graph may be ahead of its database; then it waits, as soon as it can."""
MAX_PENDING_BYTES = 1024 * 1024
"""The same in bytes."""
MAX_BYTES = 256 * 1024 * 1024
"""The most bytes of values in the events of one execution: a graph that never ends does not fill the database."""
MAX_NODE = 255
"""Characters of a node's name in the table of events."""
MAX_LEVELS = 32
"""Graphs within each other whose events can be stored."""
EVENT_BYTES, ELEMENT_BYTES = 256, 32
"""About the bytes that an event, or an element in it, takes besides its texts."""
NO_VALUE = Size(0, 0)


class EventBytes:
    """Counts the bytes of the events of one execution."""

    def __init__(self) -> None:
        self.pending = 0
        """Of the events that are not stored yet."""
        self._being_stored = self._all = 0

    def is_full(self, factor: int) -> bool:
        """Whether so many times as much is pending as may."""
        return self.pending > factor * MAX_PENDING_BYTES

    def has_room(self, size: Size) -> bool:
        return self._all + _bytes_of(size) <= MAX_BYTES

    def add(self, size: Size) -> None:
        """Count an event, or what is added to one. Raises ValueNotStorable."""
        if size is not NO_VALUE and not self.has_room(size):
            rule = f"have more than {MAX_BYTES} bytes together: keep large values as artifacts"
            raise ValueNotStorable(key="the events of the run", rule=rule)
        self.add_end(size)

    def add_end(self, size: Size) -> None:
        """Count what is stored in any case."""
        self.pending += _bytes_of(size)
        self._all += _bytes_of(size)

    def take(self) -> None:
        """All that is pending is being stored."""
        self._being_stored = self.pending

    def on_taken(self) -> None:
        """What was taken is stored, or dropped."""
        self.pending -= self._being_stored
        self._being_stored = 0


def _bytes_of(size: Size) -> int:
    return EVENT_BYTES + size.bytes + size.elements * ELEMENT_BYTES


def require_names(node: str, namespace: tuple[str, ...] = ()) -> None:
    """Raises ValueNotStorable for a name that is too long, or has characters that databases do not store."""
    if node.isascii() and len(node) <= MAX_NODE and "\0" not in node and not namespace:
        return
    if len(node) > MAX_NODE:
        raise ValueNotStorable(key="node", rule=f"has a name of {len(node)} characters, {MAX_NODE} can be stored")
    if len(namespace) > MAX_LEVELS:
        raise ValueNotStorable(key="node", rule=f"is in {len(namespace)} graphs, {MAX_LEVELS} can be within each other")
    try:
        require_json([node, *namespace])
    except NotJsonError as error:
        raise ValueNotStorable(key="node", rule=f"has a name that {error.rule}") from error
