"""The names of a new service: every spelling from one word, and none that cannot work."""

import pytest
from graphmesh_cli.new_service.files import rendered
from graphmesh_cli.new_service.words import BadName, Words


def test_the_resource_is_the_singular_of_the_service() -> None:
    assert Words.of("orders").resource == "order"
    assert Words.of("gift_cards").substitutions["Resource"] == "GiftCard"
    assert Words.of("deliveries").resource == "delivery"
    assert Words.of("shipping", "parcel").resources == "parcels"


@pytest.mark.parametrize(
    ("one", "many"), [("order", "orders"), ("delivery", "deliveries"), ("day", "days"), ("box", "boxes")]
)
def test_plurals(one: str, many: str) -> None:
    assert Words.of("any", one).resources == many


@pytest.mark.parametrize(
    "name", ["", "Orders", "my-orders", "1orders", "orders_", "a__b", "a_1", "ordérs", "../x", "o" * 31, "orders\n"]
)
def test_a_name_has_one_form(name: str) -> None:
    with pytest.raises(BadName, match="lower-case letters"):
        Words.of(name, "order")


@pytest.mark.parametrize(("service", "resource"), [("import", "order"), ("orders", "class"), ("google", "order")])
def test_a_name_means_nothing_else(service: str, resource: str) -> None:
    """Not in Python, and not in the contracts, where `google` would hide google.protobuf."""
    with pytest.raises(BadName, match="it means something in"):
        Words.of(service, resource)


@pytest.mark.parametrize("resource", ["page", "request", "setting", "error", "status", "timestamp", "str", "list"])
def test_a_resource_is_no_name_that_the_code_of_a_service_uses(resource: str) -> None:
    with pytest.raises(BadName, match="choose another --resource"):
        rendered(Words.of("shop", resource))


@pytest.mark.parametrize("resource", ["order", "customer", "entry", "note", "type_of_pen", "ticket"])
def test_ordinary_words_are_free(resource: str) -> None:
    assert rendered(Words.of("shop", resource))
