"""The spans of a trace as a tree, in the order in which they began."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from graphmesh.telemetry.v1 import Span
from graphmesh_contracts.message_json import message_dict

TOKENS = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
COST = "graphmesh.cost_usd"
MODEL_CALL = "gen_ai.operation.name"
SHOWN = {
    "graphmesh.attempts": "attempts",
    "graphmesh.attempt": "attempt",
    "graphmesh.replayed": "replayed",
    "graphmesh.waited_for": "waited for",
    "graphmesh.route": "route",
    "graphmesh.trigger": "by",
    "graphmesh.effect_key": "effect",
    "graphmesh.end": "end",
}
"""Attributes that are shown beside a span, by their names there."""
RPC = re.compile(r"/?(?:\w+\.)*(\w+)\.v\d+\.\w+/(\w+)")
"""The name of the span of a call, with its package and its method."""
MAX_ALIKE = 4
"""Siblings of one name that are shown one by one; more are one line."""


@dataclass(eq=False)
class Node:
    """A span with those below it."""

    span: Span
    children: list["Node"] = field(default_factory=list)
    count: int = 1
    """The spans that it stands for: siblings of one name and service."""

    @property
    def name(self) -> str:
        """The name of the span; of an RPC, the tool."""
        found = RPC.fullmatch(self.span.name)
        return f"{found[1]}.{found[2]}" if found else self.span.name

    @property
    def start(self) -> float:
        """Seconds since 1970."""
        return self.span.start_time.ToNanoseconds() / 1e9

    @property
    def end(self) -> float:
        return self.span.end_time.ToNanoseconds() / 1e9

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def attributes(self) -> dict[str, str | float | bool]:
        return dict(message_dict(self.span.attributes))

    def notes(self) -> list[str]:
        """Return what is shown beside it: tokens, cost, attempts and more."""
        values = self.attributes
        read, written = (values.get(name, 0) for name in TOKENS)
        tokens = [f"{read:g} + {written:g} tokens"] if MODEL_CALL in values else []
        cost = values.get(COST)
        money = [f"${cost:.6f}"] if isinstance(cost, float | int) and cost and MODEL_CALL in values else []
        further = [f"{label} {_text(values[name])}" for name, label in SHOWN.items() if _is_shown(values, name)]
        return [*tokens, *money, *further]


def _is_shown(values: dict[str, str | float | bool], name: str) -> bool:
    return name in values and values[name] not in (1, "")


def _text(value: str | float | bool) -> str:
    return "" if value is True else f"{value:g}" if isinstance(value, float | int) else value


def forest(spans: Sequence[Span]) -> list[Node]:
    """Return the roots: spans whose parent is not among them. What a loop of parents has is below no root, and one."""
    nodes = {span.span_id: Node(span) for span in spans}
    roots = [node for node in nodes.values() if node.span.parent_span_id not in nodes]
    for node in nodes.values():
        if parent := nodes.get(node.span.parent_span_id):
            parent.children.append(node)
    for node in nodes.values():
        node.children.sort(key=lambda child: child.start)
    return sorted(roots, key=lambda node: node.start)


def matching(roots: Sequence[Node], is_match: Callable[[Node], bool]) -> list[Node]:
    """Return the trees with the spans that match, and with those above them."""
    kept: dict[Node, Node] = {}
    for _, node in reversed(list(walk(roots))):
        below = [kept[child] for child in node.children if child in kept]
        if below or is_match(node):
            kept[node] = Node(node.span, below)
    return [kept[root] for root in roots if root in kept]


def merged(roots: Sequence[Node]) -> list[Node]:
    """Return the trees in which many siblings of one name, without errors and without children, are one line."""
    made: dict[Node, Node] = {}
    for _, node in reversed(list(walk(roots))):
        made[node] = Node(node.span, _merged_siblings([made[child] for child in node.children]))
    return _merged_siblings([made[root] for root in roots])


def _merged_siblings(siblings: Sequence[Node]) -> list[Node]:
    alike: dict[tuple[str, str], list[Node]] = {}
    for node in siblings:
        if not node.children and not node.span.failed:
            alike.setdefault((node.span.service, node.span.name), []).append(node)
    many = {node: group for group in alike.values() if len(group) > MAX_ALIKE for node in group}
    return [
        _one_of(many[node]) if node in many else node for node in siblings if node not in many or node is many[node][0]
    ]


def _one_of(group: Sequence[Node]) -> Node:
    span = Span()
    span.CopyFrom(group[0].span)
    span.end_time.CopyFrom(max((one.span.end_time for one in group), key=lambda time: time.ToNanoseconds()))
    return Node(span, count=len(group))


def walk(roots: Sequence[Node]) -> Iterator[tuple[int, Node]]:
    """Yield each node with its depth, a parent before its children."""
    left = [(0, root) for root in reversed(roots)]
    while left:
        depth, node = left.pop()
        yield depth, node
        left += [(depth + 1, child) for child in reversed(node.children)]


def totals(roots: Sequence[Node]) -> tuple[int, float]:
    """Return the tokens and the cost in US dollars of the calls of models in a trace."""
    calls = [node.attributes for _, node in walk(roots) if MODEL_CALL in node.attributes]
    tokens = sum(int(float(values.get(name, 0))) for values in calls for name in TOKENS)
    return tokens, sum(float(values.get(COST, 0)) for values in calls)
