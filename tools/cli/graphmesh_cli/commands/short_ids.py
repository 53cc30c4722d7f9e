"""Short ids: a unique prefix of a generated id is accepted for the id.

A prefix has at least four digits; what precedes them, such as `run_`, may be omitted. Anything else is taken as the id
itself, so that a name that a caller has chosen is never mistaken for the beginning of another one.
"""

import re
from collections.abc import Awaitable, Callable, Sequence

from graphmesh.orchestrator.v1 import ApprovalStatus, ThreadStateView
from graphmesh_client import Client

from graphmesh_cli.failures import usage_error

MAX_DIGITS = 32
DIGITS = re.compile(rf"[0-9a-f]{{4,{MAX_DIGITS}}}")
MAX_CANDIDATES = 5
"""Candidates that an error lists."""
MAX_CHECKPOINTS = 5000
"""Checkpoints of a thread among which a short id is searched."""
CHECKPOINT_LENGTH = 36
CHECKPOINT = re.compile(r"[0-9a-f]{4,8}(-[0-9a-f-]{0,27})?")

Find = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the first ids that begin with a prefix, one more than MAX_CANDIDATES."""


async def run_id(client: Client, given: str) -> str:
    """Return the id of the run that `given` names.

    Raises:
        Failure: it is the beginning of several ids; the candidates are listed.
    """

    async def find(prefix: str) -> Sequence[str]:
        return [one.run_id for one in await client.list_runs(run_id_prefix=prefix, limit=MAX_CANDIDATES + 1)]

    return await _whole_id("run_", given, find)


async def thread_id(client: Client, given: str) -> str:
    """Return the id of the thread that `given` names; `th_` may not be omitted. See `run_id`."""

    async def find(prefix: str) -> Sequence[str]:
        found = await client.threads.find(thread_id_prefix=prefix, limit=MAX_CANDIDATES + 1)
        return [one.thread_id for one in found]

    return await _whole_id("th_", given, find) if given.startswith("th_") else given


async def approval_id(client: Client, given: str) -> str:
    """Return the id of the approval that `given` names, of any status. See `run_id`."""

    async def find(prefix: str) -> Sequence[str]:
        found = await client.approvals.find(
            status=ApprovalStatus.APPROVAL_STATUS_UNSPECIFIED, approval_id_prefix=prefix, limit=MAX_CANDIDATES + 1
        )
        return [one.approval_id for one in found]

    return await _whole_id("apr_", given, find)


async def delivery_id(client: Client, given: str) -> str:
    """Return the id of the delivery that `given` names. See `run_id`."""

    async def find(prefix: str) -> Sequence[str]:
        found = await client.deliveries.find(delivery_id_prefix=prefix, limit=MAX_CANDIDATES + 1)
        return [one.delivery_id for one in found]

    return await _whole_id("whk_", given, find)


async def assistant_id(client: Client, given: str) -> str:
    """Return the id of the assistant that `given` names, or its name; `asst_` may not be omitted. See `run_id`."""

    async def find(prefix: str) -> Sequence[str]:
        found = client.assistants.search(assistant_id_prefix=prefix, limit=MAX_CANDIDATES + 1)
        return [one.assistant_id async for one in found]

    return await _whole_id("asst_", given, find) if given.startswith("asst_") else given


async def schedule_id(client: Client, given: str) -> str:
    """Return the id of the schedule that `given` names; `sch_` may not be omitted. See `run_id`."""

    async def find(prefix: str) -> Sequence[str]:
        found = client.schedules.find(schedule_id_prefix=prefix, limit=MAX_CANDIDATES + 1)
        return [one.schedule_id async for one in found]

    return await _whole_id("sch_", given, find) if given.startswith("sch_") else given


async def checkpoint_id(client: Client, thread: str, given: str) -> str:
    """Return the id of the checkpoint of a thread that `given` names; an empty one stays empty. See `run_id`."""
    if len(given) == CHECKPOINT_LENGTH or not CHECKPOINT.fullmatch(given):
        return given
    history = client.threads.history(thread, MAX_CHECKPOINTS, view=ThreadStateView.THREAD_STATE_VIEW_BASIC)
    ids = [state.checkpoint_id async for state in history]
    if len(ids) == MAX_CHECKPOINTS:
        raise usage_error(f"the thread has too many checkpoints for the short id {given}: state the whole id")
    return _only(given, [one for one in ids if one.startswith(given)])


async def _whole_id(kind: str, given: str, find: Find) -> str:
    digits = given.removeprefix(kind)
    if not DIGITS.fullmatch(digits):
        return given
    whole = f"{kind}{digits}"
    return whole if len(digits) == MAX_DIGITS else _only(whole, await find(whole))


def _only(given: str, ids: Sequence[str]) -> str:
    """Return the only id, or `given` where there is none: the mesh reports that it does not exist."""
    if given in ids:
        return given
    if len(ids) > 1:
        more = ", and more" if len(ids) > MAX_CANDIDATES else ""
        raise usage_error(f"{given} is the beginning of several ids: {', '.join(ids[:MAX_CANDIDATES])}{more}")
    return ids[0] if ids else given
