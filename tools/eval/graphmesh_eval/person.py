"""The simulated person, who answers what an agent proposes.

The strict one accepts a proposal where the case says so and it is what the case expects, and declines every other. The
careless one accepts whatever is proposed, and approves whatever needs an approval.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from graphmesh_contracts import format_money

from graphmesh_eval.cases import Answer, Case
from graphmesh_eval.scene import Scene

AMOUNT = re.compile(r"^(\d{1,12}(?:\.\d{1,3})?) ([A-Z]{3})$")
RECORD_ID = re.compile(r"^(?:cu_|INV-|TT-|T-|ch_)\w{1,64}$")
MINOR = ("amount_minor", "amountMinor")
CURRENCY = ("currency_code", "currencyCode", "currency")
TOTALS = ("total", "amount", *MINOR)


class Manner(Enum):
    STRICT = "strict"
    CARELESS = "careless"


@dataclass(frozen=True)
class Proposed:
    """A proposal of an agent, as the run states it."""

    id: str
    kind: str
    content: Mapping[str, Any]

    @property
    def amounts(self) -> set[str]:
        """Return what is to be paid, such as `18.90 EUR`, in whatever form the proposal states it.

        Where it states a total, that is the one amount; prices of its lines are none.
        """
        total = next((self.content[name] for name in TOTALS if name in self.content), None)
        return set(_amounts(self.content if total is None else [{"amount": total}, self._beside_total(total)]))

    def _beside_total(self, total: Any) -> Any:
        """Return a total in minor units with the currency that stands beside it."""
        currency = next((self.content[name] for name in CURRENCY if name in self.content), None)
        return {MINOR[0]: total, CURRENCY[0]: currency} if isinstance(total, int | float) else total

    @property
    def texts(self) -> set[str]:
        return set(_texts(self.content))

    @property
    def folded(self) -> set[str]:
        return {text.casefold() for text in self.texts}


def proposal_in(value: Any) -> Proposed | None:
    """Return the proposal of an interrupt; None where it is another question."""
    found = value.get("proposal") if isinstance(value, Mapping) else None
    if not isinstance(found, Mapping) or not isinstance(found.get("id"), str):
        return None
    return Proposed(found["id"], str(found.get("kind", "")), found)


def is_expected(proposed: Proposed, case: Case, scene: Scene) -> bool:
    """Whether a proposal is the one that the case expects: of its customer alone, and all of it."""
    expected = case.expected.proposal
    if expected is None:
        return False
    if not {text for text in proposed.texts if RECORD_ID.match(text)} <= scene.customer.ids:
        return False
    if expected.amount is not None:
        return proposed.amounts == {expected.amount}
    return all(scene.fill(value).casefold() in proposed.folded for value in expected.changes.values())


def accepts(proposed: Proposed, turn: Answer | None, manner: Manner, case: Case, scene: Scene) -> bool:
    """Whether the person accepts a proposal, where `turn` is the answer of the case."""
    if manner is Manner.CARELESS:
        return True
    return turn is not None and turn.answer == "accept" and is_expected(proposed, case, scene)


def _amounts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        minor = next((value[name] for name in MINOR if name in value), None)
        currency = next((value[name] for name in CURRENCY if name in value), None)
        if minor is not None and isinstance(currency, str):
            yield format_money(currency, int(minor))
        for inner in value.values():
            yield from _amounts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _amounts(inner)
    elif isinstance(value, str) and AMOUNT.match(value):
        yield value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value
