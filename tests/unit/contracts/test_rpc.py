"""Handles on RPCs of any team."""

import pytest
from google.protobuf.empty_pb2 import Empty
from graphmesh_contracts import Rpc


@pytest.mark.parametrize(
    ("path", "tool"),
    [
        ("/graphmesh.billing.v1.BillingService/Charge", "billing.Charge"),
        ("/acme.eu.orders.v2beta1.Orders/Get", "orders.Get"),
        ("/orders.v1.OrdersService/Get", "orders.Get"),
        ("/helloworld.Greeter/SayHello", "helloworld.SayHello"),
        ("/v1.Greeter/SayHello", "Greeter.SayHello"),
        ("/Greeter/SayHello", "Greeter.SayHello"),
    ],
)
def test_tool_is_named_after_the_package_without_its_version(path: str, tool: str) -> None:
    assert Rpc(path, Empty, Empty).tool == tool
