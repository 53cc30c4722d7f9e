"""Actions that a model takes in the retail service, from a seed, as a model writes them: now and then wrongly."""

import copy
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.retail.shop import Data, Refused, new_shop, perform

Turn = Sequence["Action"]
PREFIX = "retail_"
"""Before the names of the RPCs in those of the tools."""
REASONS = ("CANCEL_REASON_NO_LONGER_NEEDED", "CANCEL_REASON_ORDERED_BY_MISTAKE")


@dataclass(frozen=True)
class Action:
    """A call of a tool."""

    tool: str
    arguments: dict[str, Any]
    """As the service gets them."""
    written: Any = None
    """As the model writes them, where that differs."""
    is_invalid: bool = False
    """Whether what is written breaks the contract, so that nothing is called."""


def script(seed: int, turns: int = 8) -> list[list[Action]]:
    """Return the turns of a model: several calls in each, some invalid, some refused, and some that are equal."""
    dice = random.Random(seed)
    made = [[_action(dice) for _ in range(dice.randint(1, 4))] for _ in range(turns)]
    made[dice.randrange(turns)] *= 2
    return made


def expected(turns: Sequence[Turn]) -> tuple[Data, list[str]]:
    """Return the shop after all valid actions, each once and in order, and the tools that were not refused."""
    shop, succeeded = new_shop(), []
    for action in (action for turn in turns for action in turn if not action.is_invalid):
        try:
            perform(shop, action.tool, copy.deepcopy(action.arguments))
        except Refused:
            continue
        succeeded.append(action.tool)
    return shop, succeeded


def calls_of(turn: Turn, number: int) -> Iterator[tuple[str, str, str]]:
    """Generate the id, the tool and the arguments, as a text, of each call of a turn."""
    for place, action in enumerate(turn):
        written = action.arguments if action.written is None else action.written
        yield f"call_{number}_{place}", PREFIX + action.tool, json.dumps(written)


def _action(dice: random.Random) -> Action:
    tool, arguments = _ACTIONS[dice.randrange(len(_ACTIONS))](dice)
    match dice.randrange(8):
        case 0:
            return Action(tool, arguments, {**arguments, "user": "u1"}, is_invalid=True)
        case 1:
            return Action(tool, arguments, _loosely(arguments))
    return Action(tool, arguments)


def _loosely(value: dict[str, Any]) -> dict[str, Any]:
    """Arguments as models write them: objects and lists as texts, integers as floats, null for what is absent."""
    loose: dict[str, Any] = {}
    for key, inner in value.items():
        match inner:
            case dict() if "zip" in inner:
                loose[key] = json.dumps({**inner, "note": None})
            case dict() | list():
                loose[key] = json.dumps(_floats(inner))
            case _:
                loose[key] = inner
    return loose


def _floats(value: Any) -> Any:
    match value:
        case dict():
            return {key: _floats(inner) for key, inner in value.items()}
        case list():
            return [_floats(inner) for inner in value]
        case int():
            return float(value)
    return value


def _order(dice: random.Random) -> str:
    return f"o{dice.randint(1, 3)}{dice.randint(1, 5)}"  # the fifth does not exist


def _address(dice: random.Random) -> dict[str, str]:
    return {"street": f"Oak {dice.randint(1, 99)}", "city": "Tartu", "zip": f"{dice.randint(10000, 99999)}"}


def _payment(dice: random.Random) -> dict[str, str]:
    return dice.choice([{"card_id": "card_u1"}, {"gift_card": "g1"}])


def _changes(dice: random.Random) -> list[dict[str, Any]]:
    product = dice.randint(1, 4)
    return [{"item_id": f"p{product}v0", "new_item_id": f"p{product}v2", "pieces": dice.randint(1, 2)}]


_ACTIONS: Any = [
    lambda dice: ("FindUserIdByEmail", {"email": dice.choice(["ida@example.com", "no@example.com"])}),
    lambda dice: ("FindUserIdByNameZip", {"name": "Ida Berg", "zip": "10001"}),
    lambda dice: ("GetUserDetails", {"user_id": "u1"}),
    lambda dice: ("GetOrderDetails", {"order_id": _order(dice)}),
    lambda dice: ("GetProductDetails", {"product_id": "p1"}),
    lambda dice: ("ListAllProductTypes", {}),
    lambda dice: ("Calculate", {"amounts": [1.5, 2]}),
    lambda dice: ("Think", {"thought": "The order is pending."}),
    lambda dice: ("CancelPendingOrder", {"order_id": _order(dice), "reason": dice.choice(REASONS)}),
    lambda dice: (
        "ModifyPendingOrderItems",
        {"order_id": _order(dice), "changes": _changes(dice), "payment": _payment(dice)},
    ),
    lambda dice: ("ModifyPendingOrderAddress", {"order_id": _order(dice), "address": _address(dice)}),
    lambda dice: ("ModifyPendingOrderPayment", {"order_id": _order(dice), "payment": _payment(dice)}),
    lambda dice: ("ModifyUserAddress", {"user_id": f"u{dice.randint(1, 3)}", "address": _address(dice)}),
    lambda dice: (
        "ReturnDeliveredOrderItems",
        {"order_id": _order(dice), "pieces": {f"p{dice.randint(1, 4)}v0": 1}, "payment": _payment(dice)},
    ),
    lambda dice: (
        "ExchangeDeliveredOrderItems",
        {"order_id": _order(dice), "changes": _changes(dice), "payment": _payment(dice)},
    ),
    lambda dice: ("TransferToHumanAgents", {"summary": "The user insists."}),
]
