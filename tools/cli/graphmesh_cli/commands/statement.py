"""`graphmesh statement`: what a customer was invoiced, has paid and has got back."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from graphmesh.billing import v1 as pb
from graphmesh_contracts.localized_money import UnknownLocale, formatter
from graphmesh_contracts.money import UnknownCurrency, exponent
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands.connection import DEFAULT_TENANT, State, Tenant
from graphmesh_cli.commands.output import AsJson, print_note, show_list
from graphmesh_cli.commands.service_calls import MeshAddress, ServiceCalls, call_services

ONE_DAY = timedelta(days=1)
PAGE_SIZE = 500


def statement(
    customer: Annotated[str, typer.Argument(help="The id of the customer.")],
    currency: Annotated[str, typer.Option(help="The currency of the entries, such as EUR.")],
    since: Annotated[str, typer.Option(help="Only from this day on: 2026-11-01.")] = "",
    until: Annotated[str, typer.Option(help="Only up to this day, with it.")] = "",
    time_zone: Annotated[str, typer.Option(help="The time zone of the days, such as Europe/Berlin.")] = "UTC",
    locale: Annotated[str, typer.Option(help="Show amounts as in this language or country: de, en-GB.")] = "",
    as_json: AsJson = False,
    address: MeshAddress = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show the invoices, charges, credit notes, refunds and charge-backs of a customer, the oldest first.

    Each entry has the balance after it: what the customer owes. A refund leaves it as it is. With --json the entries
    are printed one a line; a note on standard error has the balances before and after the period.
    """
    zone, shown = _zone(time_zone), _formatter(currency, locale)
    request = pb.GetStatementRequest(customer_id=customer, currency_code=currency, page_size=PAGE_SIZE)
    if since:
        request.start_time.FromDatetime(_midnight(_day(since, "--since"), zone))
    if until:
        request.end_time.FromDatetime(_midnight(_day(until, "--until") + ONE_DAY, zone))

    async def read(call: ServiceCalls) -> tuple[list[pb.StatementEntry], pb.GetStatementResponse]:
        entries: list[pb.StatementEntry] = []
        while True:
            page = await call(pb.BillingService.GetStatement, request)
            entries += page.entries
            if not page.next_page_token:
                return entries, page
            request.page_token = page.next_page_token

    entries, page = call_services(read, "statement", address, state, tenant)
    columns: Mapping[str, Callable[[pb.StatementEntry], str]] = {
        "time": lambda one: f"{one.post_time.ToDatetime(zone):%Y-%m-%d %H:%M}",
        "entry": lambda one: pb.StatementKind.Name(one.kind).removeprefix("STATEMENT_KIND_").lower().replace("_", " "),
        "reference": lambda one: one.reference,
        "invoice": lambda one: one.invoice_id,
        "amount": lambda one: shown(one.amount.amount_minor),
        "balance": lambda one: shown(one.balance_minor),
    }
    show_list(entries, columns, ids=["reference", "invoice"], empty="no entries", as_json=as_json)
    opening, closing = shown(page.opening_balance_minor), shown(page.closing_balance_minor)
    print_note(f"balance before: {opening}; after: {closing}")


def _formatter(currency: str, locale: str) -> Callable[[int], str]:
    try:
        exponent(currency)
        return formatter(currency, locale)
    except UnknownCurrency as error:
        raise typer.BadParameter(str(error), param_hint="--currency") from None
    except UnknownLocale as error:
        raise typer.BadParameter(str(error), param_hint="--locale") from None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        message = f"{name} is not the IANA name of a time zone, such as Europe/Berlin"
        raise typer.BadParameter(message, param_hint="--time-zone") from None


def _day(text: str, option: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.max
    if not 1970 <= day.year < date.max.year:
        raise typer.BadParameter(f"{text} must be a day, such as 2026-11-30", param_hint=option)
    return day


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)
