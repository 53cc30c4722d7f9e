"""The support agent when services are down: it continues without them or escalates, and states so."""

from tests.integration.support.shop import INVOICE, Shop
from tests.integration.support.test_support import CRACKED, QUESTION


async def test_answers_without_the_crm(shop: Shop) -> None:
    """The answer states that the account was not considered."""
    shop.mesh.down = {"crm"}
    output = await shop.ask(QUESTION)
    assert output["outcome"] == "answered"
    assert "without regard to your account" in output["answer"]
    assert len(output["notes"]) == 2


async def test_escalates_without_retrieval(shop: Shop) -> None:
    shop.mesh.down = {"retrieval"}
    output = await shop.ask(QUESTION)
    assert output["outcome"] == "escalated"
    assert "cannot be reached" in output["answer"]
    assert output["ticket_id"]


async def test_escalates_refunds_without_billing(shop: Shop) -> None:
    """The reply states that no refund was made. Questions are still answered."""
    shop.mesh.down = {"billing"}
    output = await shop.ask(CRACKED)
    assert output["outcome"] == "escalated"
    assert "no refund has been made" in output["answer"]
    assert output["ticket_id"]
    assert (await shop.ask(QUESTION))["outcome"] == "answered"
    shop.mesh.down = set()
    assert await shop.refunded(INVOICE) == 0


async def test_quotes_articles_and_refunds_without_the_model(shop: Shop) -> None:
    shop.mesh.down = {"model"}
    output = await shop.ask(QUESTION)
    assert (output["outcome"], output["sources"]) == ("answered", ["cleaning-a-nib.md"])
    assert output["answer"].startswith("This is what our article says:")
    assert output["notes"] == ["The language model could not be reached, or its answer could not be used."]
    assert (await shop.ask(CRACKED))["outcome"] == "refunded"


async def test_reports_a_failed_hand_over_without_ticketing(shop: Shop) -> None:
    """Neither the output's fields nor the reply claim a ticket."""
    shop.mesh.down = {"ticketing"}
    output = await shop.ask("Please forward this to a person")
    assert output["ticket_id"] is None
    assert "takes over" not in output["answer"]
    assert "no confirmation that a person has received it" in output["answer"]
    threat = await shop.ask("My lawyer will write to you")
    assert "+32 9 555 01 12" in threat["answer"]
    assert output["notes"] == ["No ticket could be opened: the ticket system could not be reached."]
    shop.mesh.down = set()
    assert await shop.tickets() == []
