"""The chain of hashes over the rows of the audit log, which shows that a row was removed or changed.

A row is written in the transaction of its act, without a number. A background task of the server seals it about a
second later (`audit_sealer`): it gives the row the next number and a hash, so that no act waits for the chain. The hash
of row n is

    SHA-256(hash of row n-1 | n as 8 bytes, big-endian | SHA-256(canonical form of row n))

and that of "row 0" is 32 zero bytes. The canonical form is a JSON object in ASCII, without spaces, with the members in
alphabetical order: every column that is not NULL, but number and hash; a time in ISO 8601 in UTC with microseconds,
bytes as their SHA-256 in hexadecimal digits. It is the same on each database.

`audit_chain` has the number and the hash of the newest sealed row, so that a removed end is noticed too.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

FIRST_HASH = bytes(32)
"""The hash that row 1 follows."""
_SEAL = ("number", "hash")

chain = sa.Table(
    "audit_chain",
    sa.MetaData(),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
)
"""One row: the end of the chain; number 0 where no row is sealed."""


def next_hash(previous: bytes, number: int, row: Mapping[str, Any]) -> bytes:
    """The hash of the row with this number, whose predecessor has the hash `previous`."""
    return hashlib.sha256(previous + number.to_bytes(8, "big") + digest(row)).digest()


def digest(row: Mapping[str, Any]) -> bytes:
    """The SHA-256 of the canonical form of a row. A column that is added later, NULL in older rows, changes none."""
    values = {name: _plain(value) for name, value in row.items() if value is not None and name not in _SEAL}
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).digest()


def _plain(value: Any) -> str | int:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, str | int):
        return value
    raise TypeError(f"the audit log has a value of {type(value).__name__}")
