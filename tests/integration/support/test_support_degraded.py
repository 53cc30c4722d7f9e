"""The support agent when services are down: it goes on without them or hands over, and says so (D5)."""

from tests.integration.support.shop import INVOICE, Shop
from tests.integration.support.test_support import CRACKED, QUESTION


async def test_crm_down(shop: Shop) -> None:
    """The answer is given without the account, and says so."""
    shop.mesh.down = {"crm"}
    ended = await shop.ask(QUESTION)
    assert ended["outcome"] == "answered"
    assert "without regard to your account" in ended["answer"]
    assert len(ended["notes"]) == 1


async def test_knowledge_down(shop: Shop) -> None:
    """A question goes to a person."""
    shop.mesh.down = {"retrieval"}
    ended = await shop.ask(QUESTION)
    assert ended["outcome"] == "escalated"
    assert "cannot be reached" in ended["answer"]
    assert ended["ticket_id"]


async def test_billing_down(shop: Shop) -> None:
    """A refund is not made; the answer says so, and a person takes over. Questions are answered as ever."""
    shop.mesh.down = {"billing"}
    ended = await shop.ask(CRACKED)
    assert ended["outcome"] == "escalated"
    assert "no refund has been made" in ended["answer"]
    assert ended["ticket_id"]
    assert (await shop.ask(QUESTION))["outcome"] == "answered"
    shop.mesh.down = set()
    assert await shop.refunded(INVOICE) == 0


async def test_model_down(shop: Shop) -> None:
    """Without a model a person reads the message."""
    shop.mesh.down = {"model"}
    ended = await shop.ask(QUESTION)
    assert ended["outcome"] == "escalated"
    assert ended["ticket_id"]


async def test_ticketing_down(shop: Shop) -> None:
    """No ticket is claimed that is not there: neither in the fields nor in the answer."""
    shop.mesh.down = {"ticketing"}
    ended = await shop.ask("Please forward this to a person")
    assert ended["ticket_id"] is None
    assert "takes over" not in ended["answer"]
    assert "no confirmation that a person has received it" in ended["answer"]
    assert ended["notes"] == ["No ticket could be opened: the ticket system could not be reached."]
    shop.mesh.down = set()
    assert await shop.tickets() == []
