"""The background task of an audit log: it writes refusals, and seals rows as `audit_chain` describes."""

import asyncio
import time
from contextlib import suppress

import sqlalchemy as sa
import structlog

from graphmesh_chassis.audit_chain import chain, next_hash
from graphmesh_chassis.audit_log import table
from graphmesh_chassis.audit_refusals import Refusals
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import DependencyError

log = structlog.get_logger("graphmesh.audit")

POLL_SECONDS = 1.0
BATCH_ROWS = 200
ANCHOR_SECONDS = 60.0
"""The least time between two lines of the log with the end of the chain."""

UNSEALED = sa.select(table).where(table.c.number.is_(None)).order_by(table.c.entry_id).limit(BATCH_ROWS)
SEAL = (
    sa.update(table)
    .where(table.c.entry_id == sa.bindparam("sealed_id"))
    .values(number=sa.bindparam("new_number"), hash=sa.bindparam("new_hash"))
)


class Sealer:
    """Seals what this process and others have written to one database.

    A batch moves the end of the chain, on the condition that it is where the batch begins: of several processes one
    succeeds. What a crash leaves unsealed is sealed by the next process.

    The end of the chain is logged, once a minute while it grows: an anchor outside of the database, which shows that a
    whole chain was computed anew.
    """

    def __init__(self, database: Database, refusals: Refusals | None = None) -> None:
        self._database, self._refusals = database, refusals or Refusals()
        self._has_end = True
        self._next_anchor = 0.0
        self._anchor: tuple[int, bytes] | None = None
        """The end of the chain, if it is not logged yet."""

    async def run(self) -> None:
        """Write refusals and seal new rows every `POLL_SECONDS`, until cancelled; as soon as the database responds."""
        while True:
            with suppress(DependencyError):
                await self.write_refusals()
                await self.seal()
            self._log_anchor()
            await asyncio.sleep(POLL_SECONDS)

    async def write_refusals(self) -> None:
        """Write the refusals that are due. Raises DatabaseUnavailable; then they are due again."""
        if not (rows := self._refusals.take()):
            return
        try:
            async with self._database.transaction() as connection:
                await connection.execute(sa.insert(table), rows)
        except DependencyError:
            self._refusals.give_back(rows)
            raise

    async def seal(self) -> None:
        """Seal all rows that are committed. Raises DatabaseUnavailable."""
        while await self._seal_batch() == BATCH_ROWS:
            pass

    async def _seal_batch(self) -> int:
        """Seal the oldest rows, unless another process does; returns their number."""
        async with self._database.read() as connection:
            rows = (await connection.execute(UNSEALED)).all()
            if not rows:
                return 0
            end = (await connection.execute(sa.select(chain))).one_or_none()
        if end is None:
            return self._report_lost_end()
        seals, chained = [], end.hash
        for number, row in enumerate(rows, end.number + 1):
            chained = next_hash(chained, number, row._asdict())
            seals.append({"sealed_id": row.entry_id, "new_number": number, "new_hash": chained})
        moved = sa.update(chain).where(chain.c.number == end.number).values(number=number, hash=chained)
        async with self._database.transaction() as connection:
            if (await connection.execute(moved.returning(chain.c.number))).one_or_none() is not None:
                await connection.execute(SEAL, seals)
                self._anchor = number, chained
        return len(rows)

    def _log_anchor(self) -> None:
        if self._anchor and time.monotonic() >= self._next_anchor:
            (sealed, chained), self._anchor = self._anchor, None
            self._next_anchor = time.monotonic() + ANCHOR_SECONDS
            log.info("audit log sealed", sealed=sealed, hash=chained.hex())

    def _report_lost_end(self) -> int:
        if self._has_end:
            log.error("the table audit_chain has no row: the audit log is not sealed any more")
        self._has_end = False
        return 0
