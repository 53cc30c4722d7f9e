"""What was done in a turn, in sentences that no model writes."""

import re
from typing import Any

from graphmesh.billing.v1 import BillingService
from graphmesh.ticketing.v1 import TicketingService
from graphmesh_contracts import format_money

from tool_agent.checks import effects_of
from tool_agent.policy import Replies

ID = re.compile(r'"(?:refund|ticket|comment)_id": "([A-Za-z0-9_-]{1,100})"')
AMOUNT = re.compile(r'"currency_code": "([A-Z]{3})", "amount_minor": "([0-9]{1,18})"')


def deeds_of(messages: list[Any], texts: Replies) -> str:
    """Return a sentence on each effect of the present turn; empty where there was none."""
    sentences = {
        BillingService.Refund.tool: texts.refunded,
        TicketingService.CreateTicket.tool: texts.opened,
        TicketingService.AddComment.tool: texts.commented,
    }
    by_name = {tool.replace(".", "_"): sentence for tool, sentence in sentences.items()}
    return " ".join(_sentence(by_name[str(one.name)], str(one.text)) for one in effects_of(messages))


def _sentence(text: str, result: str) -> str:
    identity, amount = ID.search(result), AMOUNT.search(result)
    money = format_money(amount[1], int(amount[2])) if amount else ""
    return text.format(id=identity[1] if identity else "", amount=money)
