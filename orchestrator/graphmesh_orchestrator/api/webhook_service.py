"""WebhookService: decode, use case, encode."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.pages import decode_position, encode_token, page_size

from graphmesh_orchestrator.webhooks import convert
from graphmesh_orchestrator.webhooks.deliveries_sql import SqlDeliveries


class WebhookServicer(pb.WebhookServiceServicer):
    def __init__(self, deliveries: SqlDeliveries, ended: Callable[[str], None]) -> None:
        """`ended` is told of each run whose end is to be delivered again."""
        self._deliveries, self._ended = deliveries, ended

    async def ListDeliveries(self, request: pb.ListDeliveriesRequest, context: Any) -> pb.ListDeliveriesResponse:
        size, wanted = page_size(request.page_size), convert.wanted(request)
        before = decode_position(request.page_token, datetime, str)
        found = await self._deliveries.find(current_call().caller.tenant, wanted, before, size + 1)
        page, more = found[:size], len(found) > size
        return pb.ListDeliveriesResponse(
            deliveries=[convert.delivery_message(delivery) for delivery in page],
            next_page_token=encode_token(page[-1].created, page[-1].delivery_id) if more else "",
        )

    async def RetryDelivery(self, request: pb.RetryDeliveryRequest, context: Any) -> pb.RetryDeliveryResponse:
        delivery = await self._deliveries.retry(current_call().caller.tenant, request.delivery_id)
        self._ended(delivery.run_id)
        return pb.RetryDeliveryResponse(delivery=convert.delivery_message(delivery))
