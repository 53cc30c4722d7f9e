"""The tickets in SQL, for SQLite and PostgreSQL."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import UtcDateTime, dialect_insert
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.keyset import keyset_page
from graphmesh_chassis.search_keys import search_key
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_ticketing.domain import FIRST_NUMBER, Comment, Priority, Status, Ticket
from graphmesh_ticketing.tickets import TicketFilter, searchable_text

metadata = sa.MetaData()

tickets = sa.Table(
    "tickets",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("customer_id", sa.String(64), nullable=False),
    sa.Column("requester", sa.String(254), nullable=False),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.Column("priority", sa.String(16), nullable=False),
    sa.Column("assignee", sa.String(254), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("updated", UtcDateTime, nullable=False),
    sa.Column("searched", sa.Text, nullable=False),
    sa.Index("tickets_by_age", "tenant", "created", "number"),
    sa.Index("tickets_by_customer", "tenant", "customer_id", "created"),
)
comments = sa.Table(
    "comments",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("comment_id", sa.String(64), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("author", sa.String(254), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("internal", sa.Boolean, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Index("comments_by_ticket", "tenant", "number", "created", "comment_id"),
)
numbers = sa.Table(
    "numbers",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("last", sa.BigInteger, nullable=False),
)


class SqlTickets:
    """Tickets of one tenant, inside one transaction."""

    def __init__(self, connection: AsyncConnection, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant

    async def ticket(self, number: int, *, for_update: bool = False) -> Ticket:
        query = sa.select(tickets).where(*self._by_id(number))
        row = (await self._connection.execute(query.with_for_update() if for_update else query)).one_or_none()
        if row is None:
            raise NotFound(resource="ticket", id=f"T-{number}")
        return _ticket(row)

    async def search(self, conditions: TicketFilter, before: tuple[datetime, int] | None, limit: int) -> list[Ticket]:
        query = sa.select(tickets).where(tickets.c.tenant == self._tenant)
        if conditions.text:
            query = query.where(tickets.c.searched.contains(search_key(conditions.text), autoescape=True))
        if conditions.status is not None:
            query = query.where(tickets.c.status == conditions.status)
        if conditions.customer_id:
            query = query.where(tickets.c.customer_id == conditions.customer_id)
        query = keyset_page(query, (tickets.c.created, tickets.c.number), before, limit, descending=True)
        return [_ticket(row) for row in await self._connection.execute(query)]

    async def comments(self, number: int, before: tuple[datetime, str] | None, limit: int) -> list[Comment]:
        query = sa.select(comments).where(comments.c.tenant == self._tenant, comments.c.number == number)
        query = keyset_page(query, (comments.c.created, comments.c.comment_id), before, limit, descending=True)
        return [_comment(row) for row in await self._connection.execute(query)]

    async def allocate_number(self) -> int:
        """Count up in one statement. On PostgreSQL it locks the tenant's row until the transaction ends."""
        statement = (
            dialect_insert(self._connection.dialect, numbers)
            .values(tenant=self._tenant, last=FIRST_NUMBER)
            .on_conflict_do_update(index_elements=["tenant"], set_={"last": numbers.c.last + 1})
            .returning(numbers.c.last)
        )
        number: int = (await self._connection.execute(statement)).scalar_one()
        return number

    async def add_ticket(self, ticket: Ticket) -> None:
        await self._connection.execute(
            sa.insert(tickets).values(
                tenant=self._tenant, **vars(ticket) | {"tags": list(ticket.tags)}, searched=searchable_text(ticket)
            )
        )

    async def update_ticket(self, ticket: Ticket) -> None:
        await self._connection.execute(
            sa.update(tickets)
            .where(*self._by_id(ticket.number))
            .values(
                status=ticket.status,
                priority=ticket.priority,
                assignee=ticket.assignee,
                version=ticket.version,
                updated=ticket.updated,
            )
        )

    async def add_comment(self, comment: Comment) -> None:
        await self._connection.execute(sa.insert(comments).values(tenant=self._tenant, **vars(comment)))
        await self._connection.execute(
            sa.update(tickets).where(*self._by_id(comment.number)).values(updated=comment.created)
        )

    def _by_id(self, number: int) -> tuple[sa.ColumnElement[bool], ...]:
        return (tickets.c.tenant == self._tenant, tickets.c.number == number)


def _ticket(row: sa.Row[Any]) -> Ticket:
    return Ticket(
        subject=row.subject,
        description=row.description,
        customer_id=row.customer_id,
        requester=row.requester,
        tags=tuple(row.tags),
        priority=Priority(row.priority),
        assignee=row.assignee,
        number=row.number,
        status=Status(row.status),
        version=row.version,
        created=row.created,
        updated=row.updated,
    )


def _comment(row: sa.Row[Any]) -> Comment:
    return Comment(row.comment_id, row.number, row.author, row.text, row.internal, row.created)
