"""What the retail service keeps, and what each of its tools does to it: functions of a JSON value."""

from collections.abc import Callable, Mapping
from typing import Any

Data = dict[str, Any]
Arguments = Mapping[str, Any]


class Refused(Exception):
    """A rule of the shop refuses the call."""


def new_shop() -> Data:
    """Three users with four orders each, and four products with three variants each."""
    products = {
        f"p{number}": {
            "name": name,
            "variants": {f"p{number}v{variant}": {"price": 10 * number + variant} for variant in range(3)},
        }
        for number, name in enumerate(("lamp", "desk", "chair", "shelf"), start=1)
    }
    users = {
        f"u{number}": {
            "name": name,
            "email": f"{name.split()[0].lower()}@example.com",
            "address": {"street": f"Elm {number}", "city": "Riga", "zip": f"1000{number}"},
        }
        for number, name in enumerate(("Ida Berg", "Oto Lind", "Eva Kask"), start=1)
    }
    orders = {
        f"o{user[1]}{number}": {
            "user_id": user,
            "status": "pending" if number % 2 else "delivered",
            "items": {f"p{number}v0": 2, f"p{number % 4 + 1}v1": 1},
            "address": users[user]["address"],
            "payment": {"card_id": f"card_{user}"},
        }
        for user in users
        for number in (1, 2, 3, 4)
    }
    return {"users": users, "products": products, "orders": orders, "log": []}


def perform(shop: Data, tool: str, arguments: Arguments) -> Any:
    """Apply a tool to the shop, and return its result. Raises Refused, without a change."""
    result = TOOLS[tool](shop, arguments)
    if tool in WRITES:
        shop["log"].append(tool)
    return result


def _order(shop: Data, arguments: Arguments, *statuses: str) -> Data:
    order: Data = _found(shop["orders"], arguments["order_id"], "order")
    if statuses and order["status"] not in statuses:
        raise Refused(f"order {arguments['order_id']} is {order['status']}")
    return order


def _found(table: Mapping[str, Any], key: str, kind: str) -> Any:
    if key not in table:
        raise Refused(f"there is no {kind} {key}")
    return table[key]


def _user_with(shop: Data, **values: str) -> str:
    for user_id, user in shop["users"].items():
        if all({**user, **user["address"]}[name] == value for name, value in values.items()):
            return str(user_id)
    raise Refused("there is no such user")


def _exchanged(shop: Data, arguments: Arguments, order: Data) -> None:
    items = dict(order["items"])
    for change in arguments["changes"]:
        old, new = change["item_id"], change["new_item_id"]
        pieces = int(change.get("pieces") or items.get(old, 0))
        if old[:2] != new[:2] or new not in shop["products"].get(new[:2], {"variants": ()})["variants"]:
            raise Refused(f"{new} is no variant of the product of {old}")
        if items.get(old, 0) < pieces or not pieces:
            raise Refused(f"the order does not have {pieces} of {old}")
        items[old] -= pieces
        items[new] = items.get(new, 0) + pieces
    order["items"] = {item: pieces for item, pieces in items.items() if pieces}
    order["payment"] = dict(arguments["payment"])


def _cancel(shop: Data, arguments: Arguments) -> Data:
    order = _order(shop, arguments, "pending")
    order |= {"status": "cancelled", "reason": arguments["reason"]}
    return order


def _modify_items(shop: Data, arguments: Arguments) -> Data:
    order = _order(shop, arguments, "pending")
    _exchanged(shop, arguments, order)
    order["status"] = "pending (items modified)"
    return order


def _modify_address(shop: Data, arguments: Arguments) -> Data:
    order = _order(shop, arguments, "pending", "pending (items modified)")
    order["address"] = dict(arguments["address"])
    return order


def _modify_payment(shop: Data, arguments: Arguments) -> Data:
    order = _order(shop, arguments, "pending")
    order["payment"] = dict(arguments["payment"])
    return order


def _modify_user(shop: Data, arguments: Arguments) -> Data:
    user: Data = _found(shop["users"], arguments["user_id"], "user")
    user["address"] = dict(arguments["address"])
    return user


def _return(shop: Data, arguments: Arguments) -> Data:
    order = _order(shop, arguments, "delivered")
    for item, pieces in arguments["pieces"].items():
        if not 0 < pieces <= order["items"].get(item, 0):
            raise Refused(f"the order does not have {pieces} of {item}")
    order |= {"status": "return requested", "returned": {key: int(n) for key, n in arguments["pieces"].items()}}
    order["refund_to"] = dict(arguments["payment"])
    return order


def _exchange(shop: Data, arguments: Arguments) -> Data:
    order = _order(shop, arguments, "delivered")
    _exchanged(shop, arguments, order)
    order["status"] = "exchange requested"
    return order


WRITES: Mapping[str, Callable[[Data, Arguments], Any]] = {
    "CancelPendingOrder": _cancel,
    "ModifyPendingOrderItems": _modify_items,
    "ModifyPendingOrderAddress": _modify_address,
    "ModifyPendingOrderPayment": _modify_payment,
    "ModifyUserAddress": _modify_user,
    "ReturnDeliveredOrderItems": _return,
    "ExchangeDeliveredOrderItems": _exchange,
    "TransferToHumanAgents": lambda shop, arguments: {"summary": arguments.get("summary", "")},
}
TOOLS: Mapping[str, Callable[[Data, Arguments], Any]] = {
    **WRITES,
    "FindUserIdByEmail": lambda shop, arguments: _user_with(shop, email=arguments["email"]),
    "FindUserIdByNameZip": lambda shop, arguments: _user_with(shop, name=arguments["name"], zip=arguments["zip"]),
    "GetUserDetails": lambda shop, arguments: _found(shop["users"], arguments["user_id"], "user"),
    "GetOrderDetails": _order,
    "GetProductDetails": lambda shop, arguments: _found(shop["products"], arguments["product_id"], "product"),
    "ListAllProductTypes": lambda shop, arguments: {one["name"]: key for key, one in shop["products"].items()},
    "Calculate": lambda shop, arguments: {"sum": sum(arguments.get("amounts", ()))},
    "Think": lambda shop, arguments: {},
}
