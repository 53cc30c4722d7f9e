"""The tickets in SQL, for SQLite and PostgreSQL."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import UtcDateTime, dialect_insert
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.keyset import keyset_page
from graphmesh_chassis.search_keys import search_key
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_ticketing import policy_json
from graphmesh_ticketing.domain import DEFAULT_POLICY, FIRST_NUMBER, Comment, Status, Ticket, TicketPolicy
from graphmesh_ticketing.tickets import NEVER, TicketFilter, due_key, searchable_text

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
    sa.Column("queue", sa.String(32), nullable=False),
    sa.Column("priority", sa.String(32), nullable=False),
    sa.Column("notify", sa.JSON, nullable=False),
    sa.Column("assignee", sa.String(254), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("updated", UtcDateTime, nullable=False),
    sa.Column("response_due", UtcDateTime),
    sa.Column("resolution_due", UtcDateTime),
    sa.Column("responded", UtcDateTime),
    sa.Column("due", UtcDateTime, nullable=False),
    sa.Column("searched", sa.Text, nullable=False),
    sa.Index("tickets_by_age", "tenant", "created", "number"),
    sa.Index("tickets_by_customer", "tenant", "customer_id", "created"),
    sa.Index("tickets_by_due", "tenant", "due", "number"),
    sa.Index("tickets_by_queue", "tenant", "queue", "due", "number"),
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
policies = sa.Table(
    "ticket_policies",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("policy", sa.JSON, nullable=False),
)
"""A tenant without a policy has no row, or one of version 0 that was inserted to be locked."""


class SqlTickets:
    """Tickets of one tenant, or of one of its customers, inside one transaction."""

    def __init__(self, connection: AsyncConnection, tenant: str, customer: str = "") -> None:
        """With `customer`, tickets of others are not found, nor comments that are not for customers."""
        self._connection = connection
        self._tenant, self._customer = tenant, customer

    async def now(self) -> datetime:
        """Unlike `now()`, `clock_timestamp()` is no time from before a wait for a lock. SQLite has this clock."""
        if self._connection.dialect.name == "sqlite":
            return datetime.now(UTC)
        now: datetime = (await self._connection.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
        return now.astimezone(UTC)

    async def policy(self) -> TicketPolicy:
        query = sa.select(policies).where(policies.c.tenant == self._tenant, policies.c.version > 0)
        row = (await self._connection.execute(query)).one_or_none()
        return policy_json.from_json(row.policy, row.version) if row is not None else DEFAULT_POLICY

    async def lock_policy(self) -> int:
        insert = dialect_insert(self._connection.dialect, policies).values(tenant=self._tenant, version=0, policy={})
        await self._connection.execute(insert.on_conflict_do_nothing())
        query = sa.select(policies.c.version).where(policies.c.tenant == self._tenant).with_for_update()
        version: int = (await self._connection.execute(query)).scalar_one()
        return version

    async def set_policy(self, policy: TicketPolicy) -> None:
        values = {"version": policy.version, "policy": policy_json.to_json(policy)}
        await self._connection.execute(sa.update(policies).where(policies.c.tenant == self._tenant).values(values))

    async def ticket(self, number: int, *, for_update: bool = False) -> Ticket:
        query = sa.select(tickets).where(*self._by_id(number))
        row = (await self._connection.execute(query.with_for_update() if for_update else query)).one_or_none()
        if row is None:
            raise NotFound(resource="ticket", id=f"T-{number}")
        return _ticket(row)

    async def search(self, conditions: TicketFilter, before: tuple[datetime, int] | None, limit: int) -> list[Ticket]:
        key = (tickets.c.created, tickets.c.number)
        query = keyset_page(self._matching(conditions), key, before, limit, descending=True)
        return [_ticket(row) for row in await self._connection.execute(query)]

    async def search_due(
        self, conditions: TicketFilter, after: tuple[datetime, int] | None, limit: int
    ) -> list[Ticket]:
        query = keyset_page(self._matching(conditions), (tickets.c.due, tickets.c.number), after, limit)
        return [_ticket(row) for row in await self._connection.execute(query)]

    def _matching(self, conditions: TicketFilter) -> sa.Select[Any]:
        query = sa.select(tickets).where(*self._own())
        if conditions.text:
            query = query.where(tickets.c.searched.contains(search_key(conditions.text), autoescape=True))
        if conditions.status is not None:
            query = query.where(tickets.c.status == conditions.status)
        if conditions.customer_id:
            query = query.where(tickets.c.customer_id == conditions.customer_id)
        if conditions.queue:
            query = query.where(tickets.c.queue == conditions.queue)
        if conditions.priority:
            query = query.where(tickets.c.priority == conditions.priority)
        if conditions.due_before is not None:
            query = query.where(tickets.c.due < conditions.due_before, tickets.c.due < NEVER)
        return query

    async def comments(self, number: int, before: tuple[datetime, str] | None, limit: int) -> list[Comment]:
        query = sa.select(comments).where(comments.c.tenant == self._tenant, comments.c.number == number)
        if self._customer:
            query = query.where(comments.c.internal == sa.false())
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
        lists = {"tags": list(ticket.tags), "notify": list(ticket.notify)}
        values = {**vars(ticket), **lists, "due": due_key(ticket)[0], "searched": searchable_text(ticket)}
        await self._connection.execute(sa.insert(tickets).values(tenant=self._tenant, **values))

    async def update_ticket(self, ticket: Ticket) -> None:
        await self._connection.execute(
            sa.update(tickets)
            .where(*self._by_id(ticket.number))
            .values(
                status=ticket.status,
                queue=ticket.queue,
                priority=ticket.priority,
                notify=list(ticket.notify),
                assignee=ticket.assignee,
                version=ticket.version,
                updated=ticket.updated,
                response_due=ticket.response_due,
                resolution_due=ticket.resolution_due,
                responded=ticket.responded,
                due=due_key(ticket)[0],
            )
        )

    async def add_comment(self, comment: Comment) -> None:
        await self._connection.execute(sa.insert(comments).values(tenant=self._tenant, **vars(comment)))

    def _by_id(self, number: int) -> tuple[sa.ColumnElement[bool], ...]:
        return (*self._own(), tickets.c.number == number)

    def _own(self) -> tuple[sa.ColumnElement[bool], ...]:
        of_tenant = tickets.c.tenant == self._tenant
        return (of_tenant, tickets.c.customer_id == self._customer) if self._customer else (of_tenant,)


def _ticket(row: sa.Row[Any]) -> Ticket:
    return Ticket(
        subject=row.subject,
        description=row.description,
        customer_id=row.customer_id,
        requester=row.requester,
        tags=tuple(row.tags),
        queue=row.queue,
        priority=row.priority,
        notify=tuple(row.notify),
        assignee=row.assignee,
        number=row.number,
        status=Status(row.status),
        version=row.version,
        created=row.created,
        updated=row.updated,
        response_due=row.response_due,
        resolution_due=row.resolution_due,
        responded=row.responded,
    )


def _comment(row: sa.Row[Any]) -> Comment:
    return Comment(row.comment_id, row.number, row.author, row.text, row.internal, row.created)
