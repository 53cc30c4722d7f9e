"""WebhookService: decode, use case, encode."""

from datetime import datetime
from typing import Any

from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.pages import decode_position, page_of, page_size

from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.webhooks import convert
from graphmesh_orchestrator.webhooks.deliveries import Deliveries


class WebhookServicer(pb.WebhookServiceServicer):
    def __init__(self, deliveries: Deliveries, notifier: Notifier) -> None:
        self._deliveries, self._notifier = deliveries, notifier

    async def ListDeliveries(self, request: pb.ListDeliveriesRequest, context: Any) -> pb.ListDeliveriesResponse:
        size, columns = page_size(request.page_size), convert.filter_columns(request)
        before = decode_position(request.page_token, datetime, str)
        tenant, prefix = current_call().caller.tenant, request.delivery_id_prefix
        found = await self._deliveries.find(tenant, columns, before, size + 1, prefix)
        page = page_of(found, size, convert.delivery_message, lambda delivery: (delivery.created, delivery.delivery_id))
        return pb.ListDeliveriesResponse(deliveries=page.messages, next_page_token=page.next_token)

    async def RetryDelivery(self, request: pb.RetryDeliveryRequest, context: Any) -> pb.RetryDeliveryResponse:
        delivery = await self._deliveries.retry(current_call().caller.tenant, request.delivery_id)
        self._notifier.run_stopped(delivery.run_id)
        return pb.RetryDeliveryResponse(delivery=convert.delivery_message(delivery))
