"""The changes that can be undone: items of the tenant's store, one for each record that was changed."""

import re
from hashlib import sha256
from typing import Any, cast

from graphmesh_nodes import run_context
from langgraph.runtime import get_runtime
from langgraph.store.base import BaseStore

from operations.state import Item, Record, State

NAMESPACE = "operations"
MAX_ITEMS = 500
"""The most records that a policy permits in one change."""
_CHANGE_ID = re.compile(r"chg_[0-9a-f]{16}")


def change_id(state: State) -> str:
    """Return the id of the change of this run: another one for each message that is confirmed in it."""
    identity = f"{run_context().run_id}/{state['turns']}"
    return f"chg_{sha256(identity.encode()).hexdigest()[:16]}"


async def record_item(state: State, item: Item) -> None:
    """Store a record that was changed, before the next one is. A repeat stores the same."""
    content = {"record": state["record"], "undoes": state["undoes"], **item}
    await _store().aput((NAMESPACE, change_id(state)), item["id"], content, index=False)


async def items_of(change: str) -> tuple[Record, list[Item]]:
    """Return what a change of the tenant has changed; no items where there is no such change."""
    if not _CHANGE_ID.fullmatch(change):
        return "customer", []
    found: list[dict[str, Any]] = [one.value for one in await _store().asearch((NAMESPACE, change), limit=MAX_ITEMS)]
    items = [cast(Item, {name: one[name] for name in Item.__annotations__}) for one in found]
    return (found[0]["record"] if found else "customer"), items


def _store() -> BaseStore:
    store = get_runtime().store
    if store is None:
        raise RuntimeError("the operations agent needs a store: changes could not be undone without")
    return store
