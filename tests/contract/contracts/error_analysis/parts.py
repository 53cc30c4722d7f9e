"""The parts of a function that matter for its errors: what it constructs, calls and catches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from graphmesh_chassis.errors import GraphmeshError

from tests.contract.contracts.error_analysis.values import Method

Errors = frozenset[type[GraphmeshError]]


@dataclass
class Part:
    """A piece of a body: the errors that it constructs, the functions that it calls, and its `try` statements."""

    errors: set[type[GraphmeshError]] = field(default_factory=set)
    calls: set[Method] = field(default_factory=set)
    tries: list["Try"] = field(default_factory=list)

    def escape(self, known: Mapping[Method, Errors]) -> Errors:
        """The errors that it raises, given those that each function raises."""
        found = self.errors.union(*(known.get(call, frozenset()) for call in self.calls))
        return frozenset(found.union(*(one.escape(known) for one in self.tries)))


@dataclass
class Handler:
    """An `except` clause. `reraises`: its body raises the caught error again; `kinds` is empty where not known."""

    kinds: tuple[type[BaseException], ...]
    body: Part
    reraises: bool = False


@dataclass
class Try:
    body: Part
    handlers: Sequence[Handler]

    def escape(self, known: Mapping[Method, Errors]) -> Errors:
        left, raised = set(self.body.escape(known)), set[type[GraphmeshError]]()
        for handler in self.handlers:
            caught = {error for error in left if issubclass(error, handler.kinds)}
            left -= caught
            catches_others = not all(issubclass(kind, GraphmeshError) for kind in handler.kinds) or not handler.kinds
            if caught or catches_others:
                raised |= handler.body.escape(known) | (caught if handler.reraises else set())
        return frozenset(left | raised)


def calls_of(part: Part) -> Iterator[Method]:
    yield from part.calls
    for one in part.tries:
        yield from calls_of(one.body)
        for handler in one.handlers:
            yield from calls_of(handler.body)
