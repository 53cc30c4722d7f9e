"""Deliveries: webhook calls that announce the end of a run."""

from graphmesh.orchestrator.v1 import (
    Delivery,
    DeliveryStatus,
    ListDeliveriesRequest,
    RetryDeliveryRequest,
    WebhookService,
)

from graphmesh_client.calls import Calls


class Deliveries:
    """The deliveries of the client's tenant."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def find(
        self,
        *,
        status: DeliveryStatus.ValueType = DeliveryStatus.DELIVERY_STATUS_UNSPECIFIED,
        run_id: str = "",
        delivery_id_prefix: str = "",
        limit: int = 50,
    ) -> list[Delivery]:
        """Return the newest deliveries."""
        request = ListDeliveriesRequest(status=status, run_id=run_id, delivery_id_prefix=delivery_id_prefix)
        return await self._calls.collect(WebhookService.ListDeliveries, request, lambda page: page.deliveries, limit)

    async def retry(self, delivery_id: str) -> Delivery:
        """Retry a dead delivery at once, with all its attempts."""
        request = RetryDeliveryRequest(delivery_id=delivery_id)
        return (await self._calls.call(WebhookService.RetryDelivery, request)).delivery
