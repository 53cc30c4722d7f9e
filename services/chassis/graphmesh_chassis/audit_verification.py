"""Verifies the audit log of a database: that no sealed row was removed or changed, nor the effect that it is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from graphmesh_chassis import effects
from graphmesh_chassis.audit_chain import FIRST_HASH, chain, digest, next_hash
from graphmesh_chassis.audit_log import act_name, table

FETCHED_ROWS = 20
"""Rows in memory at a time: the response of an effect may have megabytes."""

_EFFECT = [effects.table.c[name].label(f"effect_{name}") for name in effects.RECORDED]
_OF_EFFECT = sa.and_(table.c.key != "", effects.table.c.tenant == table.c.tenant, effects.table.c.key == table.c.key)
SEALED = (sa.select(table, *_EFFECT).outerjoin(effects.table, _OF_EFFECT).where(table.c.number.is_not(None))).order_by(
    table.c.number
)


@dataclass(frozen=True)
class Verification:
    """The state of an audit log."""

    sealed: int
    unsealed: int
    """Rows that will be sealed within about a second, where the server runs."""
    hash: str
    """The hash of the newest sealed row, in hexadecimal digits."""
    broken: str
    """A sentence that names the first broken row; empty where there is none."""


class _Broken(Exception):
    """A row is broken; the message is the sentence."""


def verify(connection: sa.Connection, anchors: Mapping[int, str] = MappingProxyType({})) -> Verification:
    """Verify the log, on a connection with one snapshot.

    Args:
        anchors: hashes of rows by their numbers, in hexadecimal digits, that were stored outside of the database.
    """
    ends = connection.execute(sa.select(chain)).all()
    unsealed = connection.execute(sa.select(sa.func.count()).where(table.c.number.is_(None))).scalar_one()
    number, chained, broken = 0, FIRST_HASH, ""
    try:
        with connection.execute(SEALED, execution_options={"yield_per": FETCHED_ROWS}) as rows:
            for row in rows:
                _require_next(row, number, chained)
                _require_effect(row)
                number, chained = row.number, row.hash
                if anchors.get(number, chained.hex()) != chained.hex():
                    raise _Broken(f"{_named(row)} is not the one of the anchor: rows up to it were replaced")
        _require_end(ends, number, chained)
        if (last := max(anchors, default=0)) > number:
            raise _Broken(f"{_removed(number + 1, last)}: the anchor has its hash")
    except _Broken as error:
        broken = str(error)
    except (TypeError, ValueError) as error:  # SQLite stores any value in any column
        broken = f"row {number + 1} was changed: {error}"
    return Verification(number, unsealed, chained.hex(), broken)


def _require_next(row: sa.Row[Any], number: int, chained: bytes) -> None:
    """Check that `row` follows the row with this number and hash. Raises _Broken."""
    if row.number != number + 1:
        raise _Broken(_removed(number + 1, row.number - 1))
    if row.hash != next_hash(chained, row.number, {column.name: row._mapping[column] for column in table.c}):
        raise _Broken(f"{_named(row)} was changed: its hash is not that of its columns after row {number}")


def _require_effect(row: sa.Row[Any]) -> None:
    """Check that the effect of `row`, if it is about one, has the outcome that it had. Raises _Broken."""
    if row.content is None:
        return
    if row.effect_result is None:
        raise _Broken(f"the effect of {_named(row)} was removed: its key is {row.key}")
    is_superseded = row.result == effects.STARTED != row.effect_result
    recorded = {name: row._mapping[f"effect_{name}"] for name in effects.RECORDED}
    if not is_superseded and digest(recorded) != row.content:
        raise _Broken(f"the effect of {_named(row)} was changed: its key is {row.key}")


def _require_end(ends: Sequence[sa.Row[Any]], number: int, chained: bytes) -> None:
    """Check that the last row is the end of the chain. Raises _Broken."""
    if len(ends) != 1:
        raise _Broken(f"the end of the chain, row {number} or a later one, was removed from audit_chain")
    (end,) = ends
    if end.number > number:
        raise _Broken(_removed(number + 1, end.number))
    if (end.number, end.hash) != (number, chained):
        raise _Broken(f"the end of the chain was changed: row {number} is the newest, audit_chain states {end.number}")


def _removed(first: int, last: int) -> str:
    if first > last:
        return f"row {last + 1} was added: a chain has no such number"
    return f"row {first} was removed" if first == last else f"row {first} was removed, with all up to row {last}"


def _named(row: sa.Row[Any]) -> str:
    time = f"{row.create_time:%Y-%m-%d %H:%M:%S}"
    return f"row {row.number} ({act_name(row.method)} of {row.tenant}/{row.subject} at {time})"
