"""The names of a new service are spelled from one word, and checked."""

import pytest
from graphmesh_cli.new_service.names import InvalidName, Names
from graphmesh_cli.new_service.rendering import render


def test_resource_defaults_to_the_singular_of_the_service() -> None:
    assert Names.of("orders").resource == "order"
    assert Names.of("gift_cards").substitutions["Resource"] == "GiftCard"
    assert Names.of("deliveries").resource == "delivery"
    assert Names.of("shipping", "parcel").resources == "parcels"


@pytest.mark.parametrize(
    ("one", "many"), [("order", "orders"), ("delivery", "deliveries"), ("day", "days"), ("box", "boxes")]
)
def test_pluralizes_resources(one: str, many: str) -> None:
    assert Names.of("any", one).resources == many


@pytest.mark.parametrize(
    "name", ["", "Orders", "my-orders", "1orders", "orders_", "a__b", "a_1", "ordérs", "../x", "o" * 31, "orders\n"]
)
def test_refuses_malformed_names(name: str) -> None:
    with pytest.raises(InvalidName, match="lower-case letters"):
        Names.of(name, "order")


@pytest.mark.parametrize(("service", "resource"), [("import", "order"), ("orders", "class"), ("google", "order")])
def test_refuses_reserved_names(service: str, resource: str) -> None:
    """Keywords of Python, and packages of the contracts: `google` would hide google.protobuf."""
    with pytest.raises(InvalidName, match="it is reserved by"):
        Names.of(service, resource)


@pytest.mark.parametrize("resource", ["page", "request", "setting", "error", "status", "row", "str", "list"])
def test_refuses_identifiers_of_the_templates(resource: str) -> None:
    with pytest.raises(InvalidName, match="choose another --resource"):
        render(Names.of("shop", resource))


@pytest.mark.parametrize("resource", ["order", "customer", "entry", "note", "type_of_pen", "ticket"])
def test_accepts_ordinary_words(resource: str) -> None:
    assert render(Names.of("shop", resource))


def test_a_team_has_contracts_of_its_own_name() -> None:
    names = Names.of("gift_cards", team="acme")
    assert (names.package, names.module) == ("acme.gift_cards", "gift_cards_service")
    assert (names.distribution, names.contracts) == ("gift-cards-service", "acme-gift-cards-contracts")
    assert Names.of("orders", team="").package == "orders"
    assert Names.of("orders").package == "graphmesh.orders"


@pytest.mark.parametrize(
    ("service", "team"), [("email", ""), ("orders", "email"), ("orders", "google"), ("orders", "A")]
)
def test_refuses_contracts_that_would_hide_other_packages(service: str, team: str) -> None:
    """`email` is a module of Python, `google` has protobuf."""
    with pytest.raises(InvalidName):
        Names.of(service, team=team)


def test_refuses_identifiers_of_the_templates_of_a_repository() -> None:
    with pytest.raises(InvalidName, match="choose another --resource"):
        render(Names.of("shop", "page", "acme"))
