"""The calls that Envoy itself has refused, from its log in a state folder."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from graphmesh_local.log_files import LogFile

from graphmesh_cli.commands.audit_entry import Entry

ENVOY = "envoy"
MAX_LINES = 200_000
"""The newest lines of the log, in which refusals are searched."""
STATUSES = {"401": "UNAUTHENTICATED", "403": "PERMISSION_DENIED"}
LISTENERS = ("edge", "mesh")


class Refused(NamedTuple):
    """Equal refusals within a minute."""

    minute: datetime
    method: str
    tenant: str
    subject: str
    source: str
    result: str
    detail: str


def envoy_refusals(logs: Path, tenant: str, limit: int) -> Iterator[Entry]:
    """Yield the newest refusals, equal ones of a minute as one."""
    file = LogFile(ENVOY, logs / f"{ENVOY}.log")
    file.seek_last_lines(MAX_LINES)
    counts = Counter[Refused]()
    times: dict[Refused, datetime] = {}
    for line in file.lines('"listener"'):
        fields = line.fields or {}
        time = _time(fields) or line.time
        one = _refusal(fields, time)
        if one and tenant in ("", one.tenant):
            counts[one] += 1
            times.setdefault(one, time)
    for one, time in islice(reversed(times.items()), limit):
        yield _entry(one, time, counts[one])


def _refusal(fields: Mapping[str, Any], time: datetime) -> Refused | None:
    """Return the refusal of a line; None where Envoy has refused nothing, or a service has."""
    status = STATUSES.get(str(fields.get("http_status")), str(fields.get("grpc_status", "")))
    if fields.get("listener") not in LISTENERS or "replica" in fields or status not in STATUSES.values():
        return None
    path = str(fields.get("path", "")).partition("?")[0]
    method = path if path.count("/") == 2 and "." in path else f"{fields.get('method', '')} {path}"
    is_edge = fields["listener"] == "edge"  # where tenant and subject are those of a verified token
    return Refused(
        time.replace(second=0, microsecond=0),
        method,
        tenant=str(fields.get("tenant", "")) if is_edge else "",
        subject=str(fields.get("subject", "")) if is_edge else "",
        source=str(fields.get("workload") or fields.get("from", "")),
        result=status,
        detail=_reason(fields),
    )


def _time(fields: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(str(fields.get("timestamp"))).astimezone(UTC)
    except ValueError:
        return None


def _reason(fields: Mapping[str, Any]) -> str:
    """Return Envoy's own word for the reason: `Jwt_is_expired` of `jwt_authn_access_denied{Jwt_is_expired}`."""
    detail = str(fields.get("detail", ""))
    return detail.partition("{")[2].rstrip("}") or detail


def _entry(one: Refused, time: datetime, calls: int) -> Entry:
    empty = dict.fromkeys(("run", "thread", "node", "approval", "key"), "")
    what = {"method": one.method, "tenant": one.tenant, "subject": one.subject, "source": one.source}
    return Entry(
        create_time=time, **what, **empty, epoch=None, result=one.result, detail=one.detail, calls=calls, number=None
    )
