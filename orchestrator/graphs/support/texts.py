"""What the agent says in words of its own: texts in the customer's language, from data files."""

from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

from graphmesh_contracts import format_money

from support.policy import SupportPolicy
from support.prompts import REPLIES
from support.state import Claim, ClaimedLine, Invoice, Option, State


def languages() -> frozenset[str]:
    return frozenset(REPLIES)


def reply(language: str, name: str, **values: Any) -> str:
    """Return a reply; values are those of its placeholders."""
    return text(language, "replies", name, values)


def note(state: State, name: str) -> str:
    return text(state["language"], "notes", name)


def text(language: str, table: str, name: str, values: Mapping[str, Any] | None = None) -> str:
    """Return a text of the data files; in English where there is none in the language."""
    tables = REPLIES.get(language) or REPLIES["en"]
    return Template(tables[table][name]).substitute(values or {})


def about_claim(language: str, name: str, claim: Claim, policy: SupportPolicy) -> str:
    """Return a reply about a refund: what is refunded, of which invoice, why and how much."""
    days_from, days_to = policy.refunds.arrival_days
    return reply(
        language,
        name,
        amount=format_money(claim["currency"], claim["amount"]),
        invoice=claim["invoice_id"],
        items=", ".join(map(_item, claim["lines"])),
        cause=text(language, "causes", claim["cause"]),
        days_from=days_from,
        days_to=days_to,
    )


def arrival(language: str, policy: SupportPolicy) -> str:
    days_from, days_to = policy.refunds.arrival_days
    return reply(language, "refund_arrival", days_from=days_from, days_to=days_to)


def _item(line: ClaimedLine) -> str:
    return f"{line['quantity']} × {line['description']}"


def listed(language: str, question: str, options: Sequence[Option], invoices: Sequence[Invoice]) -> str:
    """Return a question with its numbered options."""
    by_id = {invoice["invoice_id"]: invoice for invoice in invoices}
    entries = [_option(language, option, by_id[option["invoice_id"]]) for option in options]
    return "\n".join([question, *(f"{number}. {entry}" for number, entry in enumerate(entries, 1))])


def _option(language: str, option: Option, invoice: Invoice) -> str:
    if not option["line_id"]:
        return reply(
            language,
            "option_invoice",
            invoice=invoice["invoice_id"],
            date=invoice["issued"][:10],
            amount=format_money(invoice["currency"], invoice["total"]),
            items=", ".join(line["description"] for line in invoice["lines"][:3]),
        )
    line = next(line for line in invoice["lines"] if line["line_id"] == option["line_id"])
    amount = (line["amount"] - line["refunded"]) * option["quantity"] // (line["quantity"] - line["returned"])
    items = f"{option['quantity']} × {line['description']}"
    return reply(language, "option_line", items=items, amount=format_money(invoice["currency"], amount))
