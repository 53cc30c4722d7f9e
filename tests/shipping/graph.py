"""A graph whose author has no code of the shipping service: handles come from the mesh's descriptor set."""

from typing import Any, TypedDict

from graphmesh_nodes import call, remote, service, stream
from langgraph.graph import START, StateGraph

ShippingService = service("acme.shipping.v1.ShippingService")


class Request(TypedDict):
    order_id: str
    city: str


class State(Request, total=False):
    parcel_id: str
    shipped: str
    parcels: list[str]
    places: list[str]


async def follow(state: State) -> dict[str, Any]:
    found = await call(ShippingService.ListParcels, ShippingService.ListParcels.request(order_id=state["order_id"]))
    request = ShippingService.Track.request(parcel_id=state["parcel_id"])
    places = [one.city async for one in stream(ShippingService.Track, request)]
    return {"parcels": [parcel.parcel_id for parcel in found.parcels], "places": places}


graph = StateGraph(State, input_schema=Request)
graph.add_node(
    "ship",
    remote(
        ShippingService.Ship,
        request=lambda state: ShippingService.Ship.request(order_id=state["order_id"], to={"city": state["city"]}),
        update=lambda state, response: {
            "parcel_id": response.parcel.parcel_id,
            "shipped": response.parcel.shipped.ToJsonString(),
        },
    ),
)
graph.add_node("follow", follow)
graph.add_edge(START, "ship")
graph.add_edge("ship", "follow")

recall = StateGraph(State)
recall.add_node(
    "recall",
    remote(
        ShippingService.Recall,
        request=lambda state: ShippingService.Recall.request(parcel_id=state["parcel_id"]),
        update=lambda state, response: {"parcel_id": ""},
    ),
)
recall.add_edge(START, "recall")
